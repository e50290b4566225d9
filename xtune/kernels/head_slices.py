"""A frozen head a slice of the vocabulary at a time: from host memory, or from fewer bits. Computes no loss (`head_loss`)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from xtune.errors import ModelError
from xtune.kernels.embedding import hold_outside
from xtune.memory.predict import HEAD_SLICE_BYTES

INT8_LEVELS = 127
"""Largest int8 that is used, so that the levels are the same on both sides of zero (arXiv 2208.07339, section 2.1)."""


class HeadMatrix(ABC):
    """A head's matrix (vocab, hidden) that is whole in no memory of the device.

    Args:
        weight: The matrix, wherever it is.
        slice_rows: Rows that come to the device together; default: `HEAD_SLICE_BYTES` of them.
    """

    def __init__(self, weight: torch.Tensor, slice_rows: int | None = None) -> None:
        self.vocab, self.hidden = weight.shape
        self.dtype = weight.dtype
        row_bytes = self.hidden * weight.element_size()
        self.slice_rows = min(self.vocab, slice_rows or max(1, HEAD_SLICE_BYTES // row_bytes))

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First row of each slice and the one behind its last."""
        starts = range(0, self.vocab, self.slice_rows)
        return [(start, min(start + self.slice_rows, self.vocab)) for start in starts]

    @abstractmethod
    def slices(self) -> Iterator[torch.Tensor]:
        """Every slice (rows, hidden) on the device, in order; each may be used until the next is asked for."""


class HostMatrix(HeadMatrix):
    """In host memory; a slice is copied to the device while the one before is used.

    Args:
        weight: (vocab, hidden), in pinned memory if the copies are to run beside arithmetic.
        device: Where slices go.
        slice_rows: As in `HeadMatrix`.
    """

    def __init__(
        self, weight: torch.Tensor, device: torch.device, slice_rows: int | None = None
    ) -> None:
        super().__init__(weight, slice_rows)
        self.weight, self.device = weight, device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def slices(self) -> Iterator[torch.Tensor]:
        """Two slots take turns."""
        bounds = self.bounds
        slots = [
            torch.empty(self.slice_rows, self.hidden, dtype=self.dtype, device=self.device)
            for _ in bounds[:2]
        ]
        coming = self._copy(bounds[0], slots[0])
        for number in range(len(bounds)):
            here = coming
            if self._stream is not None:
                torch.cuda.current_stream().wait_stream(self._stream)
            if number + 1 < len(bounds):
                # into the slot of the slice before this one, whose use has been asked of the device already
                coming = self._copy(bounds[number + 1], slots[(number + 1) % 2])
            yield here

    def _copy(self, bounds: tuple[int, int], slot: torch.Tensor) -> torch.Tensor:
        rows = slot[: bounds[1] - bounds[0]]
        with self._copying():
            rows.copy_(self.weight[slice(*bounds)], non_blocking=True)
        if self._stream is not None:
            rows.record_stream(self._stream)
        return rows

    def _copying(self) -> AbstractContextManager[Any]:
        if self._stream is None:
            return nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self._stream)


class Nf4Matrix(HeadMatrix):
    """In NF4 (arXiv 2305.14314, section 3) with double quantisation, on the device; a slice is expanded at a time.

    Args:
        weight: (vocab, hidden), wherever it is; it is quantised slice by slice.
        device: Where it is kept.
        slice_rows: As in `HeadMatrix`.
    """

    def __init__(
        self, weight: torch.Tensor, device: torch.device, slice_rows: int | None = None
    ) -> None:
        super().__init__(weight, slice_rows)
        from bitsandbytes import functional as bits

        self._expand: Any = bits.dequantize_4bit
        self._packed: list[tuple[torch.Tensor, Any]] = [
            bits.quantize_4bit(
                weight[start:stop].to(device).contiguous(),
                quant_type="nf4",
                compress_statistics=True,
            )
            for start, stop in self.bounds
        ]

    def slices(self) -> Iterator[torch.Tensor]:
        """Expanded to the type that the matrix had."""
        for packed, state in self._packed:
            yield self._expand(packed, state)


class Int8Matrix(HeadMatrix):
    """In int8 with a float32 scale for each row, on the device; a slice is expanded at a time.

    Args:
        weight: (vocab, hidden), wherever it is; it is quantised slice by slice.
        device: Where it is kept.
        slice_rows: As in `HeadMatrix`.
    """

    def __init__(
        self, weight: torch.Tensor, device: torch.device, slice_rows: int | None = None
    ) -> None:
        super().__init__(weight, slice_rows)
        self._levels = torch.empty(self.vocab, self.hidden, dtype=torch.int8, device=device)
        self._scales = torch.empty(self.vocab, 1, device=device)
        for start, stop in self.bounds:
            rows = weight[start:stop].to(device, torch.float32)
            scales = rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / INT8_LEVELS
            self._levels[start:stop] = (rows / scales).round_().to(torch.int8)
            self._scales[start:stop] = scales

    def slices(self) -> Iterator[torch.Tensor]:
        """Expanded to the type that the matrix had."""
        for start, stop in self.bounds:
            levels = self._levels[start:stop]
            expanded = torch.empty_like(levels, dtype=self.dtype)
            yield torch.mul(levels, self._scales[start:stop], out=expanded)


class SlicedHead:
    """The forward pass of a head whose matrix comes in slices.

    Args:
        matrix: The matrix.
        bias: (vocab,), on the device, or None.
    """

    def __init__(self, matrix: HeadMatrix, bias: torch.Tensor | None) -> None:
        self.matrix, self.bias = matrix, bias

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """All logits (..., vocab) of hidden states (..., hidden), as `nn.Linear` gives them."""
        dtype = cast_to(hidden, self.matrix)
        result: torch.Tensor = _SlicedLinear.apply(hidden.to(dtype), self)  # type: ignore[no-untyped-call]
        return result

    def parts(self, dtype: torch.dtype) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
        """First token, weight (slice, hidden) and bias (slice,) of each slice in a type."""
        for (start, stop), weight in zip(self.matrix.bounds, self.matrix.slices(), strict=True):
            bias = None if self.bias is None else self.bias[start:stop].to(dtype)
            yield start, weight.to(dtype), bias


def cast_to(hidden: torch.Tensor, matrix: HeadMatrix) -> torch.dtype:
    """The type in which a head multiplies: autocast's where it is on, the hidden states' own otherwise."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else matrix.dtype


class _SlicedLinear(torch.autograd.Function):
    """`functional.linear` whose weight exists a slice at a time, in the backward pass again."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: SlicedHead) -> torch.Tensor:
        ctx.head = head
        logits = hidden.new_empty(*hidden.shape[:-1], head.matrix.vocab)
        for start, weight, bias in head.parts(hidden.dtype):
            logits[..., start : start + len(weight)] = functional.linear(hidden, weight, bias)
        return logits

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor | None, None]:
        slope = outputs[0]
        if not ctx.needs_input_grad[0]:
            return None, None
        wide = torch.promote_types(slope.dtype, torch.float32)
        total = slope.new_zeros(*slope.shape[:-1], ctx.head.matrix.hidden, dtype=wide)
        for start, weight, _ in ctx.head.parts(slope.dtype):
            total += slope[..., start : start + len(weight)] @ weight
        return total.to(slope.dtype), None


def slice_head(layer: nn.Module, matrix: HeadMatrix, weight: torch.Tensor) -> None:
    """Let a head compute from a matrix that comes in slices; it is frozen from now on.

    Args:
        layer: A plain `nn.Linear`.
        matrix: What it multiplies with.
        weight: What its `weight` shows from now on, no parameter any more: the matrix in host memory, or none of its rows.

    Raises:
        ModelError: The head is of another kind.
    """
    if type(layer) is not nn.Linear or "forward" in vars(layer):
        raise ModelError(
            f"The head of this model, a {type(layer).__name__}, cannot be used in slices of the vocabulary.",
            advice="Set `memory.head: device`.",
        )
    untyped: Any = layer
    bias = untyped.bias
    untyped.forward = SlicedHead(matrix, None if bias is None else bias.detach())
    hold_outside(layer, weight)


def sliced_head(layer: nn.Module) -> SlicedHead | None:
    """A layer's slices; None for a layer that has its weight."""
    forward: object = vars(layer).get("forward")
    return forward if isinstance(forward, SlicedHead) else None


def hold_head(layer: nn.Module, form: str, device: torch.device) -> None:
    """Let a head compute from its matrix in fewer bits; losses and logits change by what that rounds away.

    Args:
        layer: A plain `nn.Linear`; its whole matrix is let go.
        form: "nf4" or "int8".
        device: Where the matrix is kept.

    Raises:
        ModelError: The head is of another kind.
    """
    weight = layer.weight
    if not isinstance(weight, torch.Tensor):
        raise ModelError(f"A {type(layer).__name__} has no weight that could be held in {form}.")
    whole = weight.detach()
    matrix = (Nf4Matrix if form == "nf4" else Int8Matrix)(whole, device)
    slice_head(layer, matrix, whole.new_empty((0, whole.shape[1]), device=device))
