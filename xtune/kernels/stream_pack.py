"""What of a decoder layer moves when it is streamed, and how it lies in one run of bytes. Decides nothing about when."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

ALIGNMENT = 256
"""Bytes: what cudaMalloc guarantees at least (CUDA C++ Programming Guide, 5.3.2), and more than a CPU's cache line."""


@dataclass(frozen=True)
class _Place:
    """Where a module keeps a tensor: `parameter.data`, or an attribute of a quantised weight's state."""

    owner: Any
    name: str

    def get(self) -> torch.Tensor:
        tensor: torch.Tensor = getattr(self.owner, self.name)
        return tensor.detach()

    def set(self, tensor: torch.Tensor) -> None:
        setattr(self.owner, self.name, tensor)


@dataclass(frozen=True)
class _Piece:
    """A tensor that moves."""

    places: list[_Place]
    """All that hold it: bitsandbytes' 8-bit weight is in two."""

    shape: torch.Size
    dtype: torch.dtype
    start: int
    """Its first byte."""

    @property
    def nbytes(self) -> int:
        """Without what fills up to the next piece."""
        return self.shape.numel() * self.dtype.itemsize

    def view(self, flat: torch.Tensor) -> torch.Tensor:
        return flat[self.start : self.start + self.nbytes].view(self.dtype).view(self.shape)


class PackedLayer:
    """The tensors of a layer that move together, and their places in one run of bytes.

    They are the parameters, frozen ones only unless `trained`, and what bitsandbytes keeps beside quantised ones: all
    that 4-bit weights are expanded with (`QuantState`), 8-bit weights and their scales (`MatmulLtState.CB`, `SCB`). So
    a layer is whole wherever it is, and whoever expands a resting one need not know. Buffers stay.
    """

    def __init__(self, layer: nn.Module, *, trained: bool = False) -> None:
        found: dict[tuple[object, ...], list[_Place]] = {}
        for place in _places(layer, trained=trained):
            found.setdefault(_identity(place.get()), []).append(place)
        self._pieces: list[_Piece] = []
        end = 0
        for places in found.values():
            tensor = places[0].get()
            self._pieces.append(_Piece(places, tensor.shape, tensor.dtype, end))
            end += -(-self._pieces[-1].nbytes // ALIGNMENT) * ALIGNMENT
        self.nbytes = end
        """Bytes of the run; every tensor begins at a multiple of `ALIGNMENT`."""

    def gather(self, flat: torch.Tensor) -> None:
        """Copy the tensors, wherever they are, into a run of bytes (bytes,)."""
        for piece, view in zip(self._pieces, self.views(flat), strict=True):
            view.copy_(piece.places[0].get())

    def views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """The tensors in a run of bytes (bytes,), for `point`."""
        return [piece.view(flat) for piece in self._pieces]

    def point(self, views: list[torch.Tensor]) -> None:
        """Let the layer compute with these tensors; what it had is let go."""
        for piece, view in zip(self._pieces, views, strict=True):
            for place in piece.places:
                place.set(view)

    def points_to(self, views: list[torch.Tensor]) -> bool:
        """Whether the layer has these tensors, and nobody gave it others since."""
        return all(
            _identity(place.get()) == _identity(view)
            for piece, view in zip(self._pieces, views, strict=True)
            for place in piece.places
        )

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those that move."""
        for piece in self._pieces:
            for place in piece.places:
                if isinstance(place.owner, nn.Parameter):
                    yield place.owner


def _places(layer: nn.Module, *, trained: bool) -> Iterator[_Place]:
    for module in layer.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and not trained:
                continue
            yield _Place(parameter, "data")
            state: Any = getattr(parameter, "quant_state", None)
            if state is not None:
                yield from _tables(state)
        yield from _eight_bit_places(module)


def _tables(state: Any) -> Iterator[_Place]:
    """Scales, the sixteen values, and with double quantisation those of the scales."""
    yield _Place(state, "absmax")
    yield _Place(state, "code")
    if state.nested:
        yield _Place(state, "offset")
        yield _Place(state.state2, "absmax")
        yield _Place(state.state2, "code")


def _eight_bit_places(module: nn.Module) -> Iterator[_Place]:
    own = dict(module.named_parameters(recurse=False))  # an adapter's `weight` is its base's
    if getattr(own.get("weight"), "CB", None) is not None:
        untyped: Any = module
        untyped.init_8bit_state()  # what its first forward pass would do: the state has the weights from then on
    state = getattr(module, "state", None)
    for name in ("CB", "SCB"):
        if isinstance(getattr(state, name, None), torch.Tensor):
            yield _Place(state, name)


def _identity(tensor: torch.Tensor) -> tuple[object, ...]:
    storage = tensor.untyped_storage()._cdata  # an address, which also tensors without numbers have
    return storage, tensor.storage_offset(), tensor.shape, tensor.dtype
