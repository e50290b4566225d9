"""Reads one data file into records: jsonl, json, csv, tsv, parquet, txt and md, gzipped or not; it knows no row format.

Text is kept exactly as the file holds it. In particular it is not normalised to NFC: training text
should be what the author wrote, and a tokenizer that wants a normal form applies it itself.
"""

import codecs
import csv
import gzip
import hashlib
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtune.data.problems import Problems, described, refuse, shortened
from xtune.data.types import Origin, Record

KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
}
"""File name ending to the reader's name; all but parquet may be gzipped (`.jsonl.gz`)."""

ENDINGS = ", ".join(KINDS) + " (or .gz of these)"

_FOREIGN_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_FOREIGN_ENCODINGS = ("shift_jis", "euc_kr", "gb18030", "cp1251", "cp1252")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file that was read: its rows, and the fingerprint of the very bytes they came from."""

    records: list[Record]
    sha256: str
    bytes: int


def kind_of(path: Path) -> str | None:
    """Name of the reader for a path, by its ending; None where there is none."""
    name = path.name.lower()
    if name.endswith(".gz"):
        name = name[: -len(".gz")]
        return None if name.endswith(".parquet") else KINDS.get(Path(name).suffix)
    return KINDS.get(Path(name).suffix)


def read_file(path: Path, name: str, kind: str, problems: Problems) -> Content:
    """Read one file; a malformed row goes to `problems`, a file that cannot be read at all is refused.

    Raises:
        DataError: The file cannot be opened, is empty, truncated, or not in UTF-8.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        refuse(f"The file cannot be read: {error.strerror or error}", where=name)
    if not raw:
        refuse("The file is empty", where=name)
    data = _unzipped(raw, name) if path.name.lower().endswith(".gz") else raw
    before = problems.count
    records = list(_READERS[kind](data, name, problems))
    if not records and problems.count == before:
        refuse("The file holds no rows", where=name)
    return Content(records=records, sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw))


def _unzipped(raw: bytes, name: str) -> bytes:
    try:
        data = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        refuse(
            f"The gzip file is damaged or cut off: {error}", where=name, advice="fetch it again."
        )
    if not data:
        refuse("The file is empty", where=name)
    return data


def _text(data: bytes, name: str) -> str:
    """Decode UTF-8, with or without a byte order mark; other encodings are named and refused."""
    advice = "save the file as UTF-8."
    for mark, encoding in _FOREIGN_MARKS:
        if data.startswith(mark):
            refuse(
                f"The file is in {encoding}",
                where=f"{name}, byte 0",
                allowed="it must be UTF-8",
                advice=advice,
            )
    if b"\0" in data:
        at = data.index(b"\0")
        refuse(
            "The file holds a NUL byte: it is binary, or UTF-16 without a byte order mark",
            where=f"{name}:{_line(data, at)}, byte {at}",
            allowed="it must be UTF-8",
            advice=advice,
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fits = [encoding for encoding in _FOREIGN_ENCODINGS if _decodes(data, encoding)]
        guess = f" (it can be read as {', '.join(fits)})" if fits else ""
        # utf-8-sig reports offsets behind the mark
        at = error.start + (3 if data.startswith(codecs.BOM_UTF8) else 0)
        refuse(
            f"Byte 0x{data[at]:02x} is not UTF-8{guess}",
            where=f"{name}:{_line(data, at)}, byte {at}",
            allowed="the file must be UTF-8",
            advice=advice,
        )


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _jsonl(data: bytes, name: str, problems: Problems) -> Iterator[Record]:
    # Lines end at \n alone: U+2028 and the like are text.
    row = 0
    text = _text(data, name)
    _refuse_spread_json(text, name)
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            continue
        origin = Origin(source=name, row=row, line=number)
        row += 1
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add(
                f"The line is not JSON: {_json_fault(line, error)}",
                where=str(origin),
            )
            continue
        record = _record(value, line, origin, problems)
        if record is not None:
            yield record


def _json_fault(text: str, error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        near = shortened(text[max(0, error.pos - 15) : error.pos + 25], 40)
        place = (
            f"line {error.lineno}, column {error.colno}"
            if error.lineno > 1
            else f"column {error.colno}"
        )
        return f"{error.msg} at {place}, near {near!r}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _refuse_spread_json(text: str, name: str) -> None:
    """End here if a file named as JSON Lines is one JSON value over many lines."""
    if text.split("\n", maxsplit=1)[0].strip() not in {"[", "{", "[{"}:
        return
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return  # broken in another way, which its lines tell
    refuse(
        "The file is one JSON value over several lines",
        where=name,
        allowed="a .jsonl file has one value per line",
        advice="name it .json.",
    )


def _record(value: Any, text: str, origin: Origin, problems: Problems) -> Record | None:
    if not isinstance(value, (dict, list, str)):
        problems.add(
            f"The row is {described(value)}",
            where=str(origin),
            allowed="a row is an object, a list or a text",
        )
        return None
    if _SURROGATE_ESCAPE.search(text) and not _encodable(value):
        problems.add(
            r"The row holds half a surrogate pair (an escape \ud800 to \udfff alone)",
            where=str(origin),
            allowed="such text has no UTF-8 form",
        )
        return None
    return Record(value=value, origin=origin)


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _json(data: bytes, name: str, problems: Problems) -> Iterator[Record]:
    text = _text(data, name)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        several = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
        advice = (
            "several JSON values, one per line, are JSON Lines: name the file .jsonl."
            if several
            else ""
        )
        refuse(f"The file is not JSON: {_json_fault(text, error)}", where=name, advice=advice)
    escapes = text if _SURROGATE_ESCAPE.search(text) else ""
    for row, item in enumerate(_rows_of(value, name)):
        record = _record(item, escapes, Origin(source=name, row=row), problems)
        if record is not None:
            yield record


def _rows_of(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return value
    allowed = "a list of rows, or an object with one list of rows, is expected"
    if not isinstance(value, dict):
        refuse(f"The file is {described(value)}", where=name, allowed=allowed)
    lists = [key for key, item in value.items() if isinstance(item, list)]
    if len(lists) != 1:
        found = f"{len(lists)} lists" if lists else "no list"
        refuse(
            f"The file is {described(value)}, with {found} among them", where=name, allowed=allowed
        )
    rows: list[Any] = value[lists[0]]
    return rows


def _separated(delimiter: str) -> Callable[[bytes, str, Problems], Iterator[Record]]:
    def read(data: bytes, name: str, problems: Problems) -> Iterator[Record]:
        text = _text(data, name)
        csv.field_size_limit(sys.maxsize)  # csv's own limit of 128 KiB is below an ordinary article
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        row, line = 0, 1
        try:
            for cells in reader:
                if header is None:
                    header = _header(cells, name)
                elif cells:
                    origin = Origin(source=name, row=row, line=line)
                    row += 1
                    if len(cells) == len(header):
                        yield Record(value=dict(zip(header, cells, strict=True)), origin=origin)
                    else:
                        problems.add(
                            f"The row has {len(cells)} fields",
                            where=str(origin),
                            allowed=f"the header has {len(header)}",
                        )
                line = reader.line_num + 1
        except csv.Error as error:
            problems.add(
                f"The row is not well-formed: {error}",
                where=f"{name}:{line}",
                advice="check its quotes.",
            )

    return read


def _header(cells: list[str], name: str) -> list[str]:
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice or not all(cells):
        fault = f"names {twice[0]!r} twice" if twice else "has a column without a name"
        refuse(
            f"The header {fault}", where=f"{name}:1", allowed="every column needs a name of its own"
        )
    return cells


def _parquet(data: bytes, name: str, problems: Problems) -> Iterator[Record]:
    import pyarrow as pa  # noqa: PLC0415 - only parquet files need it: 0.2 s
    from pyarrow import parquet  # noqa: PLC0415

    try:
        rows = parquet.read_table(pa.BufferReader(data)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        fault = shortened(str(error).splitlines()[0], 160)
        refuse(
            f"The parquet file is damaged or cut off: {fault}", where=name, advice="fetch it again."
        )
    for row, value in enumerate(rows):
        record = _record(_without_nulls(value), "", Origin(source=name, row=row), problems)
        if record is not None:
            yield record


def _without_nulls(value: Any) -> Any:
    """The value without object keys that are null: parquet writes null for a key that only other rows have."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _plain(data: bytes, name: str, problems: Problems) -> Iterator[Record]:
    del problems  # a text has no rows that could be malformed
    text = _text(data, name)
    if text.strip():
        yield Record(value=text, origin=Origin(source=name, row=0))


_READERS: dict[str, Callable[[bytes, str, Problems], Iterator[Record]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "parquet": _parquet,
    "text": _plain,
}
