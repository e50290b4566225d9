"""A simulation that leaves out what repeats takes the bytes of one that does not; the closed formulas against it on long rows."""

from typing import Any

import pytest
from transformers import AutoConfig

from benchmarks.simulation import simulate
from xtune.memory import GIB, ModelShape, Workload, predict
from xtune.plan.cards import machine
from xtune.plan.question import longest_tokens
from xtune.plan.resolve import decide
from xtune.recipe import Recipe

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


LONG: dict[str, Any] = {"tokens": 100_000, "loss_chunk_tokens": 1024, "optimizer": "adamw_8bit"}
WINDOWED: dict[str, Any] = {"head_dim": 64, "sliding_window": 512}
DEEPER: dict[str, Any] = {**WINDOWED, "num_hidden_layers": 3}
PACKED: dict[str, Any] = {"packing": True, "tokens": 4000, "weight_dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("kind", "fields", "work"),
    [
        ("llama", {}, {**QLORA, **LONG, "frugal": True, "checkpoint_place": "host"}),
        ("qwen3", {"head_dim": 64}, {**FULL, **LONG, "gradient_checkpointing": False}),
        ("gemma3_text", WINDOWED, {**QLORA, **LONG, "frugal": True, "base_place": "host"}),
        ("gemma3_text", DEEPER, {**FULL, **PACKED, "gradient_checkpointing": False}),
        ("gemma3_text", DEEPER, {**FULL, **PACKED}),
    ],
    ids=["llama", "qwen3", "gemma3", "gemma3 kept", "gemma3 packed"],
)  # fmt: skip
def test_long_rows_are_within_three_percent(
    kind: str, fields: dict[str, Any], work: dict[str, Any]
) -> None:
    """Of Gemma 3 there are layers with a window alone, which read one set of rotary tables; both kinds of masks are made."""
    config = AutoConfig.for_model(kind, **{**SIZES, **fields})
    wanted = Workload(**{"loss_chunk_tokens": 64, **work})
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


@pytest.mark.parametrize(
    "work",
    [
        QLORA,
        {**QLORA, "rows": 3, "tokens": 150},
        {**FULL, "gradient_checkpointing": False},
        {**QLORA, "targets": ("q_proj", "lm_head")},
    ],
    ids=["QLoRA", "rows", "full", "adapted head"],
)
def test_of_a_model_whose_end_is_not_known_all_logits_are_counted(
    work: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Llama whose type is struck from the table, so that its own forward makes the logits of all tokens together."""
    monkeypatch.setattr("xtune.kernels.heads.PLAIN_HEADS", frozenset())
    monkeypatch.setattr("xtune.memory.traits.PLAIN_HEADS", frozenset())
    config = AutoConfig.for_model("llama", **{**SIZES, "vocab_size": 32000})
    wanted = Workload(**{"tokens": 450, "loss_chunk_tokens": 64, **work})
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


def test_at_the_longest_length_that_fits_the_budget_is_met() -> None:
    """Simulated, with what is set aside, it is no more than 0.5 % above the budget, and no more than 3 % below."""
    config = AutoConfig.for_model("llama", **SIZES)
    shape, budget = ModelShape.from_config(config.to_dict()), 2 * GIB
    card = machine(card=None, vram_bytes=budget, ram_bytes=100 * GIB, cpu_count=8)

    def recipe(tokens: int) -> Recipe:
        fields = {
            "model": {"name": "drawn"}, "method": {"type": "lora", "rank": 8},
            "data": {"train": "rows.jsonl", "max_tokens": tokens},
            "train": {"learning_rate": 1e-4, "batch_size": 1},
            "memory": {"checkpoints": "host", "base": "device"},
        }  # fmt: skip
        return Recipe.model_validate(fields)

    tokens = longest_tokens(recipe(1024), card, shape, step=64, most=2**22)
    found = decide(recipe(tokens), card, shape)[1]
    assert found.fits
    aside = found.predicted.items["context"] + found.predicted.items["reserve"]
    assert 0.97 * budget <= simulate(config, found.work).peak + aside <= 1.005 * budget
