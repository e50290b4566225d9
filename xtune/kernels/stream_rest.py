"""Where the bytes of streamed layers rest: in host memory, or in files. Brings nothing to the device."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import logging
import mmap
import os
import shutil
import time
import uuid
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from xtune.durable import sync
from xtune.errors import RunError
from xtune.kernels.stream_pack import PackedLayer

log = logging.getLogger("xtune")

GIB = 2**30


class Resting(ABC):
    """One layer's bytes."""

    flat: torch.Tensor
    """All of them, (bytes,) in host memory or mapped into it: what the layer holds while it is not on the device."""

    @abstractmethod
    def ready(self, staging: torch.Tensor | None) -> torch.Tensor:
        """The bytes where a device can copy them from; `staging` (bytes,) may be used for it.

        Raises:
            RunError: They cannot be read.
        """

    @abstractmethod
    def expect(self) -> None:
        """They will be wanted soon."""


class Rest(ABC):
    """A place for the bytes of layers."""

    needs_staging = False
    """Whether bytes pass through host memory on their way from here to the device."""

    @abstractmethod
    def keep(self, packed: PackedLayer) -> Resting:
        """Copy a layer's tensors to where they rest.

        Raises:
            RunError: There is no room.
        """


def lock_pages(nbytes: int) -> torch.Tensor:
    """Host memory (bytes,) that a GPU copies from while it computes.

    Its pages are locked in place rather than taken from torch's cache of pinned memory, which rounds up to a power of
    two. Where the system locks no more, it stays as it is, copies wait for one another, and a warning says so.
    """
    mapping = mmap.mmap(-1, max(nbytes, 1))
    flat = torch.frombuffer(mapping, dtype=torch.uint8, count=max(nbytes, 1))[:nbytes]
    cudart: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    if cudart.cudaHostRegister(flat.data_ptr(), nbytes, 0) == cudart.cudaError.success:
        # behind the last view of it, and before the mapping goes
        kept, device = flat.untyped_storage(), torch.cuda.current_device()
        weakref.finalize(kept, _unlock, flat.data_ptr(), device).atexit = False
        return flat
    with contextlib.suppress(RuntimeError):  # CUDA would report the refusal at the next kernel
        torch.ones(1, device="cuda").add_(1)
        torch.cuda.synchronize()
    _say_unlocked()
    return flat


def _unlock(address: int, device: int) -> None:
    with contextlib.suppress(RuntimeError):  # a device that has failed copies nothing
        torch.cuda.synchronize(device)  # a copy may still be on its way
    cudart: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    cudart.cudaHostUnregister(address)


@functools.cache
def _say_unlocked() -> None:
    """Once: a model has a hundred layers."""
    log.warning(
        "The system locks no more host memory in place: some copies to the GPU will not run beside arithmetic."
    )


def host_memory(device: torch.device) -> Callable[[int], torch.Tensor]:
    """Makes host memory (bytes,) for copies to a device."""
    return lock_pages if device.type == "cuda" else _pageable


def _pageable(nbytes: int) -> torch.Tensor:
    return torch.empty(nbytes, dtype=torch.uint8, device="cpu")


class _HostResting(Resting):
    def __init__(self, flat: torch.Tensor) -> None:
        self.flat = flat

    def ready(self, staging: torch.Tensor | None) -> torch.Tensor:
        del staging
        return self.flat

    def expect(self) -> None:
        """They are here."""


class HostRest(Rest):
    """Host memory, one piece a layer.

    Args:
        allocate: Makes host memory of so many bytes.
    """

    def __init__(self, allocate: Callable[[int], torch.Tensor]) -> None:
        self._allocate = allocate

    def keep(self, packed: PackedLayer) -> Resting:
        """Copy a layer's tensors into memory of their own."""
        flat = self._allocate(packed.nbytes)
        packed.gather(flat)
        return _HostResting(flat)


class _FileResting(Resting):
    def __init__(self, path: Path, nbytes: int) -> None:
        self._path, self._nbytes = path, nbytes
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        # private: whoever writes into the layer's tensors changes no file
        mapping = mmap.mmap(self._file, nbytes, access=mmap.ACCESS_COPY)
        self.flat = torch.frombuffer(mapping, dtype=torch.uint8)

    def ready(self, staging: torch.Tensor | None) -> torch.Tensor:
        """Read into the staging memory: a read that fails is an error, where a page that fails ends the process.

        Raises:
            RunError: It failed.
        """
        assert staging is not None
        bytes_ = staging[: self._nbytes]
        view = _buffer(bytes_)
        try:
            os.lseek(self._file, 0, os.SEEK_SET)
            done = 0
            while done < self._nbytes and (count := os.readv(self._file, [view[done:]])):
                done += count
        except OSError as error:
            raise RunError(f"{self._path} cannot be read: {error.strerror or error}.") from error
        if done < self._nbytes:
            raise RunError(
                f"{self._path} has lost its end: {done} of {self._nbytes} bytes are left.",
                advice="Continue with --resume; it is written again.",
            )
        if _memory_is_short(self._nbytes):
            self._advise("POSIX_FADV_DONTNEED")
        return bytes_

    def expect(self) -> None:
        """Let the system read ahead."""
        self._advise("POSIX_FADV_WILLNEED")

    def _advise(self, name: str) -> None:
        if hasattr(os, "posix_fadvise"):  # Linux
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file, 0, 0, getattr(os, name))


def _buffer(flat: torch.Tensor) -> memoryview:
    untyped: Any = flat.numpy()
    return memoryview(untyped)


def _memory_is_short(nbytes: int) -> bool:
    """Whether the system has little left for what else it should hold: file pages count as free memory here."""
    return bool(psutil.virtual_memory().available < max(GIB, 4 * nbytes))


_WRITING = ".writing-"
_GRACE_S = 60.0
"""Between the making of a file and its lock are microseconds; this is for a machine that stands still."""


class DiskRest(Rest):
    """Files in a folder, one a layer, named by a digest of their bytes: whoever streams the same base uses them.

    A file is written aside and renamed when it is whole and durable, so that a kill leaves nothing that could be
    mistaken for a layer; what it leaves the next run takes away. A layer that is there already is compared byte by byte with
    the one in memory, which is then let go. Where room is short, layers used longest ago make way.
    """

    needs_staging = True

    def __init__(self, folder: Path) -> None:
        _remove_leftovers(folder)
        self.folder = folder
        self._mine: set[Path] = set()
        self.written_bytes = 0
        self.reused_bytes = 0

    def keep(self, packed: PackedLayer) -> Resting:
        """Write a layer's tensors, unless they are there.

        Raises:
            RunError: The disk is full, or refuses the write.
        """
        flat = _pageable(packed.nbytes)
        flat.zero_()  # what fills up between tensors shall not make two files of one layer
        packed.gather(flat)
        digest = hashlib.blake2b(_buffer(flat), digest_size=16).hexdigest()
        path = self.folder / f"{digest}.layer"
        self._mine.add(path)
        try:
            if _holds(path, flat):
                self.reused_bytes += packed.nbytes
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._make_room(packed.nbytes)
                _write(path, flat)
                self.written_bytes += packed.nbytes
            with contextlib.suppress(OSError):  # somebody else's file
                os.utime(path)  # what is used stays longest
            return _FileResting(path, packed.nbytes)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            raise RunError(
                f"A layer of the base could not be written to {self.folder}: "
                f"{'the disk is full' if full else error.strerror or error}.",
                advice=f"{'Free some space, or name' if full else 'Name'} another folder in XTUNE_CACHE.",
            ) from error

    def _make_room(self, nbytes: int) -> None:
        while shutil.disk_usage(self.folder).free < nbytes:
            others = [each for each in self.folder.glob("*.layer") if each not in self._mine]
            if not others:
                return
            min(others, key=lambda path: path.stat().st_mtime).unlink(missing_ok=True)


def _holds(path: Path, flat: torch.Tensor) -> bool:
    if not path.is_file() or path.stat().st_size != flat.numel():
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapping:
        there = torch.frombuffer(mapping, dtype=torch.uint8)
        same = torch.equal(there, flat)
        del there  # the mapping cannot be closed while somebody holds it
    return same


def _write(path: Path, flat: torch.Tensor) -> None:
    aside = path.with_name(f"{_WRITING}{uuid.uuid4().hex}")
    try:
        with aside.open("wb", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            view = _buffer(flat)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
            aside.replace(path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _remove_leftovers(folder: Path) -> None:
    """Files that a killed process was writing: nobody holds their lock."""
    for leftover in folder.glob(f"{_WRITING}*"):
        with contextlib.suppress(OSError), leftover.open("rb") as file:
            if time.time() - leftover.stat().st_mtime > _GRACE_S:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
