"""The closed formulas against the simulation where mixtures, heads, tables and new tokens are trained; small relatives of drawn cases."""

from typing import Any

import pytest
from transformers import AutoConfig

from benchmarks.simulation import simulate
from xtune.memory import ModelShape, Workload, predict

# peft 0.21 sets patterns for fused experts itself, then warns that they match no module.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The following .*_pattern keys did not:RuntimeWarning"
)

SIZES: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 768,
    "moe_intermediate_size": 384,
    "shared_expert_intermediate_size": 1024,
    "num_experts": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 8192,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
LARGE_VOCABULARY: dict[str, Any] = {"vocab_size": 64000}
WIDE_SHARED: dict[str, Any] = {
    "n_routed_experts": 16,
    "n_shared_experts": 4,
    "moe_intermediate_size": 512,
    "num_experts_per_tok": 1,
    "first_k_dense_replace": 0,
    "n_group": 2,
    "topk_group": 1,
    "head_dim": 64,
    "vocab_size": 1000,
}
"""An expert that comes last and outweighs those that a token visits."""

LORA: dict[str, Any] = {"method": "lora", "quantization": None}
FRUGAL: dict[str, Any] = {"frugal": True, "tile_tokens": 512}
KEPT: dict[str, Any] = {"gradient_checkpointing": False}
SOME: tuple[str, ...] = ("q_proj", "v_proj")
HEAD: tuple[str, ...] = ("lm_head",)
"""Alone: nothing goes back through the layers, unless transformers' checkpointing asks for it."""


@pytest.mark.parametrize(
    ("kind", "fields", "work"),
    [
        ("olmoe", {}, KEPT),
        ("olmoe", {}, {"targets": SOME}),
        ("granitemoe", {}, KEPT),
        ("qwen2_moe", {}, {"targets": SOME}),
        ("qwen2_moe", {}, {"tokens": 12_000}),
        ("mixtral", {}, {}),
        ("glm4_moe", WIDE_SHARED, {**LORA, "checkpoint_place": "host"}),
        ("gpt_oss", {"head_dim": 64, "sliding_window": 128}, {"attention": "eager", **KEPT}),
        ("llama", LARGE_VOCABULARY, {"saved": ("lm_head",)}),
        ("llama", LARGE_VOCABULARY, {"saved": ("lm_head",), **FRUGAL}),
        ("llama", LARGE_VOCABULARY, {"saved": ("embed_tokens",)}),
        ("llama", LARGE_VOCABULARY, {"new_tokens": 3, **FRUGAL}),
        ("llama", {**LARGE_VOCABULARY, "tie_word_embeddings": True}, {"new_tokens": 3}),
        ("llama", LARGE_VOCABULARY, {"targets": ("q_proj", "lm_head"), **FRUGAL}),
        ("llama", {}, {"saved": ("norm",)}),
        ("llama", LARGE_VOCABULARY, {"targets": HEAD, **KEPT}),
        ("llama", {"vocab_size": 500}, {"targets": HEAD, "checkpoint_place": "host"}),
        (
            "gemma2",
            {"vocab_size": 500, "head_dim": 64},
            {"targets": HEAD, "attention": "eager", **FRUGAL},
        ),
        ("phi3", {"vocab_size": 500}, {"targets": HEAD}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_computed_and_simulated_bytes_are_within_three_percent(
    kind: str, fields: dict[str, Any], work: dict[str, Any]
) -> None:
    config = AutoConfig.for_model(kind, **{**SIZES, **fields})
    given: dict[str, Any] = {"method": "qlora", "quantization": "nf4", "rank": 8, "tokens": 1200}
    wanted = Workload(**{**given, "loss_chunk_tokens": 256, **work})
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


OLD_CARD: dict[str, Any] = {"method": "lora", "rank": 8, "grouped": False}
MANY_EXPERTS: dict[str, Any] = {"num_experts": 32, "num_local_experts": 32, "vocab_size": 1000}
"""Beside which nothing else counts."""

SINKS: dict[str, Any] = {"head_dim": 64, "sliding_window": 128}
ONE_KEY: dict[str, Any] = {"head_dim": 64, "num_key_value_heads": 1, "vocab_size": 1000}
DEEP: dict[str, Any] = {"num_hidden_layers": 6, "vocab_size": 1000}
HOST: dict[str, Any] = {
    "base_place": "host",
    "states_place": "host",
    "checkpoint_place": "host",
}
EAGER: dict[str, Any] = {"attention": "eager"}
FLOAT32: dict[str, Any] = {"weight_dtype": "float32"}
FUSED: dict[str, Any] = {"fused_step": True}


@pytest.mark.parametrize(
    ("kind", "fields", "work"),
    [
        ("granitemoe", MANY_EXPERTS, {"tokens": 64, "optimizer": "paged_adamw_8bit", **KEPT}),
        ("granitemoe", MANY_EXPERTS, {"tokens": 64, **FUSED, **KEPT}),
        ("qwen2_moe", MANY_EXPERTS, {"tokens": 64, **FUSED, **FLOAT32}),
        ("gpt_oss", {**MANY_EXPERTS, **SINKS}, {"tokens": 64, **FUSED, **EAGER}),
        ("gpt_oss", SINKS, {"tokens": 2400, **FUSED, **EAGER}),
        ("gpt_oss", SINKS, {"tokens": 2400, **FUSED, **EAGER, **FLOAT32}),
        ("gpt_oss", SINKS, {"tokens": 2400, **EAGER, **FLOAT32, **KEPT}),
        ("gemma2", SINKS, {"tokens": 1200, **EAGER, **FLOAT32}),
        ("granitemoe", MANY_EXPERTS, {"tokens": 64, "optimizer": "adamw", **FUSED, **HOST}),
        ("granitemoe", MANY_EXPERTS, {"tokens": 64, **FUSED, **HOST}),
        ("llama", DEEP, {"tokens": 6000, "checkpoint_place": "host"}),
        ("gemma3_text", ONE_KEY, {"tokens": 1200, "packing": True, **FLOAT32, **KEPT}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_full_fine_tunes_are_within_one_percent_below(
    kind: str, fields: dict[str, Any], work: dict[str, Any]
) -> None:
    """Fused steps have the gradients of all experts of a layer at one time; masks, and gpt-oss's scores, are as wide as weights."""
    config = AutoConfig.for_model(kind, **{**SIZES, **fields})
    given: dict[str, Any] = {"method": "full", "optimizer": "adamw_8bit", "loss_chunk_tokens": 256}
    wanted = Workload(**{**given, **work})
    allocated = predict(ModelShape.from_config(config.to_dict()), wanted).tensor_bytes
    simulated = simulate(config, wanted).peak
    assert 0.99 * simulated <= allocated <= 1.03 * simulated


@pytest.mark.parametrize(
    ("kind", "work"),
    [
        ("granitemoe", {"tokens": 64}),
        ("qwen2_moe", {"tokens": 1200, **KEPT}),
        ("qwen3_moe", {"tokens": 1200, "targets": SOME, **FRUGAL}),
    ],
)
def test_cards_without_products_by_group_make_gradients_of_frozen_experts(
    kind: str, work: dict[str, Any]
) -> None:
    """By transformers' own operator, which keeps what it reads, too."""
    config = AutoConfig.for_model(kind, **{**SIZES, **MANY_EXPERTS})
    wanted = Workload(**{**OLD_CARD, "loss_chunk_tokens": 256, **work})
    allocated = predict(ModelShape.from_config(config.to_dict()), wanted).tensor_bytes
    simulated = simulate(config, wanted).peak
    assert 0.99 * simulated <= allocated <= 1.03 * simulated
