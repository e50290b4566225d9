"""Of the blocks into which attention is cut the formulas look at the last ones: no other may be larger."""

import random

import pytest

from xtune.memory import ModelShape, Workload, frugal
from xtune.memory.frugal import FrugalLayer


def layer_of(dice: random.Random) -> FrugalLayer:
    kv_heads, head_dim = dice.choice((1, 2, 4)), dice.choice((64, 256))
    heads = kv_heads * dice.choice((1, 2, 7))
    shape = ModelShape(
        model_type=dice.choice(("llama", "gemma2", "gpt_oss")),
        layers=2, hidden=heads * head_dim, intermediate=1024, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        vocab=1000, tied=False, sliding_window=dice.choice((None, 1, 100, 512, 5000)),
        caps_scores=dice.random() < 0.5, all_windowed=dice.random() < 0.3,
    )  # fmt: skip
    tokens = dice.choice((1, 128, 129, 500, 513, 4095, 4097, 9000, 40000))
    work = Workload(
        method="lora", rank=4, tokens=tokens, rows=dice.choice((1, 2)), frugal=True, flash=dice.random() < 0.5,
        attention=dice.choice(("sdpa", "eager")),
    )  # fmt: skip
    return FrugalLayer(shape, work)


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_block_is_among_the_last(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    for _ in range(20):
        layer = layer_of(dice)
        few = layer.peaks()
        monkeypatch.setattr(frugal, "LAST_BLOCKS", None)
        every = FrugalLayer(layer.shape, layer.work).peaks()
        monkeypatch.undo()
        assert few == every, (layer.shape, layer.work)
