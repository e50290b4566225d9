"""The loss of held-out rows: one number over all their trained tokens, and what each row adds. Nothing is generated here."""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import torch

from xtune.data.batch import collate
from xtune.data.types import Batch, Sequence
from xtune.generate.mode import only_reading
from xtune.kernels.loss import Span, span_losses, trained_positions
from xtune.kernels.no_room import telling_of_no_room

ROWS_AT_ONCE = 8
"""Rows of a forward pass. Without gradients a row needs little; where even that is too much, fewer are taken."""


@dataclass(frozen=True, kw_only=True)
class HeldOutLoss:
    """A mean over weighted trained tokens."""

    value: float
    """Mean negative log-likelihood, in nats."""

    weight: float
    """Sum of the weights that the mean is over: trained tokens, as long as prompts weigh nothing."""

    rows: tuple[tuple[float, float], ...] = ()
    """Of each row, in the order given: its summed loss and its weight."""

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
    order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
    losses: dict[int, float] = {}
    rows = ROWS_AT_ONCE
    with only_reading(model, autocast) as device:
        while waiting := order[len(losses) :]:
            part = waiting[:rows]
            batch = collate(
                [[sequences[row]] for row in part], pad_token_id=pad_token_id, packed=False
            )
            try:
                with telling_of_no_room():
                    found = _row_losses(model, batch.to(device), chunk_tokens)
            except torch.OutOfMemoryError:
                if rows == 1:
                    raise
                rows //= 2
                continue
            losses.update(zip(part, found, strict=True))
    parts = tuple((losses[row], sequences[row].loss_weight) for row in range(len(sequences)))
    weight = math.fsum(part[1] for part in parts)
    return HeldOutLoss(
        value=math.fsum(part[0] for part in parts) / weight, weight=weight, rows=parts
    )


def _row_losses(model: Any, batch: Batch, chunk_tokens: int) -> list[float]:
    rows, columns = trained_positions(batch.labels, batch.weights)
    spans = []
    for row in range(len(batch.input_ids)):
        own = columns[rows == row]
        spans.append(
            Span(
                row=row,
                columns=own,
                labels=batch.labels[row, own + 1],
                weights=batch.weights[row, own + 1],
            )
        )
    found: list[float] = span_losses(
        model, batch.input_ids, spans, chunk_tokens=chunk_tokens
    ).tolist()
    return found
