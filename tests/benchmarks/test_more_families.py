"""The closed formulas against the simulation for families that are fine-tuned less often than Llama's; each method and technique."""

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
    "intermediate_size": 1536,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
MANY_HEADS: dict[str, Any] = {"num_key_value_heads": 8}
WINDOWS: dict[str, Any] = {
    "sliding_window": 512,
    "layer_types": ["sliding_attention", "full_attention"],
}
FAMILIES: dict[str, dict[str, Any]] = {
    "apertus": {},
    "arcee": {},
    "cohere": {"vocab_size": 16_000},
    "cohere2": WINDOWS,
    "ernie4_5": {},
    "exaone4": {"layer_types": ["full_attention"] * 2, "sliding_window": None},
    "gpt_neox": MANY_HEADS,
    "helium": {},
    "hunyuan_v1_dense": {},
    "ministral": WINDOWS,
    "ministral3": {},
    "nemotron": {},
    "olmo": MANY_HEADS,
    "olmo3": {**WINDOWS, **MANY_HEADS},
    "seed_oss": {"attention_dropout": 0.0},
    "stablelm": {"use_qkv_bias": True},
}

KEPT: dict[str, Any] = {"gradient_checkpointing": False}
FRUGAL: dict[str, Any] = {"frugal": True, "tile_tokens": 512}
NF4: dict[str, Any] = {"method": "qlora", "quantization": "nf4", "rank": 8}
LORA: dict[str, Any] = {"method": "lora", "rank": 8}
FULL: dict[str, Any] = {"method": "full"}
INT8: dict[str, Any] = {**NF4, "quantization": "int8"}


def apart(kind: str, fields: dict[str, Any], work: dict[str, Any]) -> float:
    """By how much of the simulated bytes the computed ones are above (or below) them."""
    known = AutoConfig.for_model(kind)
    config = AutoConfig.for_model(kind, **{k: v for k, v in {**SIZES, **fields}.items() if hasattr(known, k)})  # fmt: skip
    wanted = Workload(tokens=1200, loss_chunk_tokens=256, optimizer="adamw_8bit", **work)
    computed = predict(ModelShape.from_config(config.to_dict()), wanted).tensor_bytes
    return computed / simulate(config, wanted).peak - 1


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(
    "work",
    [
        NF4,
        {**LORA, **KEPT},
        pytest.param({**NF4, **FRUGAL}, marks=pytest.mark.slow),
        pytest.param({**NF4, **KEPT}, marks=pytest.mark.slow),
        pytest.param(LORA, marks=pytest.mark.slow),
        pytest.param({**INT8, "checkpoint_place": "host"}, marks=pytest.mark.slow),
        pytest.param(FULL, marks=pytest.mark.slow),
        pytest.param({**FULL, **KEPT, "weight_dtype": "float32"}, marks=pytest.mark.slow),
        pytest.param({**FULL, **FRUGAL}, marks=pytest.mark.slow),
    ],
    ids=["nf4", "LoRA kept", "nf4 in tiles", "nf4 kept", "LoRA", "int8 on the host", "full", "full kept in 16 and 32 bits", "full in tiles"],
)  # fmt: skip
def test_computed_and_simulated_bytes_are_within_three_percent(
    kind: str, work: dict[str, Any]
) -> None:
    assert abs(apart(kind, FAMILIES[kind], work)) <= 0.03
