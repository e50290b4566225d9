"""Names everything that shapes encoded rows, as one key; and the fingerprints of files, without reading large ones twice."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.data.files import SAMPLE_BYTES, SAMPLES, fingerprint, sampled_fingerprint
from xtune.data.problems import Problems
from xtune.data.sources import SourceFile
from xtune.data.store import FORMAT
from xtune.hardware import package_version

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PACKAGES = ("tokenizers", "fastokens", "transformers", "Jinja2", "pyarrow", "numpy")

LARGE_BYTES = 8 << 20
"""Files from 8 MiB on are noted when hashed: smaller ones take 5 ms (two EPYC cores, 2026-11-24)."""

_SETTLED_S = 2.0
"""A file changed this shortly before it was hashed may change again within one tick of its clock."""

_NOTED = 10_000


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A file to read, and what its bytes are."""

    file: SourceFile
    sha256: str
    bytes: int
    written_ns: int | None = None
    """When the file was last written, where `sha256` is not of all its bytes: nanoseconds since 1970."""

    mark: list[int] | None = None
    """Size, both times, inode and device before it was hashed."""


def check_unchanged(files: Iterable[Identified]) -> None:
    """Refuse files that were written to since they were hashed: the rows are not those of the fingerprint.

    Raises:
        DataError: Names all of them.
    """
    problems = Problems()
    for one in files:
        if one.mark is not None and _mark(one.file.path) != one.mark:
            problems.add(
                "The file was changed while it was read",
                where=one.file.name,
                advice="wait until it is written, then start again.",
            )
    problems.raise_any()


def identify_by_samples(files: Iterable[SourceFile]) -> list[Identified]:
    """What every file is, at once, whatever its size: `files.sampled_fingerprint`.

    Raises:
        DataError: A file cannot be read.
    """
    result = []
    for file in files:
        sha256, size = sampled_fingerprint(file.path)
        written = file.path.stat().st_mtime_ns if size > SAMPLES * SAMPLE_BYTES else None
        result.append(Identified(file=file, sha256=sha256, bytes=size, written_ns=written))
    return result


def identify(files: Iterable[SourceFile], notes: Path) -> list[Identified]:
    """The fingerprint of every file.

    A large file that was hashed before and has the size, inode and both times it had then is not read
    again. The change time is the kernel's own: no program can set it back.

    Args:
        files: What to hash.
        notes: The file of earlier fingerprints; made if absent, ignored if damaged or not writable.
    """
    known = _read_notes(notes)
    added: dict[str, list[Any]] = {}
    result = []
    for file in files:
        mark = _mark(file.path)
        noted = known.get(str(file.path.resolve()))
        if mark is not None and noted is not None and noted[:-1] == mark:
            known_sum = str(noted[-1])
            result.append(Identified(file=file, sha256=known_sum, bytes=int(mark[0]), mark=mark))
            continue
        began = time.time()
        sha256, size = fingerprint(file.path)
        result.append(Identified(file=file, sha256=sha256, bytes=size, mark=mark))
        settled = mark is not None and began - mark[2] / 1e9 > _SETTLED_S
        if mark is not None and size >= LARGE_BYTES and settled and mark == _mark(file.path):
            added[str(file.path.resolve())] = [*mark, sha256]
    if added:
        _write_notes(notes, added)
    return result


def _mark(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def _read_notes(notes: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(notes.read_text(encoding="utf-8"))
        return {str(name): list(note) for name, note in found.items() if len(note) == 6}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_notes(notes: Path, added: Mapping[str, list[Any]]) -> None:
    kept = [*{**_read_notes(notes), **added}.items()][-_NOTED:]
    aside = notes.with_name(f".{notes.name}.{os.getpid()}.writing")
    try:
        notes.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(dict(kept)), encoding="utf-8")
        aside.replace(notes)
    except OSError:
        aside.unlink(missing_ok=True)  # only a speed-up is lost


def key_of(
    files: Many[Identified],
    tokenizer: "PreTrainedTokenizerBase",
    options: Mapping[str, Any],
    limits: Mapping[str, Any],
) -> str:
    """A name for everything that shapes the encoded rows of some files.

    Args:
        files: What is read, in order.
        tokenizer: What encodes.
        options: How it encodes.
        limits: How many rows are read.
    """
    facts = {
        "format": FORMAT,
        "code": _code(),
        "packages": {name: package_version(name) for name in _PACKAGES},
        "files": [_file_facts(one) for one in files],
        "tokenizer": _tokenizer_facts(tokenizer),
        "options": dict(options),
        "limits": dict(limits),
    }
    template = f"{options.get('template')}{tokenizer.chat_template}"
    if "strftime_now" in template:  # the day is in the text then
        facts["day"] = datetime.now().date().isoformat()  # the template's own clock: local time
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _file_facts(one: Identified) -> list[Any]:
    file = one.file
    return [file.source, file.name, file.kind, file.format, sorted(file.columns.items()), one.sha256]  # fmt: skip


def _tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    plain = (str, int, float, bool, type(None))
    settings = {
        name: value
        for name, value in tokenizer.init_kwargs.items()
        if isinstance(value, plain) and "path" not in name and not name.endswith("_file")
    }
    return {
        "class": type(tokenizer).__qualname__,
        "backend": tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else "",
        "special": repr(sorted(tokenizer.special_tokens_map.items())),
        "template": tokenizer.chat_template,
        "settings": settings,
    }


@lru_cache(maxsize=1)
def _code() -> str:
    """What our own code that reads and encodes is: its very text, so that no change is forgotten."""
    digest = hashlib.sha256(str(package_version("xtune")).encode())
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in {".py", ".yaml", ".json"} and path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
