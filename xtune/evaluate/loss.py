"""The loss of held-out rows: one number over all their trained tokens. Nothing is generated here."""

import math
from collections.abc import Sequence as Many
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from xtune.data.batch import EvaluationBatches
from xtune.data.types import IGNORED, Batch, Sequence
from xtune.kernels.loss import causal_loss

ROWS_AT_ONCE = 8
"""Rows of a forward pass. Without gradients a row needs little; where even that is too much, fewer are taken."""


@dataclass(frozen=True, kw_only=True)
class HeldOutLoss:
    """A mean over weighted trained tokens."""

    value: float
    """Mean negative log-likelihood, in nats."""

    weight: float
    """Sum of the weights that the mean is over: trained tokens, as long as prompts weigh nothing."""

    @property
    def perplexity(self) -> float:
        """exp(loss); infinite above e to the 700."""
        return math.exp(self.value) if self.value < 700 else math.inf


def held_out_loss(
    model: Any,
    sequences: Many[Sequence],
    *,
    pad_token_id: int,
    chunk_tokens: int = 1024,
    autocast: torch.dtype | None = None,
) -> HeldOutLoss:
    """The loss of encoded rows under a model, which is left as it was.

    Args:
        model: A transformers model, with or without PEFT adapters.
        sequences: Encoded rows.
        pad_token_id: What fills short rows up; it takes no part.
        chunk_tokens: Tokens whose logits exist at one time.
        autocast: Type of the matrix products if they ran under autocast in training.

    Raises:
        torch.OutOfMemoryError: One single row does not fit.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    mixed = torch.autocast(device.type, dtype=autocast) if autocast is not None else nullcontext()
    rows = ROWS_AT_ONCE
    try:
        with torch.no_grad(), mixed:
            while True:
                batches = EvaluationBatches(
                    sequences, micro_batch_size=rows, pad_token_id=pad_token_id
                )
                try:
                    return _mean(model, batches, device, chunk_tokens)
                except torch.OutOfMemoryError:
                    if rows == 1:
                        raise
                    rows //= 2
    finally:
        model.train(was_training)


def _mean(model: Any, batches: Many[Batch], device: torch.device, chunk_tokens: int) -> HeldOutLoss:
    sums = [
        float(causal_loss(model, batch.to(device), chunk_tokens=chunk_tokens)) for batch in batches
    ]
    weight = math.fsum(_weight(batch) for batch in batches)
    return HeldOutLoss(value=math.fsum(sums) / weight, weight=weight)


def _weight(batch: Batch) -> float:
    return float(batch.weights[:, 1:][batch.labels[:, 1:] != IGNORED].sum(dtype=torch.float64))
