"""Which files of a folder are data: tables of rows, or else texts and source code as they are; it reads no rows.

A folder with row files (jsonl, json, csv, tsv, parquet, arrow) is a data set: its row files and
texts are read; source code and what describes the set (README, LICENSE ...) are not. A folder
without row files is a corpus: every text, Markdown and source file is read, README and all. A
program's settings in JSON make no data set of its source code.
`format: text` makes a corpus of any folder; its JSON and csv files are left out then, unless they
are all there is.
"""

import codecs
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xtune.data.files import kind_of
from xtune.data.streams import COMPRESSED

_NOT_DATA = ("readme", "license", "licence", "notice", "changelog", "contributing", "dataset_info", "dataset_dict",
             "state.json")  # fmt: skip
"""Beginnings of the names of files that describe a data set rather than being rows of it."""

_TEXTS = {"text", "code"}

_LOOKED_AT = 8192
"""Bytes at the beginning of a file that tell whether it is text; git looks at as many (8,000)."""


@dataclass(frozen=True, kw_only=True)
class FolderFiles:
    """The data files of a folder, by their paths in it, and how many others are there by reason."""

    files: list[tuple[str, str]]
    """Path in the folder, kind."""

    left_out: Counter[str] = field(default_factory=Counter)


def files_in(folder: Path, *, texts: bool) -> FolderFiles:
    """The data files of a folder and of the folders in it, in the order of their names.

    `texts`: the rows are to be texts, so the folder is a corpus whatever else is in it.
    """
    found = FolderFiles(files=[])
    seen = list(_known(folder, found.left_out))
    plain = [item for item in seen if item[1] in _TEXTS]
    rows = [item for item in seen if item[1] not in _TEXTS and not _describes(item[0])]
    if plain:
        rows = [item for item in rows if item[1] != "json" or _begins_with_rows(folder / item[0])]
    if (texts and plain) or not rows:
        chosen = _readable(folder, plain, found.left_out)
        left = [kind for _, kind in seen if kind not in _TEXTS]
        found.left_out.update(f"{kind} files beside texts" for kind in left)
    else:
        wanted = [item for item in plain if item[1] == "text" and not _describes(item[0])]
        readable = set(_readable(folder, wanted, found.left_out))
        chosen = [item for item in seen if item in readable or item in set(rows)]
        taken = {*rows, *wanted}
        found.left_out.update(
            "source code" if kind == "code" else "descriptions"
            for name, kind in seen
            if (name, kind) not in taken
        )
    found.files.extend(chosen)
    return found


def _known(folder: Path, left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file():
            continue
        if any(part.startswith(".") for part in inside.parts):
            left_out["hidden"] += 1
            continue
        kind = kind_of(path)
        if kind is None:
            left_out[path.suffix.lower() or "without an ending"] += 1
        else:
            yield inside.as_posix(), kind


def _begins_with_rows(path: Path) -> bool:
    """Whether a JSON file beside texts is a list or has an object a line, and is not a program's settings."""
    if path.name.lower().endswith(COMPRESSED):
        return True
    try:
        with path.open("rb") as stream:
            read = stream.read(_LOOKED_AT)
    except OSError:
        return True
    beginning = read.removeprefix(codecs.BOM_UTF8).lstrip()
    line, end, _ = beginning.partition(b"\n")
    if beginning.startswith(b"[") or not end:
        return beginning.startswith(b"[") or len(read) == _LOOKED_AT
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _describes(name: str) -> bool:
    return Path(name).name.lower().startswith(_NOT_DATA)


def _readable(
    folder: Path, texts: list[tuple[str, str]], left_out: Counter[str]
) -> list[tuple[str, str]]:
    kept = []
    for name, kind in texts:
        fault = _fault(folder / name)
        if fault:
            left_out[fault] += 1
        else:
            kept.append((name, kind))
    return kept


def _fault(path: Path) -> str:
    """Why a file named like a text is none; a file that cannot be opened is told when it is read."""
    if path.name.lower().endswith(COMPRESSED):
        return ""
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_LOOKED_AT)
    except OSError:
        return ""
    if len(beginning) < _LOOKED_AT and not beginning.strip():
        return "empty"
    utf16 = beginning.startswith((b"\xff\xfe", b"\xfe\xff"))  # text, which the reader names
    return "binary" if b"\0" in beginning and not utf16 else ""
