"""A simulation that leaves out what repeats takes the bytes of one that does not; the closed formulas against it on long rows."""

from typing import Any

import pytest
from transformers import AutoConfig

from benchmarks.simulation import simulate
from xtune.memory import Workload

SIZES: dict[str, Any] = {
    "hidden_size": 384,
    "intermediate_size": 512,
    "num_hidden_layers": 1,
    "num_attention_heads": 12,
    "num_key_value_heads": 6,
    "vocab_size": 5000,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
QLORA: dict[str, Any] = {"method": "qlora", "quantization": "nf4", "rank": 8}
FULL: dict[str, Any] = {"method": "full", "weight_dtype": "float32"}
FRUGAL: dict[str, Any] = {"frugal": True, "tile_tokens": 64}
CAPPED: dict[str, Any] = {"head_dim": 32, "sliding_window": 64}


@pytest.mark.parametrize(
    ("kind", "fields", "work"),
    [
        ("llama", {}, {**QLORA, **FRUGAL, "dora": True}),
        ("llama", {"vocab_size": 13000}, {**FULL, **FRUGAL, "accumulation_steps": 2}),
        (
            "mistral",
            {"sliding_window": 32},
            {**QLORA, "frugal": True, "tokens": 900, "head_form": "host"},
        ),
        (
            "gemma2",
            CAPPED,
            {**QLORA, "frugal": True, "tokens": 900, "rows": 2, "attention": "eager"},
        ),
        ("qwen3", {"head_dim": 32, "vocab_size": 13000}, FULL),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_repeats_may_be_left_out(
    kind: str, fields: dict[str, Any], work: dict[str, Any]
) -> None:
    """Tiles and chunks of 64 tokens, blocks of 128 queries, groups of heads, and parts of a head's gradient."""
    config = AutoConfig.for_model(kind, **{**SIZES, **fields})
    wanted = Workload(**{"tokens": 450, "loss_chunk_tokens": 64, **work})
    found, whole = (simulate(config, wanted, every_stretch=each) for each in (False, True))
    assert (found.resident, found.peak) == (whole.resident, whole.peak)
