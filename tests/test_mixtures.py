"""`xtune.memory` on mixtures of experts: what PEFT adapts of them, and layers that are dense, against transformers, PEFT and the simulation."""

from typing import Any

import pytest

from benchmarks.simulation import simulate
from xtune.memory import ModelShape, Workload, predict
from xtune.memory.expert_targets import PLAIN_EXPERTS, TRANSLATED

pytestmark = [
    # peft 0.21 reads a property that transformers 5.23 deprecates.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning"),
    # peft 0.21 sets patterns for fused experts itself, then warns that they match no module.
    pytest.mark.filterwarnings("ignore:The following .*_pattern keys did not:RuntimeWarning"),
]

SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 384,
    "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 192,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 512,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
BLOCK = ("gate_proj", "up_proj", "down_proj")
DENSE_FIRST: dict[str, Any] = {"mlp_only_layers": [0]}


def make_config(kind: str, **fields: Any) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(kind, **{**SIZES, **fields})


def test_names_that_peft_translates_are_those_of_its_own_table() -> None:
    from peft.utils.transformers_weight_conversion import (
        _MODEL_TO_CONVERSION_PATTERN,
        _MOE_TARGET_MODULE_MAPPING,
    )

    for kind, (gate, up, down) in TRANSLATED.items():
        names = _MOE_TARGET_MODULE_MAPPING[_MODEL_TO_CONVERSION_PATTERN[kind]]
        assert (names[gate], names[up], names[down]) == (
            "gate_up_proj",
            "gate_up_proj",
            "down_proj",
        )
    for kind in PLAIN_EXPERTS:
        assert _MODEL_TO_CONVERSION_PATTERN.get(kind) not in _MOE_TARGET_MODULE_MAPPING


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("olmoe", {}),
        ("qwen3_moe", {}),
        ("qwen3_moe", DENSE_FIRST),
        ("qwen3_moe", {"decoder_sparse_step": 2}),
        ("qwen2_moe", DENSE_FIRST),
    ],
)
@pytest.mark.parametrize("targets", [("all-linear",), BLOCK, ("down_proj",), ("q_proj", *BLOCK)])
def test_adapters_of_experts_are_those_that_peft_makes(
    kind: str, fields: dict[str, Any], targets: tuple[str, ...]
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = make_config(kind, **fields)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    asked = "all-linear" if targets == ("all-linear",) else list(targets)
    adapted = get_peft_model(model, LoraConfig(r=3, target_modules=asked))
    expected = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
    assert ModelShape.from_config(config.to_dict()).lora_parameters(3, targets) == expected


LATENT: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "q_lora_rank": 192,
    "kv_lora_rank": 128,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "head_dim": 64,
}
BESIDE: dict[str, Any] = {
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
TILES: dict[str, Any] = {"frugal": True, "tile_tokens": 512}
KEPT: dict[str, Any] = {"gradient_checkpointing": False}
WIDE: dict[str, Any] = {"intermediate_size": 3072}


@pytest.mark.parametrize(
    ("kind", "fields", "work"),
    [
        ("qwen3_moe", {}, {"targets": BLOCK}),
        ("qwen3_moe", DENSE_FIRST, {"targets": BLOCK, "gradient_checkpointing": False}),
        ("qwen2_moe", DENSE_FIRST, {"targets": BLOCK, "gradient_checkpointing": False}),
        ("qwen3_moe", DENSE_FIRST | WIDE, {}),
        ("qwen3_moe", DENSE_FIRST | WIDE, {"targets": ("down_proj",), "gradient_checkpointing": False}),
        ("qwen3_moe", {"decoder_sparse_step": 2, **WIDE}, {"gradient_checkpointing": False}),
        ("qwen3_moe", DENSE_FIRST | WIDE, {"method": "full", "quantization": None, "rank": 0}),
        ("deepseek_v3", LATENT | BESIDE, {}),
        ("deepseek_v3", LATENT | BESIDE, TILES),
        ("deepseek_v2", LATENT | {**BESIDE, "q_lora_rank": None}, KEPT),
        ("glm4_moe", {**BESIDE, "use_qk_norm": True}, KEPT),
    ],
)  # fmt: skip
def test_mixtures_in_part_dense_or_of_latent_attention_are_within_three_percent(
    kind: str, fields: dict[str, Any], work: dict[str, Any]
) -> None:
    """Dense layers that are wider than the experts of a token, and adapters that PEFT gives to experts and to no dense layer."""
    config = make_config(kind, **{"hidden_size": 512, "num_hidden_layers": 4, **fields})
    given: dict[str, Any] = {"method": "qlora", "quantization": "nf4", "rank": 8, "tokens": 1000}
    wanted = Workload(**{**given, "loss_chunk_tokens": 64, **work})
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


@pytest.mark.parametrize(
    ("kind", "targets"),
    [("qwen3_next", ("all-linear",)), ("llama4_text", ("q_proj", "v_proj"))],
    ids=["recurrent layers", "every token in every expert, whole logits"],
)
def test_of_mixtures_that_are_not_known_no_less_is_computed(kind: str, targets: Any) -> None:
    config = make_config(kind, num_hidden_layers=4)
    shape = ModelShape.from_config(config.to_dict())
    assert not shape.known
    work = Workload(
        method="qlora", quantization="nf4", rank=8, tokens=512, targets=targets, loss_chunk_tokens=64
    )  # fmt: skip
    computed = predict(shape, work)
    allocated = computed.tensor_bytes
    assert allocated >= 0.99 * simulate(config, work).peak


def test_experts_that_a_token_visits_are_found_under_every_name() -> None:
    fields = {**SIZES, "model_type": "newcomer", "moe_topk": [6, 6, 6]}
    del fields["num_experts_per_tok"], fields["shared_expert_intermediate_size"]
    assert ModelShape.from_config(fields).experts_per_token == 6
    del fields["moe_topk"]  # no field says how many: no fewer than there are, up to eight
    assert ModelShape.from_config(fields).experts_per_token == 4
