"""Weighted cross-entropy of a linear head, a chunk of tokens at a time. Knows nothing of models or batches.

The gradient is computed together with the loss, so that a chunk's logits are gone before the next chunk's exist
(the idea of Liger Kernel, arXiv 2410.10989, and of cut cross-entropy, arXiv 2411.09009).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from xtune.kernels.stretches import stretches

FLOAT16_BOOST = 1024.0
"""Factor on the slope in float16 products, taken out again in float32. A token's slopes sum to at most 2 in
absolute value, so the product stays below 2048 times the largest weight, far from float16's 65504."""


PART_ROWS = 2048
"""Rows of a trained head whose gradient is added, or scaled, at one time."""


@dataclass(frozen=True, kw_only=True)
class LogitTransform:
    """What a model does to its head's output: `softcap * tanh(scale * logits / softcap)`."""

    scale: float = 1.0
    softcap: float | None = None
    """Gemma 2's soft cap (arXiv 2408.00118); None: no cap."""

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits as the model returns them."""
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


def linear_cross_entropy(
    hidden: torch.Tensor,
    head: torch.nn.Linear,
    labels: torch.Tensor,
    weights: torch.Tensor,
    *,
    chunk_tokens: int,
    transform: LogitTransform,
) -> torch.Tensor:
    """Sum over tokens of weight times negative log-likelihood, as a float32 scalar.

    At most `chunk_tokens` by vocabulary logits exist at one time, in the forward and the backward pass.

    Args:
        hidden: (tokens, hidden), what the head is applied to.
        head: A plain linear layer, frozen or trained.
        labels: (tokens,) int64, every one a real target.
        weights: (tokens,) float32.
        chunk_tokens: Tokens whose logits exist at one time.
        transform: What comes between the head and the softmax.
    """
    matrix = (head.weight, head.bias)
    return matrix_cross_entropy(
        hidden, matrix, labels, weights, chunk_tokens=chunk_tokens, transform=transform
    )


def matrix_cross_entropy(
    hidden: torch.Tensor,
    matrix: tuple[torch.Tensor, torch.Tensor | None],
    labels: torch.Tensor,
    weights: torch.Tensor,
    *,
    chunk_tokens: int,
    transform: LogitTransform,
) -> torch.Tensor:
    """The same of a head's weight (vocab, hidden) and bias (vocab,), neither of which is kept for the backward pass."""
    weight, bias = matrix
    if torch.is_autocast_enabled(hidden.device.type):
        # A custom function is not autocast: cast as `linear` would have been.
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        return _LinearCrossEntropy.apply(  # type: ignore[no-any-return, no-untyped-call]
            hidden, weight, bias, labels, weights, chunk_tokens, transform, torch.is_grad_enabled()
        )


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> torch.Tensor:
        hidden, weight, bias, labels, token_weights, chunk, transform, wants_gradient = arguments
        wanted = [bool(wants_gradient and needed) for needed in ctx.needs_input_grad[:3]]
        gradients = _Gradients(hidden, weight, bias, wanted)
        total = torch.zeros((), dtype=_wide(hidden.dtype), device=hidden.device)
        for rows in stretches(hidden.shape[0], chunk):
            logits = functional.linear(hidden[rows], weight, bias).to(total.dtype)  # (chunk, vocab)
            loss, slope = _chunk_loss(
                logits, labels[rows], token_weights[rows], transform, any(wanted)
            )
            total += loss
            if slope is not None:
                gradients.add(rows, slope, hidden, weight)
        ctx.save_for_backward(*gradients.tensors)
        ctx.dtypes = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        scale = outputs[0]
        gradients = [
            None if gradient is None else _scaled(gradient, scale, dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*gradients, None, None, None, None, None)


def _scaled(gradient: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A gradient times the loss's own, in another type, a part at a time: a head's is large."""
    result = torch.empty_like(gradient, dtype=dtype)
    for part in stretches(len(gradient), PART_ROWS):
        result[part] = gradient[part] * scale.to(gradient.dtype)
    return result


class _Gradients:
    """The gradients for hidden states, weight and bias, summed chunk by chunk; None where not wanted."""

    def __init__(
        self,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        wanted: list[bool],
    ) -> None:
        # float16 would lose what is small before the loss scale is applied in backward.
        dtype = torch.float32 if hidden.dtype == torch.float16 else hidden.dtype
        wide = _wide(weight.dtype)
        self.hidden = torch.empty_like(hidden, dtype=dtype) if wanted[0] else None
        self.weight = torch.zeros_like(weight, dtype=wide) if wanted[1] else None
        self.bias = torch.zeros_like(bias, dtype=wide) if wanted[2] and bias is not None else None

    @property
    def tensors(self) -> tuple[torch.Tensor | None, ...]:
        return self.hidden, self.weight, self.bias

    def add(
        self, rows: slice, slope: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor
    ) -> None:
        """Adds a chunk, given the loss's slope by its logits (chunk, vocab)."""
        if self.hidden is not None:
            boost = FLOAT16_BOOST if weight.dtype == torch.float16 else 1.0
            product = (slope * boost).to(weight.dtype) @ weight
            self.hidden[rows] = product.to(self.hidden.dtype) / boost
        narrow = slope.to(weight.dtype)
        if self.weight is not None:
            for part in stretches(len(weight), PART_ROWS):  # no second matrix of the head's size
                self.weight[part].add_(narrow[:, part].T @ hidden[rows])
        if self.bias is not None:
            self.bias += slope.sum(0).to(self.bias.dtype)


def _chunk_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    transform: LogitTransform,
    wants_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Loss of one chunk and its slope by the head's logits, reusing the memory of `logits`."""
    logits = transform(logits)
    weights = weights.to(logits.dtype)
    log_total = torch.logsumexp(logits, dim=-1)
    target = logits.gather(1, labels[:, None]).squeeze(1)
    loss = ((log_total - target) * weights).sum()
    if not wants_gradient:
        return loss, None
    flatness = None
    if transform.softcap is not None:
        flatness = 1.0 - (logits / transform.softcap).square()  # derivative of the soft cap
    slope = logits.sub_(log_total[:, None]).exp_()
    slope.scatter_add_(1, labels[:, None], torch.full_like(target, -1.0)[:, None])
    slope.mul_(weights[:, None] * transform.scale)
    if flatness is not None:
        slope.mul_(flatness)
    return loss, slope


def chunked_cross_entropy(
    hidden: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    labels: torch.Tensor,
    weights: torch.Tensor,
    *,
    chunk_tokens: int,
    transform: LogitTransform,
) -> torch.Tensor:
    """The same sum for any head (adapted, quantised, wrapped): each chunk's logits are computed again in backward."""

    def chunk_loss(
        rows: torch.Tensor, targets: torch.Tensor, factors: torch.Tensor
    ) -> torch.Tensor:
        return token_losses(transform(_widen(head(rows))), targets, factors)

    total = torch.zeros((), dtype=_wide(hidden.dtype), device=hidden.device)
    for start in range(0, hidden.shape[0], chunk_tokens):
        part = slice(start, start + chunk_tokens)
        chunk = (hidden[part], labels[part], weights[part])
        if torch.is_grad_enabled():
            total = total + checkpoint(chunk_loss, *chunk, use_reentrant=False)
        else:
            total = total + chunk_loss(*chunk)
    return total


def token_losses(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of weight times negative log-likelihood from whole logits (tokens, vocab), in float32 or wider."""
    losses = functional.cross_entropy(_widen(logits), labels, reduction="none")
    return (losses * weights.to(losses.dtype)).sum()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _widen(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(_wide(logits.dtype))
