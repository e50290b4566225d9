"""Where the inputs of layers wait for the backward pass: on the device, in host memory, or on disk."""

import contextlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import finalize, ref

import torch

from xtune.kernels.stream_rest import host_memory


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
    """Copies tensors into host memory, on a stream of its own where the device has streams.

    Room is made in bytes, as many as are wanted, and used again for whatever fits; a tensor that fits nowhere takes the
    place of the smallest room that is free. So there are never more rooms than tensors waited at one time, and none is
    larger than the largest tensor, whatever lengths come one after another.

    Args:
        allocate: Makes room (bytes,) in host memory; by default such as the device copies from while it computes.
        ahead: Whether the tensor that will be wanted next is fetched while the one before is used, which costs the
            room of one more tensor on the device.
    """

    def __init__(
        self, allocate: Callable[[int], torch.Tensor] | None = None, *, ahead: bool = True
    ) -> None:
        self._allocate, self._ahead = allocate, ahead
        self._waiting: list[ref[_Put]] = []
        self._free: list[torch.Tensor] = []
        self._stream: torch.cuda.Stream | None = None

    def keep(self, tensor: torch.Tensor) -> _Put:
        """Copy a tensor away; its room on the device may be used again as soon as nobody else holds it.

        Room on the shelf is free again when nobody holds what is returned: taken, or its backward pass never came.
        """
        tensor = tensor.detach()
        room = self._room(tensor.nbytes, tensor.device)
        put = _Put(room[: tensor.nbytes].view(tensor.dtype).view(tensor.shape), tensor.device)
        # a copy from it may still be on its way; what is copied into it next is behind that, in the same stream
        finalize(put, self._free.append, room).atexit = False
        with self._copying(tensor.device):
            put.buffer.copy_(tensor, non_blocking=True)
        if self._stream is not None:
            tensor.record_stream(self._stream)
        self._waiting.append(ref(put))
        return put

    def _room(self, nbytes: int, device: torch.device) -> torch.Tensor:
        """The smallest free room that holds so many bytes, or a new one."""
        by_size = sorted(range(len(self._free)), key=lambda number: self._free[number].numel())
        for number in by_size:
            if self._free[number].numel() >= nbytes:
                return self._free.pop(number)
        if by_size:
            self._free.pop(
                by_size[0]
            )  # copies from it are waited for where locked memory is unlocked
        return (self._allocate or host_memory(device))(nbytes)

    def take(self, kept: _Put) -> torch.Tensor:
        """Copy a tensor back; by default the one that was kept before it is on its way as well."""
        while self._waiting and self._waiting.pop()() is not kept:
            pass  # what was kept later is wanted no more: its backward pass was left out
        self._fetch(kept)
        if kept.device.type == "cuda" and self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)
        back, kept.back = kept.back, None
        assert back is not None
        following = self._following() if self._ahead else None
        if following is not None:
            self._fetch(following)
        return back

    def _following(self) -> _Put | None:
        """What will be wanted next: of what was kept and is still wanted, the last."""
        while self._waiting:
            put = self._waiting[-1]()
            if put is not None:
                return put
            self._waiting.pop()
        return None

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


def pinned(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Host memory that a device copies from, and to, while the host goes on.

    Raises:
        MemoryError: There is no more; CUDA's own words for it are those for a full device.
    """
    try:
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=device.type == "cuda")
    except RuntimeError as error:
        raise MemoryError(f"no pinned host memory: {error}") from error


def disk_shelf(folder: Path, *, ahead: bool = True) -> HostShelf:
    """A shelf whose buffers are files in `folder`, mapped into memory: the system writes them out as it must.

    The files have no name once they are open, so that no end of the process leaves them behind.
    """

    def mapped(nbytes: int) -> torch.Tensor:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".checkpoint-") as file:
            file.truncate(nbytes)
            return torch.from_file(file.name, shared=True, size=nbytes, dtype=torch.uint8)

    return HostShelf(mapped, ahead=ahead)
