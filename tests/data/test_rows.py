"""Rows of one file: lazily, with the formats found, mixed files included; and what refuses a file as a whole."""

import json
import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from xtune.data.problems import Problems
from xtune.data.rows import HEAD, RowReader, fingerprint
from xtune.data.sources import find_files
from xtune.data.types import Conversation, Document
from xtune.errors import DataError
from xtune.recipe import Source

QA = {"prompt": "Q", "completion": "A"}
ALPACA = {"instruction": "Q", "output": "A"}
CHAT = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}


def write(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def reader(path: Path, problems: Problems | None = None, **choices: Any) -> RowReader:
    (file,) = find_files([Source(source=str(path), **choices)])
    return RowReader(file, problems or Problems())


def test_rows_of_other_known_formats_are_taken_as_those_and_counted(tmp_path: Path) -> None:
    rows = [QA, ALPACA, QA, CHAT, {"text": "T"}, "bare", [{"role": "user", "content": "Q"}], QA]
    problems = Problems()
    found = reader(write(tmp_path / "a.jsonl", rows), problems)
    read = list(found)
    assert found.formats == {"prompt_completion": 3, "alpaca": 1, "messages": 2, "text": 2}
    assert found.rows == len(read) == 8
    assert problems.count == 0
    assert [type(row) for row in read[:5]] == [Conversation] * 4 + [Document]


def test_a_row_that_fits_its_files_format_is_of_that_whatever_else_it_has(tmp_path: Path) -> None:
    rows = [{"text": "T"}, {"text": "T"}, {**ALPACA, "text": "whole"}]
    found = reader(write(tmp_path / "a.jsonl", rows))
    assert [row.text for row in found if isinstance(row, Document)] == ["T", "T", "whole"]


def test_a_row_that_fits_no_format_is_told_by_what_its_files_format_misses(tmp_path: Path) -> None:
    rows = [QA] * (HEAD + 5) + [{"prompt": "Q", "answer": "A"}, {"zzz": 1}, QA]
    problems = Problems()
    found = reader(write(tmp_path / "a.jsonl", rows), problems)
    assert len(list(found)) == HEAD + 6
    with pytest.raises(DataError) as caught:
        problems.raise_any()
    assert [problem.where.rpartition(":")[2] for problem in caught.value.problems] == ["1006", "1007"]  # fmt: skip
    assert "`completion` is missing among `prompt`, `answer`" in str(caught.value)


def test_a_preference_row_in_a_file_of_answers_is_a_problem_of_that_row(tmp_path: Path) -> None:
    problems = Problems()
    path = write(tmp_path / "a.jsonl", [QA, QA, {"prompt": "Q", "chosen": "A", "rejected": "B"}])
    assert len(list(reader(path, problems))) == 2
    with pytest.raises(DataError, match=r"preference pairs .*a\.jsonl:3"):
        problems.raise_any()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, r"preference pairs.*columns: \{prompt: \.\.\., completion: chosen\}"),
        ({"query": "Q", "response": "A", "rejected_response": "B"}, "preference pairs"),
        ({"prompt": "Q", "completion": "A", "label": False}, "KTO judgements"),
        ({"anchor": "a", "positive": "b", "negative": "c"}, "for an embedding model"),
        ({"sentence1": "a", "sentence2": "b", "score": 0.5}, "for an embedding model"),
        ({"text": "T", "label": 3}, "texts with a label.*pin `format: text`"),
        ({"question": "Q", "choices": ["a", "b"], "answer": 1}, "several answers to choose from"),
        ({"premise": "P", "choice1": "a", "choice2": "b", "label": 0}, "several answers to choose from"),
        ({"Question": "Q", "Answer": "A"}, r"columns: \{prompt: Question, completion: Answer\}"),
    ],
)  # fmt: skip
def test_files_of_other_kinds_are_refused_by_name(
    row: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        list(reader(write(tmp_path / "a.jsonl", [row, row])))
    assert "a.jsonl" in str(caught.value)


def test_a_mapping_says_what_the_rows_are(tmp_path: Path) -> None:
    both = {**ALPACA, "body": "B"}
    (row,) = reader(write(tmp_path / "a.jsonl", [both]), columns={"text": "body"})
    assert isinstance(row, Document)
    assert row.text == "B"
    pairs = {"query": "Q", "good": "A", "rejected_response": "B"}
    (row,) = reader(write(tmp_path / "b.jsonl", [pairs]), columns={"response": "good"})
    assert isinstance(row, Conversation)
    assert row.messages[-1].content == "A"


def test_a_mapped_question_does_not_choose_an_answer(tmp_path: Path) -> None:
    row = {"talk": CHAT["messages"][:1], "chosen": "A", "rejected": "B"}
    with pytest.raises(DataError, match="preference pairs"):
        list(reader(write(tmp_path / "a.jsonl", [row]), columns={"messages": "talk"}))


def test_a_column_of_tool_calls_is_an_answer(tmp_path: Path) -> None:
    row = {"query": "Q", "answers": '[{"name": "f", "arguments": {"x": 1}}]', "tools": '[{"name": "f"}]'}  # fmt: skip
    columns = {"query": "query", "tool_calls": "answers", "tools": "tools"}
    (read,) = reader(write(tmp_path / "a.jsonl", [row]), columns=columns)
    assert isinstance(read, Conversation)
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    assert read.messages[1].extra == {"tool_calls": [call]}
    assert read.tools == ({"name": "f"},)


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write((json.dumps(QA) + "\n").encode() * 60_000)
        file.write(b"\xff")  # what is not reached is not looked at
    found = reader(path)
    assert len(list(islice(found, 1500))) == 1500
    assert found.rows == 1500
    with pytest.raises(DataError, match="0xff is not UTF-8"):
        list(found)


def test_reading_again_begins_anew(tmp_path: Path) -> None:
    found = reader(write(tmp_path / "a.jsonl", [QA, ALPACA]))
    assert list(found) == list(found)
    assert found.rows == 2


def test_the_fingerprint_is_of_the_files_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert fingerprint(path) == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3)  # fmt: skip


READ = """
import resource, sys
import pyarrow
from xtune.data.problems import Problems
from xtune.data.rows import RowReader
from xtune.data.sources import find_files
(file,) = find_files([sys.argv[1]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(1 for _ in RowReader(file, Problems()))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
TEXT = "lorem ipsum dolor sit amet " * 40
LINE = json.dumps({"instruction": "Q", "output": TEXT})


@pytest.mark.parametrize(
    ("name", "beginning", "row", "end"),
    [
        ("a.jsonl.zst", "", LINE + "\n", ""),
        ("a.json", "[" + LINE, "," + LINE, "]"),
        ("a.csv", f"instruction,output\nQ,{TEXT}\n", f"Q,{TEXT}\n", ""),
    ],
)
def test_memory_does_not_grow_with_the_file(
    name: str, beginning: str, row: str, end: str, tmp_path: Path
) -> None:
    """A file of 66 MB (unpacked) in half of that; ru_maxrss counts kilobytes on Linux."""
    content = (beginning + row * 60_000 + end).encode()
    path = tmp_path / name
    if name.endswith(".zst"):
        content = pa.compress(content, codec="zstd", asbytes=True)
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    )
    rows, grown_kilobytes = map(int, done.stdout.split())
    assert rows == 60_000 + bool(beginning)
    assert grown_kilobytes < 35_000


def test_a_long_text_is_cut_at_blank_lines_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    text = ("é" * 98 + "\n\n") * 100_000
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    parts = [row.text for row in reader(path) if isinstance(row, Document)]
    assert "".join(parts) == text
    assert len(parts) == 3
    assert all(part.endswith("\n\n") and len(part) <= 4 << 20 for part in parts)
