"""Opens a file, compressed or not, as bytes or as text, in pieces of bounded size; it knows no kind of file.

Text is given exactly as the file holds it. In particular it is not normalised to NFC: training text
should be what the author wrote, and a tokenizer that wants a normal form applies it itself.
"""

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from xtune.data.magic import LOOKED_AT, SAVE_AS_UTF8, check_kind, check_packing
from xtune.data.problems import refuse, shortened
from xtune.data.starts import SkippedLines
from xtune.data.sums import RunningSum, SummedFile

COMPRESSED = (".gz", ".zst")
"""Endings that stand behind another one: `rows.jsonl.gz`."""

PIECE_BYTES = 1 << 20
"""Bytes read at a time: large enough that Python's share of the work is small, small enough for any memory."""

_LONGEST_MARK = 4
"""Bytes of the longest byte order mark, UTF-32's; the first piece has as many if the file does."""

_FOREIGN_ENCODINGS = {"shift_jis": "Shift JIS", "euc_jp": "EUC-JP", "euc_kr": "EUC-KR", "gb18030": "GB 18030", "cp1251": "Windows-1251", "cp1252": "Latin-1 (Windows-1252)"}  # fmt: skip
"""Python's name of an encoding that text is often found in, and its own."""


def byte_pieces(path: Path, name: str, into: RunningSum | None = None) -> Iterator[bytes]:
    """The bytes of a file, decompressed, in pieces of at most `PIECE_BYTES`.

    Args:
        path: The file.
        name: The file, for messages.
        into: Takes up the file's bytes as they are on disk.

    Raises:
        DataError: The file cannot be opened, is damaged or cut off, or not what it was.
    """
    try:
        with _opened(path, name, into) as stream:
            piece = stream.read(PIECE_BYTES)
            while 0 < len(piece) < _LONGEST_MARK and (more := stream.read(PIECE_BYTES)):
                piece += more
            while piece:
                yield piece
                piece = stream.read(PIECE_BYTES)
    except (EOFError, zlib.error, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        _refuse_damaged(path, name, error)
    except OSError as error:
        if error.errno is None:  # it comes from a decompressor, not from the disk
            _refuse_damaged(path, name, error)
        refuse(f"The file cannot be read: {error.strerror or error}", where=name)


def _refuse_damaged(path: Path, name: str, error: Exception) -> NoReturn:
    packer = {".gz": "gzip", ".zst": "zst"}.get(path.suffix.lower(), "")
    fault = shortened(str(error).split("\n", maxsplit=1)[0], 160)
    refuse(
        f"The {packer} file is damaged or cut off: {fault}", where=name, advice="fetch it again."
    )


def _opened(
    path: Path, name: str, into: RunningSum | None
) -> "contextlib.AbstractContextManager[IO[bytes] | Any]":
    ending = path.suffix.lower()
    raw: Any = path.open("rb", buffering=0)
    file = raw if into is None else SummedFile(raw, into)
    buffered = io.BufferedReader(file, max(PIECE_BYTES, LOOKED_AT))
    try:
        check_packing(buffered.peek(LOOKED_AT)[:LOOKED_AT], path, name)
    except BaseException:
        buffered.close()
        raise
    if ending == ".gz":
        return _Unpacked(buffered)
    if ending == ".zst":
        import pyarrow as pa  # noqa: PLC0415 - 0.2 s, and only zst needs it

        return contextlib.closing(pa.CompressedInputStream(pa.PythonFile(buffered, "r"), "zstd"))
    return buffered


class _Unpacked(gzip.GzipFile):
    """A gzip file that closes what it reads from."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._file = file

    def close(self) -> None:
        """Close both."""
        super().close()
        self._file.close()


def text_pieces(
    path: Path, name: str, into: RunningSum | None = None, *, skipped: SkippedLines | None = None
) -> Iterator[str]:
    """The text of a file in UTF-8, with or without a byte order mark, in pieces; none of them is empty.

    Args:
        path: The file.
        name: The file, for messages.
        into: Takes up the file's bytes as they are on disk.
        skipped: Lines at its beginning that are not given.

    Raises:
        DataError: The file cannot be read, is empty, or is not in UTF-8; another encoding is named.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = lines = 0
    for piece in byte_pieces(path, name, into):
        data = piece if offset else _without_mark(piece, name)
        if skipped is not None and skipped.rows:
            data = data[skipped.take(data) :]
            lines = skipped.lines
        offset += len(piece) - len(data)
        if b"\0" in data:
            at = data.index(b"\0")
            refuse(
                "The file holds a NUL byte: it is binary, or damaged",
                where=_place(name, lines, data[:at], offset + at),
                allowed="text holds none",
                advice="fetch it again, or leave it out.",
            )
        try:
            text = decoder.decode(data)
        except UnicodeDecodeError as error:
            _refuse_encoding(name, lines, offset + len(data) - len(error.object), error)
        offset += len(data)
        lines += data.count(b"\n")
        if text:
            yield text
    if not offset:
        refuse("The file is empty", where=name)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        _refuse_encoding(name, lines, offset - len(error.object), error)


def _without_mark(data: bytes, name: str) -> bytes:
    check_kind(data[:LOOKED_AT], name)
    return data.removeprefix(codecs.BOM_UTF8)


def _refuse_encoding(name: str, lines: int, offset: int, error: UnicodeDecodeError) -> NoReturn:
    """End here, naming the byte; `lines` and `offset` are those before the bytes that were decoded."""
    data, at = error.object, error.start
    # a piece may begin inside of a character, a line does not
    beginning = data.rfind(b"\n", 0, at) + 1
    fits = [own for encoding, own in _FOREIGN_ENCODINGS.items() if _decodes(data[beginning:], encoding)]  # fmt: skip
    guess = f" (it can be read as {', '.join(fits)})" if fits else ""
    refuse(
        f"Byte 0x{data[at]:02x} is not UTF-8{guess}",
        where=_place(name, lines, data[:at], offset + at),
        allowed="the file must be UTF-8",
        advice=SAVE_AS_UTF8,
    )


def _place(name: str, lines: int, before: bytes, byte: int) -> str:
    return f"{name}:{lines + before.count(10) + 1}, byte {byte}"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return True
