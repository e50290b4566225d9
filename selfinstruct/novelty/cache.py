"""Fills numba's cache from a process of its own, so that compiling leaves nothing in the memory of the one that searches.

Compiling takes some ten seconds and 80 MB, which a process keeps; loading what was compiled takes half a second. A file beside numba's
says for which source, versions and processor the cache was filled. Where none can be written, or no process be
started, numba compiles where it is called, as it would without this file.
"""

import contextlib
import hashlib
import logging
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba
import numpy as np

from selfinstruct.novelty.compare import decide
from selfinstruct.novelty.compiled import CompiledNearest

_NOTE = "selfinstruct-novelty.txt"
_FILLED = " filled"
_CODE = (
    "import sys; sys.path[:] = sys.argv[1:]; from selfinstruct.novelty.cache import fill; fill()"
)

_MOST_S = 600
"""Seconds to wait; on two busy cores it took 50 (2026-11)."""

log = logging.getLogger("selfinstruct")


@cache
def prepare() -> None:
    """Have the search compiled by another process, unless the cache has it or cannot have it; once in a process."""
    folder = _folder()
    if folder is None:
        return
    wanted, said = _fingerprint(), _said(folder)
    if said == wanted + _FILLED:
        return
    log.warning(
        "The novelty filter is compiled for this processor, once; it takes some ten seconds."
    )
    # no interpreter to start, no more processes: numba then compiles here, at the first call
    with contextlib.suppress(OSError, TypeError, ValueError, subprocess.SubprocessError):
        if not said.startswith(wanted):
            _forget(folder)
            _say(folder, wanted)
        subprocess.run(
            [sys.executable, "-c", _CODE, *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_MOST_S,
            check=False,
        )


def fill() -> None:
    """Run everything that is compiled, and say so beside it."""
    exercise()
    folder = _folder()
    if folder is not None:
        _say(folder, _fingerprint() + _FILLED)


def exercise() -> None:
    """Search a few texts, some of them twice, so that lists are made, merged and read, and pairs compared."""
    nearest = type("SealsFew", (CompiledNearest,), {"tail_texts": 8})(0.7, keep_ties=False)
    texts = np.random.default_rng(0).integers(0, 500, (3, 640)).astype(np.int32)
    for tokens in (*texts, *texts):
        nearest.offer(tokens, np.full(64, 10), 500)


def _folder() -> Path | None:
    """Where numba keeps the compiled code; None where it can write none, or is told not to compile."""
    path = getattr(getattr(decide, "stats", None), "cache_path", None)
    return Path(path) if path else None


def _said(folder: Path) -> str:
    """Which version the cache belongs to, and whether it was filled; nothing where none says so."""
    try:
        return (folder / _NOTE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _say(folder: Path, text: str) -> None:
    """Write the note in one piece, as several processes may fill one cache."""
    note = folder / f"{_NOTE}.{os.getpid()}"
    note.write_text(text, encoding="ascii")
    note.replace(folder / _NOTE)


def _fingerprint() -> str:
    """What the compiled code depends on: versions, processor, and every file here; numba looks only at that of the function."""
    features = llvmlite.binding.get_host_cpu_features().flatten()
    said = [
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        platform.python_version(),
        llvmlite.binding.get_host_cpu_name(),
        features,
    ]
    digest = hashlib.sha256("\n".join(said).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _forget(folder: Path) -> None:
    """Remove what another version left, so that no part of it is taken for this one's."""
    for module in ("compare", "lists"):
        for file in folder.glob(f"{module}.*.nb[ic]"):
            with contextlib.suppress(OSError):
                file.unlink()
