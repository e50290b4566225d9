"""Weighted cross-entropy of a head that comes in slices of the vocabulary. Knows nothing of where the slices come from.

Every slice is used once, for loss and gradient together. With z the logits, y the label and m the running log-sum-exp over
the slices so far, a slice changes

    m' = log(e^m + sum e^z)      a' = a e^(m - m') + sum over j != y of e^(z_j - m') W_j      r' = likewise, of e^(z_j - m')

so that in the end r is the probability of all tokens but the label and a - r W_y the gradient by the hidden state: the
running softmax of FlashAttention (arXiv 2205.14135, section 3.1) over the vocabulary. The label's own row is kept apart
because p_y - 1 in 16 bits would be nothing but rounding once a token is learned.
"""

from typing import Any

import torch
from torch.nn import functional

from xtune.kernels.cross_entropy import FLOAT16_BOOST, LogitTransform, matrix_cross_entropy
from xtune.kernels.head_slices import SlicedHead, cast_to
from xtune.kernels.stretches import stretches
from xtune.memory.predict import HEAD_SUM_BYTES


def sliced_cross_entropy(
    hidden: torch.Tensor,
    head: SlicedHead,
    labels: torch.Tensor,
    weights: torch.Tensor,
    *,
    chunk_tokens: int,
    transform: LogitTransform,
) -> torch.Tensor:
    """Sum over tokens of weight times negative log-likelihood, as a float32 scalar; the head is frozen.

    As many logits exist at one time as with `linear_cross_entropy`, which a head of one slice is given to: the same bits.

    Args:
        hidden: (tokens, hidden), what the head is applied to.
        head: The head.
        labels: (tokens,) int64, every one a real target.
        weights: (tokens,) float32.
        chunk_tokens: Tokens whose logits over the whole vocabulary would take what may exist at one time.
        transform: What comes between the head and the softmax.
    """
    matrix = head.matrix
    hidden = hidden.to(cast_to(hidden, matrix))
    if len(matrix.bounds) == 1:
        _, weight, bias = next(head.parts(hidden.dtype))
        return matrix_cross_entropy(
            hidden, (weight, bias), labels, weights, chunk_tokens=chunk_tokens, transform=transform
        )
    chunk = max(1, chunk_tokens * matrix.vocab // matrix.slice_rows)
    with torch.autocast(hidden.device.type, enabled=False):
        return _SlicedCrossEntropy.apply(  # type: ignore[no-any-return, no-untyped-call]
            hidden, head, labels, weights, chunk, transform, torch.is_grad_enabled()
        )


class _SlicedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> torch.Tensor:
        hidden, head, labels, token_weights, chunk, transform, wants_gradient = arguments
        wanted = bool(wants_gradient and ctx.needs_input_grad[0])
        wide = torch.promote_types(hidden.dtype, torch.float32)
        # float16 would lose what is small before the loss scale is applied in backward
        kept = torch.float32 if hidden.dtype == torch.float16 else hidden.dtype
        gradient = torch.empty_like(hidden, dtype=kept) if wanted else None
        total = torch.zeros((), dtype=wide, device=hidden.device)
        group = max(1, HEAD_SUM_BYTES // (hidden.shape[1] * total.element_size()))
        for rows in stretches(len(hidden), group):
            sums = _Sums(hidden[rows], labels[rows], transform, wanted)
            for first, weight, bias in head.parts(hidden.dtype):
                for part in stretches(len(sums.labels), chunk):
                    sums.add(part, first, weight, bias)
            factors = token_weights[rows].to(wide)
            total += ((sums.log_total - sums.target) * factors).sum()
            if gradient is not None:
                gradient[rows] = sums.gradient(factors).to(kept)
        ctx.save_for_backward(gradient)
        ctx.dtype = hidden.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        if gradient is not None:
            gradient = (gradient * outputs[0].to(gradient.dtype)).to(ctx.dtype)
        return gradient, None, None, None, None, None, None


class _Sums:
    """What is known of a group of tokens after some slices."""

    def __init__(
        self, hidden: torch.Tensor, labels: torch.Tensor, transform: LogitTransform, wanted: bool
    ) -> None:
        self.hidden, self.labels, self.transform = hidden, labels, transform
        wide = torch.promote_types(hidden.dtype, torch.float32)
        self.log_total = hidden.new_full(labels.shape, -torch.inf, dtype=wide)  # m, (tokens,)
        self.target = torch.zeros_like(self.log_total)  # z_y, (tokens,)
        self.wanted = wanted
        if wanted:
            self.rest = torch.zeros_like(self.log_total)  # r, (tokens,)
            self.others = torch.zeros_like(hidden, dtype=wide)  # a, (tokens, hidden)
            self.label_rows = torch.zeros_like(hidden)  # W_y, (tokens, hidden)

    def add(self, rows: slice, first: int, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Take a slice of the vocabulary into account, for some of the tokens."""
        logits = functional.linear(self.hidden[rows], weight, bias).to(self.target.dtype)
        logits = self.transform(logits)  # (chunk, slice)
        places = self.labels[rows] - first
        inside = (places >= 0) & (places < len(weight))
        places = places.clamp(0, len(weight) - 1)[:, None]  # (chunk, 1)
        found = logits.gather(1, places).squeeze(1)
        self.target[rows] = torch.where(inside, found, self.target[rows])
        before = self.log_total[rows]
        after = torch.logaddexp(before, torch.logsumexp(logits, dim=-1))
        if self.wanted:
            own = self.label_rows[rows]
            torch.where(inside[:, None], weight[places.squeeze(1)], own, out=own)
            flatness = self._flatness(logits)
            slope = logits.sub_(after[:, None]).exp_()
            slope.scatter_(1, places, torch.where(inside[:, None], 0.0, slope.gather(1, places)))
            decay = (before - after).exp()
            self.rest[rows].mul_(decay).add_(slope.sum(dim=-1))
            if flatness is not None:
                slope.mul_(flatness)
            boost = FLOAT16_BOOST if weight.dtype == torch.float16 else 1.0
            product = slope.mul_(boost).to(weight.dtype) @ weight  # (chunk, hidden)
            self.others[rows].mul_(decay[:, None]).add_(product, alpha=1.0 / boost)
        self.log_total[rows] = after

    def gradient(self, factors: torch.Tensor) -> torch.Tensor:
        """The gradient by the hidden states (tokens, hidden), times a factor for each token; uses up the sums."""
        own = self.rest  # 1 - p_y
        flatness = self._flatness(self.target)
        if flatness is not None:
            own = own * flatness
        self.others.addcmul_(own[:, None], self.label_rows.to(own.dtype), value=-1.0)
        return self.others.mul_((factors * self.transform.scale)[:, None])

    def _flatness(self, logits: torch.Tensor) -> torch.Tensor | None:
        """The derivative of the soft cap, from what it gave."""
        softcap = self.transform.softcap
        return None if softcap is None else 1.0 - (logits / softcap).square()
