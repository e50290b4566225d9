"""Fills numba's cache from a process of its own, so that compiling leaves nothing in the memory of the one that searches.

Compiling takes ten to twenty seconds and 80 MB, which a process keeps; loading what was compiled takes half a second. A note
beside numba's files says for which source, versions and processor the cache was filled, or what kept another process from
filling it: then no start tries that again, until one of these changes. Where no process can fill it, numba compiles where it
is called, as it would without this file, and keeps that too where it can write.
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
from threading import Event

import llvmlite
import llvmlite.binding
import numba
import numpy as np

from selfinstruct.novelty.compare import decide
from selfinstruct.novelty.compiled import CompiledNearest
from selfinstruct.novelty.cutting import cut_nothing
from selfinstruct.novelty.resident import let_go_of_code
from selfinstruct.novelty.words import LEAST_SLOTS, CompiledVocabulary

_NOTE = "selfinstruct-novelty.txt"
"""Its first line is a `_fingerprint`, its second how that went; after a failure follow versions and what was wrong."""

_FILLED, _FAILED = "filled", "failed"
_CODE = (
    "import sys; sys.path[:] = sys.argv[1:]; from selfinstruct.novelty.cache import fill; fill()"
)

_MOST_S = 600
"""Seconds to wait; on two busy cores it took 50 (2026-11)."""

_MOST_SAID = 2000
"""Characters of what the other process said last, kept with a failure."""

_NEEDED = ("PATH", "HOME", "LANG", "LC_", "TMP", "TEMP", "NUMBA_", "OMP_", "LD_", "DYLD_", "PYTHON", "VIRTUAL_ENV", "CONDA_", "XDG_", "SYSTEMROOT", "USERPROFILE", "LOCALAPPDATA", "COVERAGE_")  # fmt: skip
"""Beginnings of the names of what a compiling process gets of the environment: an API key, whatever it is called, is not among it."""

log = logging.getLogger("selfinstruct")


@cache
def prepare() -> None:
    """Have the search compiled by another process, unless the cache has it or cannot have it, and load it; once in a process."""
    folder = _folder()
    if folder is not None and _is_filled(folder):
        exercise()
        let_go_of_code("libllvmlite.so")  # 40 to 90 MB, which running what it made does not need


def _is_filled(folder: Path) -> bool:
    """Whether the cache has the search, which another process fills it with if it may."""
    wanted, (known, went) = _fingerprint(), _said(folder)
    if known == wanted and went in {_FILLED, _FAILED}:
        return went == _FILLED
    log.warning(
        "The novelty filter is compiled for this processor, once; it takes ten to twenty seconds."
    )
    with contextlib.suppress(OSError):
        if known != wanted:
            _forget(folder)
            _say(folder, wanted)
    wrong = _fill_elsewhere()
    if _said(folder) == (wanted, _FILLED):
        return True
    log.warning(
        "Another process could not compile it (%s), so this one does.", wrong.rpartition("\n")[2]
    )
    with contextlib.suppress(OSError):
        _say(folder, wanted, _FAILED, ", ".join(_versions()), wrong)
    return False


def _fill_elsewhere() -> str:
    """Have another process call `fill`, and return what went wrong, if anything did."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, *sys.path],
            env={name: text for name, text in os.environ.items() if name.startswith(_NEEDED)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_MOST_S,
            check=False,
        )
    # no interpreter to start, no more processes, no end
    except (OSError, TypeError, ValueError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"
    said = done.stderr.decode("utf-8", "replace").strip()[-_MOST_SAID:]
    return said or f"it ended with exit status {done.returncode} and said nothing"


def fill() -> None:
    """Run everything that is compiled, and say so beside it."""
    exercise()
    folder = _folder()
    if folder is not None:
        _say(folder, _fingerprint(), _FILLED)


def exercise() -> None:
    """Search a few texts, some of them twice, so that lists are made, merged and read, and pairs compared."""
    few = {"tail_texts": 8, "least_in_parts": 1}
    nearest = type("SealsFew", (CompiledNearest,), few)(0.7, keep_ties=False)
    texts = np.random.default_rng(0).integers(0, 500, (3, 640)).astype(np.int32)
    for tokens in (*texts, *texts):
        nearest.offer(tokens, np.full(64, 10), 500, Event())
    vocabulary = CompiledVocabulary()
    words = [f"w{number}" for number in range(LEAST_SLOTS)]  # so many that its table grows
    vocabulary.numbers_of([vocabulary.packed([words], len(words))], len(words))
    cut_nothing()


def _folder() -> Path | None:
    """Where numba keeps the compiled code; None where it can write none, or is told not to compile."""
    path = getattr(getattr(decide, "stats", None), "cache_path", None)
    return Path(path) if path else None


def _said(folder: Path) -> tuple[str, str]:
    """Which version the note is about, and how filling the cache went; nothing where nothing is said."""
    try:
        lines = (folder / _NOTE).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return "", ""
    return lines[0], lines[1] if len(lines) > 1 else ""


def _say(folder: Path, *lines: str) -> None:
    """Write the note in one piece, as several processes may fill one cache."""
    note = folder / f"{_NOTE}.{os.getpid()}"
    note.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    note.replace(folder / _NOTE)


def _versions() -> list[str]:
    return [
        f"numba {numba.__version__}",
        f"llvmlite {llvmlite.__version__}",
        f"NumPy {np.__version__}",
        f"Python {platform.python_version()}",
        f"processor {llvmlite.binding.get_host_cpu_name()}",
    ]


def _fingerprint() -> str:
    """What the compiled code depends on: versions, processor, and every file here; numba looks only at that of the function."""
    features = llvmlite.binding.get_host_cpu_features().flatten()
    digest = hashlib.sha256("\n".join([*_versions(), features]).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _forget(folder: Path) -> None:
    """Remove what another version left, so that no part of it is taken for this one's."""
    for file in folder.glob("*.nb[ic]"):
        with contextlib.suppress(OSError):
            file.unlink()
