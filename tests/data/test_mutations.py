"""A thousand mutated files: each gives right rows or a clear error, and nothing else."""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from xtune.data.problems import Problems
from xtune.data.rows import RowReader
from xtune.data.sources import find_files
from xtune.data.types import Conversation, Document
from xtune.errors import DataError

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, {}]}'}}
SETS: list[list[dict[str, Any]]] = [
    [{"instruction": f"Q{n} é三\"", "input": "x,\ny" if n % 3 else "", "output": f"A{n}\u2028z"} for n in range(12)],
    [
        {
            "messages": [
                {"role": "user", "content": f"hi {n} 😀"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "5"},
                {"role": "assistant", "content": "done"},
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        }
        for n in range(10)
    ],
    [{"conversations": [{"from": "human", "value": f"h{n}"}, {"from": "gpt", "value": "g"}], "system": "S"} for n in range(10)],
    [{"text": f"T {n} ü"} for n in range(12)],
    [{"message_id": str(n), "parent_id": str(n - 1) if n % 3 else None, "text": f"t{n}", "role": "assistant" if n % 3 == 1 else "prompter", "rank": 0} for n in range(12)],
    [{"query": "q", "response": "r", "history": [["a", "b"]]} for _ in range(8)],
]  # fmt: skip
INSERTED = [b"\0", b"\r\n", b"\n\n", b"\r", b"\xff", b"\xed\xa0\x80", "\u2028".encode(), "\ufeff".encode(), b"\\ud800", b"1e999", b"9" * 5000,
            b"[" * 2000, b'{"a":' * 300, b"null", b'"', b"}", b"]", b",", b"-Infinity", b"NaN", b"[[[[", b'"weight": 1e400, ', "\U0010ffff".encode()]  # fmt: skip
KINDS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "jsonl.gz", "jsonl.zst", "csv.gz")


def encoded(rows: list[dict[str, Any]], kind: str, chance: random.Random) -> bytes:
    name, _, packer = kind.partition(".")
    if name == "jsonl":
        data = "".join(json.dumps(row, ensure_ascii=chance.random() < 0.5) + "\n" for row in rows).encode()  # fmt: skip
    elif name == "json":
        data = json.dumps(rows, indent=chance.choice([None, 1]), ensure_ascii=False).encode()
    elif name in {"csv", "tsv"}:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if name == "tsv" else ",")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: v if isinstance(v, str) else json.dumps(v) for key, v in row.items() if v is not None})  # fmt: skip
        data = text.getvalue().encode()
    else:
        data = packed(rows, name, chance)
    if packer == "gz":
        return gzip.compress(data, mtime=0)
    return pa.compress(data, codec="zstd", asbytes=True) if packer == "zst" else data  # type: ignore[no-any-return]


def packed(rows: list[dict[str, Any]], name: str, chance: random.Random) -> bytes:
    table, stream = pa.Table.from_pylist(rows), pa.BufferOutputStream()
    if name == "parquet":
        codec = chance.choice(["snappy", "zstd", "none"])
        pyarrow.parquet.write_table(table, stream, write_page_checksum=chance.random() < 0.5, compression=codec)  # fmt: skip
    else:
        writer = pa.ipc.new_file if chance.random() < 0.5 else pa.ipc.new_stream
        with writer(stream, table.schema) as sink:
            sink.write_table(table)
    return stream.getvalue().to_pybytes()  # type: ignore[no-any-return]


def flipped(data: bytes, at: int, chance: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


MUTATIONS: list[Callable[[bytes, int, random.Random], bytes]] = [
    flipped,
    flipped,
    flipped,
    lambda data, at, *_: data[:at],
    lambda data, at, chance: data[:at] + data[at + chance.randrange(1, 30) :],
    lambda data, at, chance: data[:at] + chance.choice(INSERTED) + data[at:],
    lambda data, at, chance: data[:at] + chance.choice(INSERTED) + data[at:],
    lambda data, at, chance: data[:at] + data[chance.randrange(len(data)) :][:50] + data[at:],
    lambda data, *_: data.replace(b"\n", b"\r\n"),
    lambda data, _, chance: data.replace(b'"role"', chance.choice([b'"rolle"', b'"from"']), 1),
    lambda data, *_: data.replace(b'":', b'": null, "z":', 1),
    lambda data, _, chance: data.replace(b'"', b"'", chance.randrange(1, 9)),
    lambda data, _, chance: chance.choice([b"\xef\xbb\xbf" + data, data.decode("utf8", "replace").encode("utf-16"), data * 2]),
]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        if data:
            data = chance.choice(MUTATIONS)(data, chance.randrange(len(data)), chance)
    return data


def outcome(path: Path) -> tuple[list[Conversation | Document], str]:
    """The rows of a file, and what a person is told of it."""
    problems = Problems()
    (file,) = find_files([str(path)])
    rows: list[Conversation | Document] = []
    try:
        rows += RowReader(file, problems)
        problems.raise_any()
    except DataError as error:
        return rows, str(error)
    return rows, ""


@pytest.mark.parametrize("seed", range(10))
def test_a_mutated_file_gives_rows_or_a_clear_error(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for _ in range(80):
        kind = chance.choice(KINDS)
        path = tmp_path / f"m.{kind}"
        path.write_bytes(mutated(encoded(chance.choice(SETS), kind, chance), chance))
        rows, told = outcome(path)
        told.encode()  # it can be printed
        assert rows or told
        assert not told or path.name in told
        for row in rows:
            repr(row).encode()
            assert isinstance(row, Document) or row.messages


def expected_of(line: str) -> list[tuple[str, str]] | None:
    """What a line of the first set is, read by hand; None: no row."""
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    asked, more, answered = row.get("instruction"), row.get("input"), row.get("output")
    if not (isinstance(asked, str) and isinstance(answered, str) and isinstance(more, str | None)):
        return None
    question = f"{asked}\n{more}" if asked and more else asked or more or ""
    return [("user", question), ("assistant", answered)]


@pytest.mark.parametrize("seed", range(4))
def test_no_row_of_a_mutated_file_is_wrong_and_none_is_lost_in_silence(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(1000 + seed)
    for _ in range(60):
        data = mutated(encoded(SETS[0], "jsonl", chance), chance)
        path = tmp_path / "m.jsonl"
        path.write_bytes(data)
        rows, told = outcome(path)
        try:
            lines = data.decode("utf-8-sig").split("\n")
        except UnicodeDecodeError:
            assert told
            continue
        wanted = {number: expected_of(line) for number, line in enumerate(lines, 1) if line.strip()}
        good = {number: row for number, row in wanted.items() if row is not None}
        found = {row.origin.line: [(m.role, m.content) for m in row.messages] for row in rows if isinstance(row, Conversation)}  # fmt: skip
        assert all(good.get(number) == row for number, row in found.items())
        assert told or (found == good and len(good) == len(wanted))
