"""A padded batch takes no more than the full one that a plan counts, and an evaluation no more than a step: real steps, every byte followed."""

from typing import Any

import numpy as np
import pytest
import torch
from factories import make_model

from benchmarks.ledger import Ledger
from xtune.data.batch import collate
from xtune.data.types import Batch, Origin, Sequence
from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.install import make_frugal
from xtune.kernels.loss import LossModule

TOKENS = 200
INDICES = 64
"""Bytes a token for where the trained ones are, which are looked for in a padded batch and in a full one."""

SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
    "sliding_window": 64,
}


def batch(*lengths: int) -> Batch:
    """Rows of so many tokens, all trained on, as training puts them together."""
    rows = []
    for length in lengths:
        ids = np.arange(length, dtype=np.int32) % 500
        weights = np.ones(length, np.float32)
        origin = Origin(source="rows", row=0)
        rows.append([Sequence(input_ids=ids, labels=ids, weights=weights, origin=origin)])
    return collate(rows, pad_token_id=0, packed=False)


# transformers 5.23 has another name for it, which 5.17 does not have
@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize("style", ["whole", "checkpointed", "frugal"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2", "gemma3_text"])
def test_padded_rows_and_evaluations_take_no_more_than_a_full_step(kind: str, style: str) -> None:
    model = make_model(kind, **SIZES).train()
    if style == "checkpointed":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if style == "frugal":
        make_frugal(model, FrugalSettings(tile_tokens=96))
    module = LossModule(model, 64, 96 if style == "frugal" else 0)

    def peak(found: Batch, *, trains: bool) -> int:
        ledger = Ledger()
        for tensor in (*model.parameters(), *model.buffers()):
            ledger.enter(tensor, "there before")
        module.train(trains)
        with torch.set_grad_enabled(trains), ledger:
            loss = module(found.input_ids, found.labels, found.weights, found.position_ids)
            if trains:
                loss.backward()
        model.zero_grad()
        return ledger.peak

    full = batch(TOKENS, TOKENS, TOKENS)
    room = peak(full, trains=True) + INDICES * full.input_ids.numel()
    assert peak(batch(TOKENS, 100, 3), trains=True) <= room
    assert peak(full, trains=False) <= room
    assert peak(batch(TOKENS, 100, 3), trains=False) <= room
