"""The closed formulas of DoRA on a part of the linear layers against the simulation; small relatives of cases that stood apart."""

from typing import Any

import pytest
from transformers import AutoConfig

from benchmarks.simulation import simulate
from xtune.memory import ModelShape, Workload, predict

SIZES: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 128,
    "vocab_size": 500,
    "sliding_window": 512,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
QLORA: dict[str, Any] = {"method": "qlora", "quantization": "nf4"}
LORA: dict[str, Any] = {"method": "lora"}
FLOAT32: dict[str, Any] = {**LORA, "weight_dtype": "float32", "compute_dtype": "float32"}
FEW: dict[str, Any] = {**QLORA, "frugal": True, "tokens": 150}
KEPT: dict[str, Any] = {**LORA, "gradient_checkpointing": False}


@pytest.mark.parametrize(
    ("kind", "targets", "work"),
    [
        ("llama", ("q_proj", "o_proj"), FEW),
        ("qwen3", ("v_proj", "o_proj"), FEW),
        ("gemma3_text", ("o_proj",), {**QLORA, "tokens": 150}),
        ("gemma3_text", ("o_proj",), {**QLORA, "frugal": True, "tokens": 3000, "tile_tokens": 1500}),
        ("gemma3_text", ("v_proj", "gate_proj"), KEPT),
        ("granite", ("v_proj",), FLOAT32),
    ],
    ids=[
        "over float32 queries",
        "beside norms of heads that are left out",
        "before a last norm",
        "one set of cosines",
        "queries without gradients",
        "scaled gradients",
    ],
)  # fmt: skip
def test_computed_and_simulated_bytes_are_within_three_percent(
    kind: str, targets: tuple[str, ...], work: dict[str, Any]
) -> None:
    scaled = {"residual_multiplier": 0.22} if kind == "granite" else {}
    config = AutoConfig.for_model(kind, **SIZES, **scaled)
    given: dict[str, Any] = {"tokens": 1000, "rank": 8, "loss_chunk_tokens": 64, "dora": True}
    wanted = Workload(**{**given, "targets": targets, **work})
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


@pytest.mark.parametrize("kind", ["llama", "starcoder2"])
def test_all_of_them_in_four_bits_are_within_half_a_percent(kind: str) -> None:
    """What the gradient has become by the time at which transformers computes a layer again is float32 twice."""
    config = AutoConfig.for_model(kind, **SIZES)
    wanted = Workload(**QLORA, tokens=650, rank=8, dora=True, loss_chunk_tokens=64)
    allocated = predict(ModelShape.from_config(config.to_dict()), wanted).tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.005)
