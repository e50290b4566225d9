"""Lets go of pages of files that have done their work: the compiler's code, which is not needed to run what it made, and dictionaries."""

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
    _let_go("r-x", library)


def let_go_of_file(path: Path) -> None:
    """The same for a file that is mapped to be read, by whomever."""
    _let_go("r--", str(path.resolve()))


def _let_go(rights: str, name: str) -> None:
    # no such file, or a C library without it
    with contextlib.suppress(OSError, AttributeError, ValueError):
        madvise = ctypes.CDLL(None).madvise
        for start, size in _mappings(rights, name):
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def _mappings(wanted: str, name: str) -> Iterator[tuple[int, int]]:
    """Where the mappings of a file with such rights begin, and their size in bytes."""
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.endswith(name):
            addresses, rights, *_ = line.split(maxsplit=5)
            if rights.startswith(wanted):
                start, end = (int(address, 16) for address in addresses.split("-"))
                yield start, end - start
