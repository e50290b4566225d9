"""`xtune.memory` against models that transformers and PEFT build, and autograd's own hooks."""

from dataclasses import replace
from typing import Any

import pytest
from machines import LLAMA_7B, LLAMA_8B

from xtune.errors import ModelError
from xtune.memory import GIB, ModelShape, Workload, host_items, predict
from xtune.memory.families import FAMILIES

BUILT = sorted(kind for kind, family in FAMILIES.items() if not family.remote)

# peft 0.21 reads a property that transformers 5.23 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning"),
    # peft 0.21 sets patterns for fused experts itself, then warns that they match no module.
    pytest.mark.filterwarnings("ignore:The following .*_pattern keys did not:RuntimeWarning"),
]

TINY: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}

WITHOUT_HEAD_DIM = {
    "granitemoe", "gpt_neox", "helium", "olmoe", "phi3", "qwen2", "qwen2_moe", "stablelm",
}  # fmt: skip

LLAMA_2_7B = ModelShape.from_config(
    {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    }
)


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
SHARED = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2}
LATENT = {
    **SHARED,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 12,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}
OWN_FIELDS: dict[str, dict[str, int]] = {
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 48},
    "mixtral": {"num_local_experts": 4},
    "granitemoe": {"num_local_experts": 4},
    "granitemoeshared": {"num_local_experts": 4, "shared_intermediate_size": 80},
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 48},
    "gpt_oss": {"num_local_experts": 4},
    "olmoe": EXPERTS,
    "qwen2_moe": {
        **EXPERTS,
        "moe_intermediate_size": 48,
        "shared_expert_intermediate_size": 80,
    },
    "hunyuan_v1_moe": {"num_experts": 4, "moe_topk": 2, "head_dim": 16},
    "hunyuan_v1_dense": {"head_dim": 16},
    "helium": {"head_dim": 16},
    "ministral": {"head_dim": 16},
    "gpt_neox": {"num_key_value_heads": 4},  # each of its query heads has a key head of its own
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "dots1": SHARED,
    "glm4_moe": SHARED,
}
"""What a small model of a type needs besides."""


def make_config(model_type: str, **fields: Any) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig

    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {model_type} (5.23 has every family)")
    own = OWN_FIELDS.get(model_type, {})
    return AutoConfig.for_model(model_type, **{**TINY, **own, **fields})


def meta_model(config: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("model_type", BUILT)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tie_word_embeddings": True},
        {"tie_word_embeddings": False},
        {"attention_bias": True, "mlp_bias": True},
        {"head_dim": 32},
    ],
    ids=["plain", "tied", "untied", "biases", "wide heads"],
)
def test_parameter_count_is_that_of_the_real_model(model_type: str, fields: dict[str, Any]) -> None:
    config = make_config(model_type, **fields)
    if "head_dim" in fields and model_type in WITHOUT_HEAD_DIM:
        pytest.skip("transformers' layers of this family have no heads of a width of their own")
    expected = sum(parameter.numel() for parameter in meta_model(config).parameters())
    assert ModelShape.from_config(config.to_dict()).parameters == expected
    # What a model folder's config.json holds: only what differs from the defaults.
    assert ModelShape.from_config(config.to_diff_dict()).parameters == expected


@pytest.mark.parametrize("fields", [{"mlp_only_layers": [1]}, {"decoder_sparse_step": 2}])
def test_mixture_with_some_dense_layers_is_counted(fields: dict[str, Any]) -> None:
    config = make_config("qwen3_moe", **fields)
    expected = sum(parameter.numel() for parameter in meta_model(config).parameters())
    assert ModelShape.from_config(config.to_dict()).parameters == expected


@pytest.mark.parametrize(
    ("shape", "parameters"), [(LLAMA_2_7B, 6_738_415_616), (LLAMA_8B, 8_030_261_248)]
)
def test_known_models_have_their_published_parameter_counts(
    shape: ModelShape, parameters: int
) -> None:
    assert shape.parameters == parameters


def test_gemma_3_config_as_published_leaves_fields_out_and_still_counts() -> None:
    from transformers import Gemma3TextConfig

    text = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
    }
    config = {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 1152}}
    filled = Gemma3TextConfig(**{key: value for key, value in text.items() if key != "model_type"})
    expected = sum(parameter.numel() for parameter in meta_model(filled).parameters())
    assert ModelShape.from_config(config).parameters == expected


@pytest.mark.parametrize("model_type", BUILT)
def test_adapter_count_is_that_of_peft_on_all_linear_layers(model_type: str) -> None:
    from peft import LoraConfig, get_peft_model

    config = make_config(model_type)
    has_experts = ModelShape.from_config(config.to_dict()).experts
    for dora in (False,) if has_experts else (False, True):  # PEFT has no DoRA for fused experts
        lora = LoraConfig(r=5, target_modules="all-linear", use_dora=dora)
        model = get_peft_model(meta_model(config), lora)
        expected = sum(each.numel() for each in model.parameters() if each.requires_grad)
        shape = ModelShape.from_config(config.to_dict())
        assert shape.lora_parameters(5, dora=dora) == expected


def test_adapter_on_named_layers_is_counted_like_peft() -> None:
    from peft import LoraConfig, get_peft_model

    config = make_config("llama")
    names = ["q_proj", "self_attn.v_proj"]
    model = get_peft_model(meta_model(config), LoraConfig(r=3, target_modules=names))
    expected = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert ModelShape.from_config(config.to_dict()).lora_parameters(3, tuple(names)) == expected


def test_missing_and_impossible_fields_are_all_named() -> None:
    with pytest.raises(ModelError) as caught:
        ModelShape.from_config(
            {
                "model_type": "llama",
                "hidden_size": 0,
                "num_attention_heads": "many",
                "num_key_value_heads": 10**400,
                "num_hidden_layers": 10**7,
            }
        )
    message = str(caught.value)
    for part in (
        "`hidden_size` is 0",
        "`num_attention_heads` is 'many'",
        "`num_key_value_heads` is above 100,000,000",
        "`num_hidden_layers` is above 10,000",
        "`vocab_size` is missing",
        "`intermediate_size` is missing",
    ):
        assert part in message


@pytest.mark.parametrize("config", [{}, {"model_type": "bert"}, {"text_config": {}}])
def test_config_of_something_else_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="does not give the sizes of a causal language model"):
        ModelShape.from_config(config)


def test_unknown_model_type_is_computed_as_a_llama_and_says_so() -> None:
    fields = {key: value for key, value in TINY.items() if not key.endswith("_id")}
    shape = ModelShape.from_config({"model_type": "newcomer", **fields})
    assert not shape.known
    assert shape.parameters == ModelShape.from_config({"model_type": "llama", **fields}).parameters


def test_nf4_bytes_are_those_that_bitsandbytes_stores() -> None:
    """One linear layer, counted tensor by tensor in the quantised state."""
    import bitsandbytes
    import torch

    for double in (False, True):
        weight = bitsandbytes.nn.Params4bit(
            torch.randn(512, 4096),
            requires_grad=False,
            compress_statistics=double,
            quant_type="nf4",
        ).to("cpu")
        state = weight.quant_state
        stored = weight.data.nbytes + state.absmax.nbytes
        if double:
            stored += state.state2.absmax.nbytes
        shape = ModelShape(
            model_type="llama",
            layers=1,
            hidden=4096,
            intermediate=0,
            heads=1,
            kv_heads=0,
            head_dim=512,
            vocab=1,
            tied=True,
            norms=0,
        )
        work = Workload(method="qlora", quantization="nf4", double_quantization=double, tokens=1)
        # That shape has a query and an output layer of 512 by 4096, and one norm of 4096.
        assert _weights(shape, work) == 2 * stored + 2 * 4096


def _weights(shape: ModelShape, work: Workload) -> int:
    return predict(shape, work).items["weights"]


@pytest.mark.parametrize(
    ("shape", "weights", "table", "adapter", "layer_mib"),
    [(LLAMA_2_7B, 3.11, 0.244, 40.0e6, 100), (LLAMA_8B, 3.35, 0.979, 41.9e6, 107)],
    ids=["Llama-2-7B", "Llama-3.1-8B"],
)
def test_qlora_items_have_the_known_sizes(
    shape: ModelShape, weights: float, table: float, adapter: float, layer_mib: int
) -> None:
    work = Workload(method="qlora", quantization="nf4", rank=16, tokens=1000)
    items = predict(shape, work).items
    assert items["weights"] / GIB == pytest.approx(weights, abs=0.005)
    assert items["embeddings"] / GIB == pytest.approx(table, abs=0.001)
    assert items["head"] / GIB == pytest.approx(table, abs=0.001)
    assert items["adapter"] / 4 == pytest.approx(adapter, rel=0.002)
    assert items["checkpoints"] == 1000 * 256 * 1024
    assert items["weights"] / shape.layers / 2**20 == pytest.approx(layer_mib, rel=0.01)


def saved_bytes(config: Any, method: str, dtype: str, tokens: int) -> int:
    """Bytes that autograd keeps between forward and backward, parameters and buffers not counted."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    attention = "eager" if config.model_type == "gemma2" else "sdpa"
    model = AutoModelForCausalLM.from_config(
        config, dtype=getattr(torch, dtype), attn_implementation=attention
    )
    if method == "lora":
        model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear"))
    model.train()
    own = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    ids = torch.arange(tokens)[None] % 64
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        model(input_ids=ids, position_ids=torch.arange(tokens)[None], use_cache=False)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3"])
@pytest.mark.parametrize(
    ("method", "dtype"), [("lora", "bfloat16"), ("full", "bfloat16"), ("full", "float32")]
)
def test_saved_activations_of_a_layer_agree_with_autograds_own_within_five_percent(
    model_type: str, method: Any, dtype: str
) -> None:
    tokens = 128
    sizes = {
        "hidden_size": 256,
        "intermediate_size": 704,
        "head_dim": 64,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "vocab_size": 64,
    }
    measured = [
        saved_bytes(
            make_config(model_type, **sizes, num_hidden_layers=layers), method, dtype, tokens
        )
        for layers in (1, 2)
    ]
    one, two = (
        ModelShape.from_config(make_config(model_type, **sizes, num_hidden_layers=n).to_dict())
        for n in (1, 2)
    )
    work = Workload(
        method=method,
        rank=8,
        tokens=tokens,
        weight_dtype=dtype,
        gradient_checkpointing=False,
        attention="eager" if model_type == "gemma2" else "sdpa",
    )
    expected = measured[1] - measured[0]  # autocast's copies of float32 matrices among it
    first, both = (predict(each, work).items["checkpoints"] for each in (one, two))
    assert both - first == pytest.approx(expected, rel=0.05)


def test_muon_keeps_one_number_for_each_entry_of_an_adapters_factors() -> None:
    """By hand: rank 16 on the seven linear layers of Llama-2-7B is 39,976,960 entries of 4 bytes."""
    work = Workload(method="lora", rank=16, tokens=64, optimizer="muon")
    assert predict(LLAMA_7B, work).items["optimizer"] == 4 * 39_976_960


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adamw", 8.0),
        ("adamw_8bit", 2 * (1 + 4 / 256)),
        ("lion_8bit", 1 + 4 / 256),
        ("paged_adamw_8bit", 2 * 4 / 256),
    ],
)
def test_optimizer_states_take_their_bytes_for_each_trained_parameter(
    optimizer: str, expected: float
) -> None:
    work = Workload(method="full", weight_dtype="float32", tokens=128, optimizer=optimizer)
    states = predict(LLAMA_2_7B, work).items["optimizer"]
    # of the norms nothing is paged
    assert states / LLAMA_2_7B.parameters == pytest.approx(expected, rel=3e-3)


def test_of_paged_states_small_ones_and_scales_stay_on_the_device() -> None:
    """By hand: of rank 16 on Llama-2-7B bitsandbytes pages the factors of 11,008 numbers (176,128 entries) and not those of 4,096."""
    work = Workload(method="lora", rank=16, tokens=64, optimizer="paged_adamw")
    paged = 32 * 3 * 16 * 11_008
    assert predict(LLAMA_7B, work).items["optimizer"] == 2 * 4 * (39_976_960 - paged)
    assert host_items(LLAMA_7B, work)["optimizer"] == 2 * 4 * paged
    in_bytes = replace(work, optimizer="paged_adamw_8bit")
    scales = 2 * 4 * (39_976_960 // 256)
    assert predict(LLAMA_7B, in_bytes).items["optimizer"] == 2 * (39_976_960 - paged) + scales


def test_peak_is_never_below_what_stays() -> None:
    found = predict(LLAMA_2_7B, Workload(method="full", tokens=512, weight_dtype="float32"))
    assert found.peak_bytes >= found.resident_bytes + found.items["gradients"]
    assert found.to_json()["peak"] == found.peak_bytes


def test_every_config_that_ships_with_recipes_has_a_shape() -> None:
    import json
    from pathlib import Path

    import xtune.memory

    folder = Path(xtune.memory.__file__).parents[1] / "catalog" / "model_configs"
    for path in sorted(folder.glob("*.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        shape = ModelShape.from_config(config.get("config", config))
        billions = shape.parameters / 1e9
        named = next(
            (
                float(word[:-1])
                for word in path.stem.split("-")
                if word.endswith("b") and word[:-1].replace(".", "").isdigit()
            ),
            billions,
        )
        # A model's name rounds, and some names leave the embeddings out.
        assert billions == pytest.approx(named, rel=0.32), path.stem


@pytest.mark.parametrize(
    "fields",
    [
        {"layer_types": 1.5},
        {"decoder_sparse_step": "2"},
        {"mlp_only_layers": 3},
        {"max_window_layers": "all", "use_sliding_window": True, "sliding_window": 64},
    ],
)
def test_fields_of_a_wrong_type_are_named(fields: dict[str, Any]) -> None:
    config = make_config("qwen3_moe").to_dict()
    with pytest.raises(ModelError, match=next(iter(fields))):
        ModelShape.from_config({**config, **fields})


@pytest.mark.parametrize("model_type", ["glm4_moe", "phimoe"])
def test_experts_are_counted_whatever_their_number_is_called(model_type: str) -> None:
    """Configs call their number, and the experts that every token visits, by several names."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(model_type, num_hidden_layers=2)
    expected = sum(parameter.numel() for parameter in meta_model(config).parameters())
    shape = ModelShape.from_config(config.to_dict())
    assert shape.parameters == pytest.approx(expected, rel=0.01)


WINDOW = {"sliding_window": 64, "num_hidden_layers": 9}


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "gemma2", "head_dim": 16},
        {"model_type": "gemma3_text", "head_dim": 16},
        {"model_type": "gemma3_text", "head_dim": 16, "sliding_window_pattern": 3},
        {"model_type": "gemma3_text", "layer_types": ["full_attention"] * 9},
        {"model_type": "qwen2"},
        {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 4},
        {"model_type": "qwen3", "use_sliding_window": True, "max_window_layers": 0},
        {"model_type": "qwen3", "use_sliding_window": True},
        {"model_type": "smollm3", "use_sliding_window": True},
        {"model_type": "llama"},
    ],
)
def test_windows_are_in_the_layers_that_transformers_gives_them(fields: dict[str, Any]) -> None:
    from transformers import AutoConfig

    filled = {**TINY, **WINDOW, **fields}
    config = AutoConfig.for_model(**filled)
    kinds = getattr(config, "layer_types", None) or []
    expected = kinds.count("sliding_attention")
    shape = ModelShape.from_config(filled)
    assert shape.windowed_layers == expected
    assert shape.sliding_window == (64 if expected else None)


def test_a_trained_heads_gradient_is_handed_on_beside_its_sum_and_a_part_of_it() -> None:
    """By hand, of few tokens: a float32 sum and its 16-bit copy (6 bytes an entry), and 2,048 float32 rows of it on the way there."""
    shape = ModelShape.from_config(
        {
            "model_type": "llama",
            "vocab_size": 100_000,
            "hidden_size": 2048,
            "intermediate_size": 4096,
            "num_hidden_layers": 2,
            "num_attention_heads": 16,
        }
    )
    work = Workload(method="full", tokens=8, loss_chunk_tokens=8)
    expected = 6 * 100_000 * 2048 + 4 * 2048 * 2048
    assert 0 <= predict(shape, work).items["loss"] - expected < 2**20


def test_matrices_of_dora_are_counted_in_a_forward_pass_that_keeps_everything() -> None:
    """By hand, of 8 tokens: PEFT makes four float32 matrices of the widest layer (base, factors, these scaled, their sum) beside a unit matrix."""
    width, hidden = 8192, 2048
    shape = ModelShape.from_config(
        {
            "model_type": "llama",
            "vocab_size": 1000,
            "hidden_size": hidden,
            "intermediate_size": width,
            "num_hidden_layers": 2,
            "num_attention_heads": 16,
        }
    )
    work = Workload(
        method="qlora",
        quantization="nf4",
        dora=True,
        rank=4,
        tokens=8,
        gradient_checkpointing=False,
    )
    made = 16 * width * hidden + 2 * width * width
    assert made <= predict(shape, work).step_bytes <= 1.2 * made
