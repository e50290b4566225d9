"""Reads one data file into records, lazily: which reader a file name asks for, and texts; it knows no row format."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from xtune.data.json_rows import read_json, read_json_lines
from xtune.data.problems import Problems, refuse
from xtune.data.starts import BEGINNING, Start, from_row
from xtune.data.streams import COMPRESSED, text_pieces
from xtune.data.tables import read_arrow, read_parquet, read_separated
from xtune.data.types import Origin, Record

KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "text",
    ".md": "text",
    ".markdown": "text",
    ".rst": "text",
    ".tex": "text",
}
"""File name ending to the reader's name; all but parquet and arrow may be compressed (`.jsonl.gz`)."""

_CODE = """
asm bash bat c cc clj cljs cmake cpp cs css cu cuh cxx d dart el erl ex exs f f90 fs go
graphql groovy h hh hpp hrl hs html hxx java jl js jsx kt kts less lisp lua m ml mli mm
nim nix pas php pl pm proto ps1 py pyi pyx r rb rkt rs s scala scm scss sh sol sql
svelte swift tcl tf thrift toml ts tsx v vb vhd vhdl vue xml yaml yml zig zsh
"""
CODE = frozenset(f".{ending}" for ending in _CODE.split())
"""Endings of source code, each file one text; `.d.ts` and the like count by their last part."""

PACKED = frozenset({"parquet", "arrow"})
"""Kinds that compress their own columns, and must be read from any place in the file."""

LONGEST_TEXT = 4 << 20
"""Characters of one text; ours: a longer file is cut at blank lines into several, so that memory stays bounded."""

ENDINGS = (
    ", ".join(KINDS) + " or those of source code (.gz and .zst of these too, but of tables packed)"
)


def kind_of(path: Path) -> str | None:
    """Name of the reader for a path, by its ending; None where there is none."""
    name = path.name.lower()
    for ending in COMPRESSED:
        if name.endswith(ending):
            kind = _kind(name.removesuffix(ending))
            return None if kind in PACKED else kind
    return _kind(name)


def _kind(name: str) -> str | None:
    ending = Path(name).suffix
    return KINDS.get(ending) or ("code" if ending in CODE else None)


def read_records(
    path: Path, name: str, kind: str, problems: Problems, start: Start = BEGINNING
) -> Iterator[Record]:
    """The rows of one file, one after another; a malformed one goes to `problems`.

    Raises:
        DataError: The file as a whole cannot be read: it is absent, empty, damaged, or not in UTF-8;
            or it is not what it was when the rows before the one to start with were read.
    """
    return _READERS[kind](path, name, problems, start)


def _read_text(path: Path, name: str, problems: Problems, start: Start) -> Iterator[Record]:
    """A text as one row, as it is; a very long one as several, cut behind a blank line where there is one."""
    del problems  # a text has no rows that could be malformed
    return from_row(_parts(path, name, start), start, name)


def _parts(path: Path, name: str, start: Start) -> Iterator[Record]:
    rest, row = "", 0
    for piece in text_pieces(path, name, start.into):
        rest += piece
        while len(rest) > LONGEST_TEXT:
            end = _cut(rest)
            yield Record(value=rest[:end], origin=Origin(source=name, row=row))
            rest, row = rest[end:], row + 1
    if rest.strip():
        yield Record(value=rest, origin=Origin(source=name, row=row))


def _cut(text: str) -> int:
    for mark in ("\n\n", "\n", " "):
        end = text.rfind(mark, LONGEST_TEXT // 2, LONGEST_TEXT)
        if end >= 0:
            return end + len(mark)
    return LONGEST_TEXT


_READERS: dict[str, Callable[[Path, str, Problems, Start], Iterator[Record]]] = {
    "jsonl": read_json_lines,
    "json": read_json,
    "csv": functools.partial(read_separated, delimiter=","),
    "tsv": functools.partial(read_separated, delimiter="\t"),
    "parquet": read_parquet,
    "arrow": read_arrow,
    "text": _read_text,
    "code": _read_text,
}


SAMPLES = 16
SAMPLE_BYTES = 1 << 16
"""What stands for a file that is not hashed whole: 16 blocks of 64 KiB, the first and the last among them.
A choice: 1 MiB takes a few milliseconds, and holds what an archive or table says of itself."""


def sampled_fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 of a file's size and of sampled blocks, evenly spaced, with the size in bytes; a small file's is `fingerprint`.

    A byte changed outside the blocks does not change it.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        size = path.stat().st_size
        if size <= SAMPLES * SAMPLE_BYTES:
            return fingerprint(path)
        digest = hashlib.sha256(f"{size} bytes, {SAMPLES} blocks of {SAMPLE_BYTES}\n".encode())
        with path.open("rb") as stream:
            for number in range(SAMPLES):
                stream.seek((size - SAMPLE_BYTES) * number // (SAMPLES - 1))
                digest.update(stream.read(SAMPLE_BYTES))
    except OSError as error:
        refuse(f"The file cannot be read: {error.strerror or error}", where=str(path))
    return digest.hexdigest(), size


def fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 and size in bytes of a file, read in pieces.

    Raises:
        DataError: The file cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        refuse(f"The file cannot be read: {error.strerror or error}", where=str(path))
    return digest.hexdigest(), size
