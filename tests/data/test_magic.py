"""Files that are not what their names say, and encodings: known by name, whatever reader the name asks for."""

import codecs
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from xtune.data.problems import Problems
from xtune.data.rows import RowReader
from xtune.data.sources import find_files
from xtune.errors import DataError

TEXT = "".join(json.dumps({"prompt": f"q{n}", "completion": "a"}) + "\n" for n in range(9))
JAPANESE = '{"prompt": "質問に答えてください", "completion": "はい"}\n'
SPANISH = '{"prompt": "¿Qué es esto?", "completion": "Así está"}\n'


def zst(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


def parquet() -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"text": ["a"]}), stream)
    return stream.getvalue()


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.jsonl", TEXT)
    return stream.getvalue()


def rows_of(path: Path) -> int:
    (file,) = find_files([str(path)])
    problems = Problems()
    rows = sum(1 for _ in RowReader(file, problems))
    problems.raise_any()
    return rows


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", gzip.compress(TEXT.encode(), mtime=0), r"is packed with gzip .* Name it a\.jsonl\.gz"),
        ("a.jsonl", zst(TEXT.encode()), r"is packed with zst .* Name it a\.jsonl\.zst"),
        ("a.jsonl.zst", gzip.compress(TEXT.encode(), mtime=0), r"is packed with gzip .* Name it a\.jsonl\.gz"),
        ("a.jsonl.gz", TEXT.encode(), r"not packed with gzip .* Leave the \.gz out of its name"),
        ("a.csv.zst", TEXT.encode(), r"not packed with zst"),
        ("a.jsonl", archive(), "is a zip archive"),
        ("a.jsonl", lzma.compress(TEXT.encode()), "is packed with xz"),
        ("a.jsonl", parquet(), r"is a parquet file .* Name it \.parquet"),
        ("a.arrow", parquet(), r"is a parquet file .* Name it \.parquet"),
        ("a.parquet", gzip.compress(TEXT.encode(), mtime=0), "is packed with gzip"),
        ("a.parquet", b"PK\x03\x04" + bytes(99), "is a zip archive"),
        ("a.jsonl", POINTER, r"pointer of Git LFS .* git lfs pull"),
        ("a.parquet", POINTER, "pointer of Git LFS"),
        ("a.jsonl", b"<!DOCTYPE html><html>404</html>", "is a web page"),
        ("a.parquet", b"\n<HTML><body>404</body></HTML>", "is a web page"),
        ("a.jsonl", TEXT.replace("\n", "\r").encode(), "end in a carriage return alone"),
        ("a.csv", b"prompt\tcompletion\nq\ta\n", r"header is one column, 'prompt.*completion'"),
        ("a.jsonl", TEXT.encode()[:30] + b"\0" + TEXT.encode()[30:], r"NUL byte: it is binary, or damaged \(.*:1, byte 30\)"),
        ("a.jsonl", JAPANESE.encode("shift_jis"), r"can be read as Shift JIS"),
        ("a.jsonl", JAPANESE.encode("euc_jp"), r"can be read as EUC-JP"),
        ("a.jsonl", JAPANESE.encode("gb18030"), r"can be read as .*GB 18030"),
        ("a.jsonl", SPANISH.encode("latin1"), r"can be read as .*Latin-1 \(Windows-1252\)"),
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.jsonl", b"\n \n", "holds no rows"),
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_is_named(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        rows_of(path)
    assert name in str(caught.value)


@pytest.mark.parametrize("text", [TEXT, JAPANESE], ids=["ascii", "japanese"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("marked", [False, True])
def test_wide_encodings_are_named_with_a_mark_and_without(
    encoding: str, marked: bool, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    mark = getattr(codecs, f"BOM_{encoding.replace('-', '', 1).replace('-', '_').upper()}")
    path.write_bytes((mark if marked else b"") + text.encode(encoding))
    named = encoding[:6].upper() + ("" if marked else " without a byte order mark")
    with pytest.raises(DataError, match=rf"The file is in {named} \("):
        rows_of(path)


@pytest.mark.parametrize(
    ("name", "data", "rows"),
    [
        ("a.jsonl.gz", gzip.compress(TEXT.encode(), mtime=0) * 2, 18),
        ("a.jsonl.zst", zst(TEXT.encode()) * 3, 27),
        ("a.jsonl", b"\xef\xbb\xbf" + TEXT.encode(), 9),
        ("a.jsonl", TEXT.replace("\n", "\r\n", 4).encode(), 9),
    ],
    ids=["two members", "three frames", "mark", "mixed line ends"],
)
def test_what_is_only_unusual_is_read(name: str, data: bytes, rows: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert rows_of(path) == rows


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_packed_file_that_is_cut_off_is_damaged(ending: str, tmp_path: Path) -> None:
    data = TEXT.encode() * 50
    packed = gzip.compress(data, mtime=0) if ending == ".gz" else zst(data)
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        rows_of(path)


def test_one_broken_byte_far_into_a_file_is_named_by_line_and_byte(tmp_path: Path) -> None:
    line = JAPANESE.encode()
    path = tmp_path / "a.jsonl"
    broken = len(line) * 70_000 + 15
    with path.open("wb") as file:
        file.write(line * 70_000)
        file.write(line[:15] + b"\xff" + line[16:])
        file.write(line * 100)
    with pytest.raises(DataError, match=rf"Byte 0xff is not UTF-8.*:70001, byte {broken}\)"):
        rows_of(path)
