"""Where the inputs of layers wait for the backward pass: on the device, in host memory, or on disk."""

import contextlib
import tempfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


class Shelf(ABC):
    """Keeps tensors of the forward pass for the backward pass, which takes them in the opposite order."""

    @abstractmethod
    def keep(self, tensor: torch.Tensor) -> Any:
        """Put a tensor away; returns what `take` wants."""

    @abstractmethod
    def take(self, kept: Any) -> torch.Tensor:
        """The same numbers on the same device; each is taken once."""


class DeviceShelf(Shelf):
    """Leaves tensors where they are."""

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor itself, without its history."""
        return tensor.detach()

    def take(self, kept: torch.Tensor) -> torch.Tensor:
        """The tensor itself."""
        return kept


@dataclass(eq=False)
class _Put:
    """A tensor that was put away."""

    buffer: torch.Tensor
    device: torch.device
    back: torch.Tensor | None = None
    """The tensor on its device again, if it was fetched ahead."""


class HostShelf(Shelf):
    """Copies tensors into buffers of host memory, on a stream of its own where the device has streams.

    Args:
        allocate: Makes a buffer in host memory; buffers are used again for tensors of the same shape and type.
        ahead: Whether the tensor that will be wanted next is fetched while the one before is used, which costs the
            room of one more tensor on the device.
    """

    def __init__(
        self,
        allocate: Callable[[torch.Tensor], torch.Tensor] | None = None,
        *,
        ahead: bool = True,
    ) -> None:
        self._allocate = allocate or _pinned_like
        self._ahead = ahead
        self._waiting: list[_Put] = []
        self._free: defaultdict[tuple[torch.Size, torch.dtype], list[torch.Tensor]] = defaultdict(
            list
        )
        self._stream: torch.cuda.Stream | None = None

    def keep(self, tensor: torch.Tensor) -> _Put:
        """Copy a tensor away; its room may be used again as soon as nobody else holds it."""
        tensor = tensor.detach()
        free = self._free[tensor.shape, tensor.dtype]
        put = _Put(free.pop() if free else self._allocate(tensor), tensor.device)
        with self._copying(tensor.device):
            put.buffer.copy_(tensor, non_blocking=True)
        if self._stream is not None:
            tensor.record_stream(self._stream)
        self._waiting.append(put)
        return put

    def take(self, kept: _Put) -> torch.Tensor:
        """Copy a tensor back; by default the one that was kept before it is on its way as well."""
        while self._waiting and self._waiting.pop() is not kept:
            pass  # what was kept later is wanted no more: its backward pass was left out
        self._fetch(kept)
        if kept.device.type == "cuda" and self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)
        back = kept.back
        assert back is not None
        kept.back = None
        self._free[back.shape, back.dtype].append(kept.buffer)
        if self._ahead and self._waiting:
            self._fetch(self._waiting[-1])
        return back

    def _fetch(self, put: _Put) -> None:
        if put.back is not None:
            return
        back = torch.empty_like(put.buffer, device=put.device)
        with self._copying(put.device):
            back.copy_(put.buffer, non_blocking=True)
        if self._stream is not None:
            back.record_stream(self._stream)
        put.back = back

    def _copying(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        """On a GPU a stream of its own, behind what the current stream has been given so far."""
        if device.type != "cuda":
            return contextlib.nullcontext()
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self._stream)


def _pinned_like(tensor: torch.Tensor) -> torch.Tensor:
    return pinned(tensor.shape, tensor.dtype, tensor.device)


def pinned(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Host memory that a device copies from, and to, while the host goes on."""
    return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=device.type == "cuda")


def disk_shelf(folder: Path, *, ahead: bool = True) -> HostShelf:
    """A shelf whose buffers are files in `folder`, mapped into memory: the system writes them out as it must.

    The files have no name once they are open, so that no end of the process leaves them behind.
    """

    def mapped(tensor: torch.Tensor) -> torch.Tensor:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".checkpoint-") as file:
            file.truncate(tensor.numel() * tensor.element_size())
            size, dtype = tensor.numel(), tensor.dtype
            return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(
                tensor.shape
            )

    return HostShelf(mapped, ahead=ahead)
