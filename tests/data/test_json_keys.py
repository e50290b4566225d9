"""Keys that stand twice in a row: refused by name where they matter, and nowhere else; otherwise JSON is Python's."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xtune.data.json_keys import KeyNotingDecoder
from xtune.data.problems import Problems
from xtune.data.rows import RowReader
from xtune.data.sources import find_files
from xtune.data.types import Conversation
from xtune.errors import DataError

keys = st.sampled_from(["a", "b", "é", "a\\", '":', ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(keys, inner), max_size=4),
    max_leaves=12,
)  # fmt: skip


def as_text(value: Any) -> str:
    """JSON of a value in which a list of pairs is an object, keys twice and all."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        inside = (f"{json.dumps(key)} : {as_text(item)}" for key, item in value)
        return "{" + ",".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_text, value)) + "]"
    return json.dumps(value)


def differing(value: Any) -> int:
    """By brute force: keys with two different values, in all objects that the last values leave."""
    if not isinstance(value, list):
        return 0
    if not value or not all(isinstance(item, tuple) for item in value):
        return sum(map(differing, value))
    last = dict(value)
    texts = {key: {as_text(item) for other, item in value if other == key} for key in last}
    parsed = {
        key: {json.dumps(json.loads(text), sort_keys=True) for text in some}
        for key, some in texts.items()
    }
    return sum(len(some) > 1 for some in parsed.values()) + sum(map(differing, last.values()))


@given(value=values)
@example([("a", [("a", 1), ("b", 2)]), ("a", [("b", 2), ("a", 1)])])
@example([("a", [0]), ("a", [False])])
def test_what_is_parsed_is_what_python_parses_and_every_lost_value_is_noted(value: Any) -> None:
    decoder, text = KeyNotingDecoder(), as_text(value)
    found = decoder.decode(text)
    assert json.dumps(found) == json.dumps(json.loads(text))
    assert len(decoder.doubled(found)) == differing(value)
    assert decoder.doubled(decoder.decode('{"a": 1}')) == ()


def read(path: Path, text: str) -> tuple[list[Any], str]:
    path.write_text(text, encoding="utf-8")
    problems = Problems()
    (file,) = find_files([str(path)])
    rows = list(RowReader(file, problems))
    try:
        problems.raise_any()
    except DataError as error:
        return rows, str(error)
    return rows, ""


GOOD = '{"prompt": "Q", "completion": "A"}'


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ('{"prompt": "Q", "completion": "A", "completion": "B"}', "completion"),
        ('{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "content": ""}]}', "messages[1].content"),
        ('{"conversations": [{"from": "human", "from": "gpt", "value": "Q"}]}', "conversations[0].from"),
        ('[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "role": "user"}]', "[1].role"),
        ('{"text": "T", "text": "U"}', "text"),
        ('{"prompt": "Q", "completion": "A", "completion": null}', "completion"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["lines", "list", "inner"])
def test_a_row_with_two_values_of_one_key_is_refused_by_name(
    row: str, path: str, kind: str, tmp_path: Path
) -> None:
    text = {"lines": f"{GOOD}\n{row}\n{GOOD}\n", "list": f"[{GOOD}, {row}, {GOOD}]", "inner": f'{{"n": 1, "data": [{GOOD}, {row}, {GOOD}]}}'}[kind]  # fmt: skip
    name = "a.jsonl" if kind == "lines" else "a.json"
    rows, told = read(tmp_path / name, text)
    assert len(rows) == 2
    assert f"`{path}` stands twice in the row, with two values" in told
    assert ("a.jsonl:2" if kind == "lines" else "a.json row 1") in told


def test_values_that_are_equal_or_that_nothing_reads_do_no_harm(tmp_path: Path) -> None:
    rows, told = read(
        tmp_path / "a.jsonl",
        '{"prompt": "Q", "prompt": "Q", "completion": "A"}\n'
        '{"prompt": "Q", "id": 1, "id": 2, "meta": {"x": 1, "x": 2}, "completion": "A"}\n',
    )
    assert not told
    assert [row.messages[1].content for row in rows if isinstance(row, Conversation)] == ["A", "A"]


def test_a_thousand_rows_with_a_key_written_twice_are_all_told(tmp_path: Path) -> None:
    chance = random.Random(0)
    lines, wanted = [], 0
    for number in range(1000):
        first, second = (chance.choice(["A", "B"]) for _ in range(2))
        lines.append(f'{{"prompt": "{number}", "completion": "{first}", "completion": "{second}"}}')
        wanted += first != second
    rows, told = read(tmp_path / "a.jsonl", "\n".join(lines))
    assert len(rows) == 1000 - wanted
    assert f"and {wanted - 3:,} more" in told
