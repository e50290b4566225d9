"""Lets go of a library's code that has done its work: the compiler's, which is not needed to run what it made."""

import contextlib
import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def let_go_of_code(library: str) -> None:
    """Take a library's code out of this process's memory; the system reads back from the file what is called again.

    Only mappings that may be executed and not written are let go: they are the file's bytes and nothing else, where data
    may have been relocated. Does nothing where the system does not say what is mapped (Linux does).

    Args:
        library: The file's path, or how it ends: `libllvmlite.so`.
    """
    # no such file, or a C library without it
    with contextlib.suppress(OSError, AttributeError, ValueError):
        madvise = ctypes.CDLL(None).madvise
        for start, size in _code(library):
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def _code(library: str) -> Iterator[tuple[int, int]]:
    """Where the code of a library lies, and its size in bytes."""
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        addresses, rights, *_, path = line.split(maxsplit=5)
        if rights == "r-xp" and path.endswith(library):
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield start, end - start
