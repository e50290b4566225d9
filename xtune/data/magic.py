"""Knows by its first bytes a file that is not what its name says, and text in UTF-16 or UTF-32; it opens nothing."""

import codecs
from pathlib import Path

from xtune.data.problems import refuse

LOOKED_AT = 64
"""Bytes that are enough to know any of them."""

_AS_NAMED = "a file is what its name says"
_PACKED = ((b"\x1f\x8b", "gzip", ".gz"), (b"\x28\xb5\x2f\xfd", "zst", ".zst"))
_SKIPPABLE = b"\x2a\x4d\x18"
"""Behind 0x50 to 0x5f, a frame that programs put before the first one (RFC 8878, section 3.1.2)."""

_UNPACKED = "unpack it, and name what is in it."
_FETCH = "fetch the file itself; what was fetched is something else."
_OTHERS = (
    (b"PK\x03\x04", "a zip archive", _UNPACKED),
    (b"BZh", "packed with bzip2", _UNPACKED),
    (b"\xfd7zXZ\x00", "packed with xz", _UNPACKED),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACKED),
    (b"%PDF-", "a PDF document", "save its text."),
    (b"\xd0\xcf\x11\xe0", "a document of an old Office", "save its text or table as .txt or .csv."),
    (b"PAR1", "a parquet file", "name it .parquet."),
    (b"ARROW1", "an Arrow file", "name it .arrow."),
    (b"SQLite format 3\x00", "a SQLite database", "export its rows as .jsonl or .csv."),
    (b"version https://git-lfs.github.com/", "a pointer of Git LFS instead of the file", "fetch the file itself: git lfs pull."),
)  # fmt: skip
_WEB = (b"<!doctype html", b"<html")
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_OWN = {"parquet": "a parquet file", "arrow": "an Arrow file"}
SAVE_AS_UTF8 = "save the file as UTF-8."


def check_packing(beginning: bytes, path: Path, name: str) -> None:
    """Refuse a file that is named as packed and is not, or not in that way, or the other way round.

    Raises:
        DataError: It is such a file.
    """
    ending = path.suffix.lower()
    packing = next((one for one in _PACKED if beginning.startswith(one[0])), None)
    if beginning[1:4] == _SKIPPABLE and 0x50 <= beginning[0] <= 0x5F:
        packing = _PACKED[1]
    named = next((one for one in _PACKED if one[2] == ending), None)
    if not beginning or packing == named:
        return
    if packing is not None:
        stem = name[: -len(ending)] if named is not None else name
        advice = f"name it {Path(stem).name}{packing[2]}."
        refuse(f"The file is packed with {packing[1]}", where=name, allowed=_AS_NAMED, advice=advice)  # fmt: skip
    if named is not None:
        refuse(
            f"The file is not packed with {named[1]}",
            where=name,
            allowed=_AS_NAMED,
            advice=f"leave the {ending} out of its name, or fetch it again.",
        )


def check_kind(beginning: bytes, name: str, kind: str = "text") -> None:
    """Refuse a file of a known other kind, and text in UTF-16 or UTF-32.

    Args:
        beginning: Its first bytes, unpacked.
        name: The file, for messages.
        kind: parquet or arrow; anything else is text.

    Raises:
        DataError: It is such a file.
    """
    for mark, what, advice in _OTHERS:
        if beginning.startswith(mark) and what != _OWN.get(kind):
            refuse(f"The file is {what}", where=name, allowed=_AS_NAMED, advice=advice)
    if kind in _OWN:
        return
    encoding = next((found for mark, found in _MARKS if beginning.startswith(mark)), None)
    if encoding is None and (guess := _wide(beginning)):
        encoding = f"{guess} without a byte order mark"
    if encoding is not None:
        refuse(
            f"The file is in {encoding}",
            where=f"{name}, byte 0",
            allowed="it must be UTF-8",
            advice=SAVE_AS_UTF8,
        )


def check_page(beginning: bytes, name: str) -> None:
    """Refuse a web page in the place of rows: servers answer with one where a file cannot be had.

    Raises:
        DataError: It is one.
    """
    if beginning.lstrip().lower().startswith(_WEB):
        refuse("The file is a web page", where=name, allowed=_AS_NAMED, advice=_FETCH)


def _wide(beginning: bytes) -> str:
    """The encoding of a text whose first two letters are ASCII, by where their NUL bytes are; else nothing."""
    zeros = [byte == 0 for byte in beginning[:8]]
    patterns = {
        "UTF-32": ([False, True, True, True] * 2, [True, True, True, False] * 2),
        "UTF-16": ([False, True] * 2, [True, False] * 2),
    }
    for encoding, wanted in patterns.items():
        if any(zeros[: len(one)] == one for one in wanted):
            return encoding
    return ""
