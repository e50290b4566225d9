"""Reading files: every kind, every way to name them, and every way in which they are broken."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from file_rows import read_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xtune.data.files import read_records
from xtune.data.problems import Problems
from xtune.data.rows import fingerprint
from xtune.data.sources import find_files
from xtune.data.types import Record
from xtune.errors import DataError

ROWS = [{"text": "one"}, {"text": "zwei é"}, {"text": "三"}]


def records(*sources: str) -> list[Record]:
    """The rows as the files hold them, whatever their format."""
    problems = Problems()
    read = [
        record
        for file in find_files(sources)
        for record in read_records(file.path, file.name, file.kind, problems)
    ]
    problems.raise_any()
    return read


def write_jsonl(path: Path) -> None:
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8"
    )


def write_table(path: Path, delimiter: str = "") -> None:
    header = f"text{delimiter}" if delimiter else "text"
    path.write_text(
        header + "\n" + "".join(row["text"] + delimiter + "\n" for row in ROWS), encoding="utf-8"
    )


def write_arrow(path: Path, writer: Callable[..., Any]) -> None:
    rows = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as sink, writer(sink, rows.schema) as stream:
        stream.write_table(rows, max_chunksize=2)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.jsonl": write_jsonl,
    "a.ndjson": write_jsonl,
    "a.json": lambda path: path.write_text(json.dumps(ROWS), encoding="utf-8"),
    "b.json": lambda path: path.write_text(
        json.dumps({"version": 1, "data": ROWS}), encoding="utf-8"
    ),
    "a.csv": write_table,
    "a.tsv": write_table,
    "a.parquet": lambda path: pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), path),
    "a.jsonl.gz": lambda path: path.write_bytes(
        gzip.compress("\n".join(map(json.dumps, ROWS)).encode())
    ),
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress("text\none\nzwei é\n三\n".encode())),
    "bom.jsonl": lambda path: path.write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, ROWS)).encode()
    ),
    "bom.csv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + "text\none\nzwei é\n三".encode()),
    "UPPER.JSONL": write_jsonl,
    "lines.json": write_jsonl,
    "a.jsonl.zst": lambda path: path.write_bytes(
        pa.compress("\n".join(map(json.dumps, ROWS)).encode(), codec="zstd", asbytes=True)
    ),
    "a.json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    "file.arrow": lambda path: write_arrow(path, pa.ipc.new_file),
    "stream.arrow": lambda path: write_arrow(path, pa.ipc.new_stream),
    "a.feather": lambda path: write_arrow(path, pa.ipc.new_file),
    "mac.csv": lambda path: path.write_bytes("text\rone\rzwei é\r三\r".encode()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    read = records(str(path))
    assert [record.value for record in read] == ROWS
    assert [record.origin.row for record in read] == [0, 1, 2]
    data = path.read_bytes()
    assert fingerprint(path) == (hashlib.sha256(data).hexdigest(), len(data))


def test_a_table_with_semicolons_is_read_as_one_with_commas(tmp_path: Path) -> None:
    """As spreadsheets write it where the comma is the decimal sign, with a byte order mark."""
    (tmp_path / "a.csv").write_bytes(
        b'\xef\xbb\xbf"frage";antwort\r\n"Wie viel; etwa?";"1,5"\r\n'
        b'"zwei\r\nZeilen";"er sagte ""ja"""\r\n'
    )
    assert [record.value for record in records(str(tmp_path / "a.csv"))] == [
        {"frage": "Wie viel; etwa?", "antwort": "1,5"},
        {"frage": "zwei\r\nZeilen", "antwort": 'er sagte "ja"'},
    ]
    (tmp_path / "b.csv").write_text('"one, two";three\n1;2\n')
    with pytest.raises(DataError):
        records(str(tmp_path / "b.csv"))


def test_rows_know_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"a": 1}\n\n["b"]\n"c"\n')
    (tmp_path / "b.csv").write_text('x,y\n1,"two\nlines"\n\n3,4\n')
    lines = [
        str(record.origin) for record in records(str(tmp_path / "a.jsonl"), str(tmp_path / "b.csv"))
    ]
    assert lines == [
        f"{tmp_path}/{place}"
        for place in ("a.jsonl:2", "a.jsonl:4", "a.jsonl:5", "b.csv:2", "b.csv:5")
    ]


def test_keys_that_only_other_rows_of_a_parquet_file_have_are_absent_not_null(
    tmp_path: Path,
) -> None:
    rows = [{"a": [{"x": 1}]}, {"a": [{"y": {"z": 2}}], "b": 3}]
    schema = pa.schema(
        {
            "a": pa.list_(pa.struct({"x": pa.int64(), "y": pa.struct({"z": pa.int64()})})),
            "b": pa.int64(),
        }
    )
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "a.parquet")
    assert [record.value for record in records(str(tmp_path / "a.parquet"))] == rows


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz"])
def test_a_text_file_is_one_row_kept_as_it_is(name: str, tmp_path: Path) -> None:
    text = "Cafe\u0301\r\n\r\nzwei\u2028drei \n"
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    (record,) = records(str(tmp_path / name))
    assert record.value == text


def test_jsonl_is_cut_at_newlines_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"text": "a\u2028b\u0085c\\nd"}\r\n'.encode())
    (record,) = records(str(tmp_path / "a.jsonl"))
    assert record.value == {"text": "a\u2028b\u0085c\nd"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for name in (
        "b.jsonl",
        "a.jsonl",
        "deep/c.jsonl",
        ".hidden.jsonl",
        "notes.pdf",
        "README.md",
        "dataset_info.json",
    ):
        write_jsonl(tmp_path / "data" / name)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["data"], ["data/a.jsonl", "data/b.jsonl", "data/deep/c.jsonl"]),
        (["data/*.jsonl"], ["data/a.jsonl", "data/b.jsonl"]),
        (["data/**/*.jsonl"], ["data/a.jsonl", "data/b.jsonl", "data/deep/c.jsonl"]),
        (["data/b.jsonl", "data/a.jsonl"], ["data/b.jsonl", "data/a.jsonl"]),
        (["data/README.md"], ["data/README.md"]),
    ],
)
def test_folders_globs_and_lists(folder: Path, sources: list[str], names: list[str]) -> None:
    del folder
    assert [file.name for file in find_files(sources)] == names


def test_a_folder_may_end_like_a_file(folder: Path) -> None:
    (folder / "spark.jsonl").mkdir()
    with pytest.raises(DataError, match=r"`spark\.jsonl` is a folder without data files"):
        find_files(["spark.jsonl"])
    write_jsonl(folder / "spark.jsonl" / "part-0.jsonl")
    assert [file.name for file in find_files(["spark.jsonl"])] == ["spark.jsonl/part-0.jsonl"]


def test_bundled_rows_are_read_and_unknown_ones_listed() -> None:
    assert records("bundled:orders/test.jsonl")
    with pytest.raises(DataError, match=r"bundled:orders/train\.jsonl"):
        find_files(["bundled:orders/nothing.jsonl"])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("data/a.jsnl", "`data/a.jsnl` does not exist.*did you mean `data/a.jsonl`"),
        ("dota/a.jsonl", "did you mean `data`"),
        ("data/*.csv", "matches no file"),
        ("data/notes.pdf", "kind that is not read.*file names end in .jsonl"),
        ("https://example.com/a.jsonl", "addresses are not read"),
        ("x" * 5000, "cannot be opened"),
        ("a\0b", "cannot be opened|does not exist"),
    ],
)
def test_sources_that_name_nothing(folder: Path, source: str, words: str) -> None:
    del folder
    with pytest.raises(DataError, match=f"(?is){words}"):
        find_files([source])


def test_all_faulty_sources_are_told_together(folder: Path) -> None:
    del folder
    with pytest.raises(DataError) as caught:
        find_files(["one", "two", "data/a.jsonl"])
    assert len(caught.value.problems) == 2


PARQUET = pa.BufferOutputStream()
pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), PARQUET)


ZST = pa.compress(b'{"text": "a"}\n' * 9, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.jsonl", b"\n \n", "holds no rows"),
        ("a.csv", b"text\n", "holds no rows"),
        ("a.json", b"[]", "holds no rows"),
        ("a.txt", b" \n", "holds no rows"),
        ("a.json", b"7", "The file is the number 7"),
        ("a.json", b'"x"', "The file is the text 'x'"),
        ("a.json", b'{"a": [1], "b": [2]}', "with 2 lists among them"),
        ("a.json", b'{"a": {}}', "no list among them"),
        ("a.json", b"[1, null]", "row is the number 1.*row is nothing"),
        ("a.json", b'{"a": 1}\n{"a": 2', "a.json:2.*|line is not JSON"),
        ("a.json", b'[{"a": 1},', "is not JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply|not JSON"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a.jsonl:2.*|column 7"),
        ("a.jsonl", b'[\n{"a": 1}\n]', r"Name it \.json"),
        ("a.jsonl", b"12\n", "row is the number 12"),
        ("a.jsonl", b"9" * 5000, "row is the number|not JSON"),
        ("a.jsonl", rb'{"text": "\ud800"}', "half a surrogate pair"),
        ("a.json", rb'[{"text": ["\udfff"]}]', "half a surrogate pair"),
        ("a.jsonl", "é\n".encode("utf-16"), "is in UTF-16.*byte 0"),
        ("a.jsonl", "é\n".encode("utf-32"), "is in UTF-32"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16-le"), "is in UTF-16 without a byte order mark"),
        ("a.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n', r"0xe9 is not UTF-8 .*Windows-1252.*a.jsonl:2, byte 19"),
        ("a.jsonl", b"\xef\xbb\xbf{}\n\xff", r"0xff is not UTF-8.*a.jsonl:2, byte 6"),
        ("a.csv", b"a,b\n1\n", r"has 1 fields \(.*a.csv:2\); the header has 2"),
        ("a.csv", b"a,a\n1,2\n", "names 'a' twice"),
        ("a.csv", b'a,b\n1,"2\n3,4\n', "not well-formed"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "damaged or cut off"),
        ("a.jsonl.gz", b'{"a": 1}', "is not packed with gzip"),
        ("a.parquet", PARQUET.getvalue().to_pybytes()[:-20], "damaged or cut off"),
        ("a.jsonl.zst", ZST[:-2], "zst file is damaged or cut off"),
        ("a.jsonl.zst", ZST + b"rest", "zst file is damaged or cut off"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}', mtime=0) + b"rest", "gzip file is damaged or cut off"),
        ("a.json", b'[{"text": "a"}\n {"text": "b"}]', r"not JSON.*a.json:2.*must follow row 0"),
        ("a.json", b'[{"text": "a"},\n{"text": }]', "not JSON: Expecting value at line 2"),
        ("a.json", b'[{"text": "a"}', "not JSON: it is cut off"),
        ("a.json", b'[{"text": "a"}] []', "follows its list"),
        ("a.json", b'[{"text": "a"}, ]', "not JSON"),
        ("a.jsonl", b'{"text": ' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 100 levels"),
        ("a.arrow", b"ARROW1", "arrow file is damaged or cut off"),
        ("a.arrow", b"", "is empty"),
        ("a.parquet", b"PAR1", "damaged or cut off"),
        ("a.parquet", b'{"a": 1}', "damaged or cut off"),
    ],
)  # fmt: skip
def test_broken_files_are_told_in_words(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"(?s){words}") as caught:
        read_rows(find_files([str(tmp_path / name)]))
    assert name in str(caught.value)


def test_at_most_twenty_problems_are_told_and_the_others_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(f"{{{number}\n" for number in range(312)))
    with pytest.raises(DataError) as caught:
        records(str(tmp_path / "a.jsonl"))
    assert len(caught.value.problems) == 21
    assert "And 292 more" in str(caught.value)


def test_one_json_array_in_a_jsonl_file_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps([{"text": "a"}] * 50, indent=1))
    with pytest.raises(DataError, match=r"one JSON value over several lines.*Name it \.json"):
        records(str(tmp_path / "a.jsonl"))


def test_a_list_with_a_row_a_line_is_not_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '[{"prompt": "a", "completion": "b"},\n{"prompt": "c", "completion": "d"}]'
    )
    with pytest.raises(DataError, match=r"one JSON value over several lines.*Name it \.json"):
        read_rows(find_files([str(tmp_path / "a.jsonl")]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    name=st.sampled_from(sorted(WRITERS)),
    data=st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_no_bytes_make_reading_fail_in_another_way(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    read: list[Any] = []
    try:
        read = records(str(path))
    except DataError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right
        return
    assert all(isinstance(record.value, (dict, list, str)) for record in read)


def test_a_foreign_byte_far_into_a_file_is_told_by_its_place(tmp_path: Path) -> None:
    line = '{"text": "é三😀"}\n'.encode()
    data = b"\xef\xbb\xbf" + line * 150_000
    at = len(data) - 3
    (tmp_path / "a.jsonl").write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    with pytest.raises(DataError, match=rf"a\.jsonl:150000, byte {at}\)"):
        records(str(tmp_path / "a.jsonl"))
    (tmp_path / "b.txt").write_bytes(data[:at] + b"\0" + data[at + 1 :])
    with pytest.raises(DataError, match=rf"NUL byte.*b\.txt:150000, byte {at}\)"):
        records(str(tmp_path / "b.txt"))


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_a_fault_in_a_list_has_its_line_and_column_wherever_the_file_is_cut(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtune.data.streams.PIECE_BYTES", size)
    for text in ('[{"text": "a"}, {"text": "b"}, {"text": }]', '[{"text": "a"},\n\n {"text": "b"},  {"text": }]'):  # fmt: skip
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(json.JSONDecodeError) as expected:
            json.loads(text)
        place = f"column {expected.value.colno}, near"
        with pytest.raises(DataError, match=place) as caught:
            records(str(tmp_path / "a.json"))
        assert ("line 3" in str(caught.value)) == (expected.value.lineno == 3)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("name", WRITERS)
def test_where_a_file_is_cut_into_pieces_makes_no_difference(
    name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtune.data.streams.PIECE_BYTES", size)
    WRITERS[name](tmp_path / name)
    assert [record.value for record in records(str(tmp_path / name))] == ROWS


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rows=st.lists(st.recursive(st.text(max_size=9) | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6), min_size=1, max_size=5),
    size=st.integers(1, 9),
    indent=st.none() | st.integers(0, 2),
    ascii=st.booleans(),
)  # fmt: skip
def test_a_list_read_through_any_window_is_what_json_reads(
    rows: list[Any], size: int, indent: int | None, ascii: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("xtune.data.streams.PIECE_BYTES", size)
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii)
    (tmp_path / "a.json").write_text(text, encoding="utf-8", newline="")
    wanted = [row for row in json.loads(text) if isinstance(row, (dict, list, str))]
    problems = Problems()
    read = read_records(tmp_path / "a.json", "a.json", "json", problems)
    assert [record.value for record in read] == wanted
    assert problems.count == len(rows) - len(wanted)
