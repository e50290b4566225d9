"""Reading from a later row on gives what reading everything gives behind it, whatever the file; and tells a changed file."""

import gzip
import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.data import rows as rows_module
from xtune.data import streams as streams_module
from xtune.data.formats import Row
from xtune.data.json_rows import read_json_lines
from xtune.data.problems import Problems
from xtune.data.rows import Mark, RowReader
from xtune.data.sources import find_files
from xtune.data.starts import Start
from xtune.errors import DataError

PIECES = [1 << 20, 64, 5]
"""Bytes read at a time: all of a small file at once, some lines, and parts of one character."""

values = st.text(st.sampled_from('ab"\\{}[]\n\r\t\u2028\u2029\x85\xa0\u3000é三😀 '), max_size=12)
rows_of_text = st.one_of(
    st.builds(lambda text: {"text": "x" + text}, values),
    st.builds(lambda text: "y" + text, values),
)
blanks = st.sampled_from(["", " ", "\r", "\t \r", "\u2028", "\x85", "\u3000 ", "\x1c", "\x0b\x0c", "\r\r"])  # fmt: skip


@st.composite
def json_lines(draw: Any) -> bytes:
    r"""A file of rows and blank lines, with \n or \r\n, with or without a mark and a last line end."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 12))):
        row = draw(st.one_of(rows_of_text, blanks))
        if isinstance(row, str) and not row.startswith("y"):
            lines.append(row)
        else:
            lines.append(json.dumps(row, ensure_ascii=draw(st.booleans())))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    last = draw(st.sampled_from(["", end]))
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + (end.join(lines) + last).encode()


@settings(max_examples=300, deadline=None)
@given(data=json_lines(), ending=st.sampled_from(["", ".gz", ".zst"]), size=st.sampled_from(PIECES))
def test_skipped_lines_are_those_that_parsing_counts(data: bytes, ending: str, size: int, tmp_path_factory: pytest.TempPathFactory) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("a") / f"a.jsonl{ending}"
    packed = {"": lambda: data, ".gz": lambda: gzip.compress(data), ".zst": lambda: pa.compress(data, codec="zstd", asbytes=True)}[ending]()  # fmt: skip
    path.write_bytes(packed)
    # by hand: a line is what \n ends, and a row is a line that is not blank
    lines = data.decode("utf-8-sig").split("\n")
    expected = [(number, json.loads(line)) for number, line in enumerate(lines, 1) if line.strip()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams_module, "PIECE_BYTES", size)
        for row in range(len(expected) + 1):
            problems = Problems()
            if not data.removeprefix(b"\xef\xbb\xbf"):
                continue
            read = list(read_json_lines(path, "a", problems, Start(row=row)))
            assert problems.count == 0
            assert [(one.origin.line, one.value) for one in read] == expected[row:]
            assert [one.origin.row for one in read] == list(range(row, len(expected)))
        if expected:
            with pytest.raises(DataError, match=rf"has {len(expected)} rows, and {len(expected) + 1} of it"):  # fmt: skip
                list(read_json_lines(path, "a", Problems(), Start(row=len(expected) + 1)))


CHATS = [{"prompt": f"q{n}\r\n", "completion": f"a\u2028{n}"} for n in range(23)]
MIXED = [{"text": f"t{n}"} if n % 3 else CHATS[n] for n in range(23)]
TREES = [
    {"message_id": str(n), "parent_id": str(n - 1) if n % 2 else None, "role": "assistant" if n % 2 else "prompter", "text": f"t{n}"}
    for n in range(22)
]  # fmt: skip


def table_file(path: Path, kind: str) -> Path:
    table = pa.Table.from_pylist(CHATS)
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=4)
    else:
        with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=4)
    return path


def written(folder: Path, kind: str) -> Path:
    if kind in {"parquet", "file", "stream"}:
        return table_file(folder / ("a.parquet" if kind == "parquet" else "a.arrow"), kind)
    if kind == "csv":
        path = folder / "a.csv"
        path.write_text("text,n\n" + "".join(f'"a\nb{n}",{n}\n' for n in range(23)))
        return path
    if kind == "txt":
        path = folder / "a.txt"
        path.write_text("one\n\ntwo\n\n" * 4)
        return path
    name, rows = {"list": ("a.json", CHATS), "inner": ("a.json", CHATS), "lines": ("a.json", CHATS), "chats": ("a.jsonl", CHATS),
                  "mixed": ("a.jsonl", MIXED), "trees": ("a.jsonl", TREES), "trees behind": ("a.jsonl", [*CHATS, *TREES]),
                  "packed": ("a.jsonl.gz", CHATS)}[kind]  # fmt: skip
    text = "\r\n\r\n".join(json.dumps(row) for row in rows)
    text = {"list": json.dumps(rows, indent=1), "inner": json.dumps({"x": 1, "rows": rows})}.get(kind, text)  # fmt: skip
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def reader(path: Path, problems: Problems) -> RowReader:
    (file,) = find_files([str(path)])
    return RowReader(file, problems)


def marked(found: RowReader) -> Iterator[tuple[Row, Mark]]:
    """Each row, with the mark behind it."""
    for row in found.resume(Mark()):
        yield row, Mark(*json.loads(json.dumps(found.mark())))


KINDS = ["chats", "mixed", "trees", "trees behind", "packed", "list", "inner", "lines", "csv", "txt", "parquet", "file", "stream"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [3, 1000])
def test_reading_on_from_a_mark_gives_the_rows_behind_it(
    kind: str, head: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "HEAD", head)
    monkeypatch.setattr("xtune.data.files.LONGEST_TEXT", 11)
    problems = Problems()
    path = written(tmp_path, kind)
    whole = list(reader(path, problems))
    read = list(marked(reader(path, problems)))
    assert [row for row, _ in read] == whole
    assert len(whole) == {"txt": 4, "trees": 11, "trees behind": 34}.get(kind, 23)
    for count, (_, mark) in enumerate(read, 1):
        resumed = reader(path, problems)
        assert list(resumed.resume(mark)) == whole[count:]
    assert problems.count == 0


def test_skipped_rows_are_not_parsed(tmp_path: Path) -> None:
    """Rows that would be faults if they were looked at, behind those that tell the format."""
    path = tmp_path / "a.jsonl"
    good = json.dumps(CHATS[0]) + "\n"
    path.write_text(good * 1000 + "no row\n" * 5 + good + "no row either\n")
    problems = Problems()
    read = list(reader(path, problems).resume(Mark(row=1005)))
    assert [row.origin.line for row in read] == [1006]
    with pytest.raises(DataError, match=r"a\.jsonl:1007"):
        problems.raise_any()


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_a_byte_changed_before_a_mark_is_told_before_the_next_row(
    ending: str, tmp_path: Path
) -> None:
    chance = random.Random(ending)
    lines = [json.dumps({"prompt": f"q{n}", "completion": chance.randbytes(40).hex()}) + "\n" for n in range(4000)]  # fmt: skip
    data = "".join(lines).encode()
    pack: Any = {"": bytes, ".gz": gzip.compress, ".zst": lambda some: pa.compress(some, codec="zstd", asbytes=True)}[ending]  # fmt: skip
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(pack(data))
    found = reader(path, Problems())
    rows = found.resume(Mark())
    list(islice(rows, 3000))
    mark = found.mark()
    expected = next(rows)
    assert next(reader(path, Problems()).resume(mark)) == expected
    changed = data.replace(lines[1500].encode(), lines[1500].replace("q1500", "q1501").encode())
    assert len(changed) == len(data)
    path.write_bytes(pack(changed))
    with pytest.raises(DataError, match=r"changed since they were read|were read"):
        next(reader(path, Problems()).resume(mark))
    path.write_bytes(pack(data[: len(data) // 2]))
    with pytest.raises(DataError, match=r"changed since they were read|were read"):
        next(reader(path, Problems()).resume(mark))
