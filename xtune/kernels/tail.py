"""The end of a model a tile at a time: last norm, head and loss, whose gradient is written over the hidden states.

Plain autograd keeps the last hidden states, the norm's float32 input, the normalised states, their selection and
all their gradients for every token. Here one tile's exist, and one gradient for all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xtune.kernels.cross_entropy import FLOAT16_BOOST
from xtune.kernels.replay import autocast_dtype
from xtune.kernels.stretches import stretches
from xtune.kernels.sums import Sums


@dataclass(frozen=True)
class Targets:
    """The tokens that are trained on, in the order of rows; each field (trained,)."""

    rows: torch.Tensor
    columns: torch.Tensor
    """Row and column of the hidden state that predicts the token."""

    labels: torch.Tensor
    """The tokens, int64."""

    weights: torch.Tensor
    """Their weights, float32."""


@dataclass(frozen=True)
class Tail:
    """What follows the last decoder layer."""

    loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    """Loss sum of hidden states as the last layer leaves them (tokens, hidden), labels and weights (tokens,)."""

    parameters: Sequence[nn.Parameter]
    """Those in it that are trained."""

    tile_tokens: int


def tiled_loss(hidden: torch.Tensor, targets: Targets, tail: Tail) -> torch.Tensor:
    """The loss sum over the targets, a float32 scalar.

    The hidden states are written over with their gradient: nobody may need them afterwards.

    Args:
        hidden: (rows, tokens, hidden), what the last decoder layer gives.
        targets: What is predicted where.
        tail: Norm, head and loss.
    """
    result: torch.Tensor = _TailFunction.apply(  # type: ignore[no-untyped-call]
        hidden, targets, tail, torch.is_grad_enabled(), *tail.parameters
    )
    return result


class _TailFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        targets: Targets,
        tail: Tail,
        trains: bool,
        *parameters: nn.Parameter,
    ) -> torch.Tensor:
        rows, columns = targets.rows, targets.columns
        sums = Sums(parameters)
        # float16 would lose what is small before the loss scale is applied in backward
        ctx.boost = FLOAT16_BOOST if hidden.dtype == torch.float16 else 1.0
        wanted = trains and any(ctx.needs_input_grad)
        autocast = autocast_dtype(hidden.device.type)
        total = torch.zeros((), device=hidden.device)
        slopes = hidden.detach()
        for tile in stretches(len(rows), tail.tile_tokens):
            part = slopes[rows[tile], columns[tile]].requires_grad_(
                wanted
            )  # (tile, hidden), a copy
            with torch.set_grad_enabled(wanted), _autocast(hidden.device.type, autocast):
                loss = tail.loss(part, targets.labels[tile], targets.weights[tile])
            total += loss.detach()
            if wanted:
                with torch.autocast(hidden.device.type, enabled=False):  # as in any backward pass
                    seed = torch.full_like(loss, ctx.boost)
                    slope, *others = torch.autograd.grad(
                        loss, (part, *parameters), seed, allow_unused=True
                    )
                sums.add(others)
                del others  # a trained head's is as large as the head
                slopes[rows[tile], columns[tile]] = slope
        if wanted:
            trained = torch.zeros(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
            trained[rows, columns] = True
            slopes.masked_fill_(~trained[..., None], 0.0)
            ctx.slopes, ctx.sums = slopes, sums.total()
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scale = gradients[0] / ctx.boost
        slopes, sums = ctx.slopes, ctx.sums
        ctx.slopes = ctx.sums = None
        slopes.mul_(scale.to(slopes.dtype))
        scaled = [None if each is None else each.mul_(scale.to(each.dtype)) for each in sums]
        return (slopes, None, None, None, *scaled)


@contextmanager
def _autocast(device_type: str, dtype: torch.dtype | None) -> Iterator[None]:
    with nullcontext() if dtype is None else torch.autocast(device_type, dtype=dtype):
        yield
