"""The code in the seeds, which every language keeps letter by letter, does what the tasks say: it is run."""

import contextlib
import io
import json
import re
import sqlite3
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from selfinstruct.seeds import read_seeds

TASKS = {seed.id[-3:]: seed.task for seed in read_seeds("en")}


def names_after(code: str) -> dict[str, Any]:
    """Runs a seed's Python and gives back what it defined."""
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_the_functions_return_what_is_asked_for() -> None:
    assert names_after(TASKS["074"].output)["second_largest"]([4, 9, -1, 7]) == 7
    assert names_after(TASKS["076"].input)["average"]([1, 2, 6]) != 3
    assert names_after(TASKS["076"].output)["average"]([1, 2, 6]) == 3
    loop, comprehension = names_after(TASKS["080"].input), names_after(TASKS["080"].output)
    assert loop["squares"] == comprehension["squares"] == [n * n for n in range(10)]
    is_palindrome = names_after(TASKS["082"].input)["f"]
    assert (is_palindrome("abba"), is_palindrome("abab")) == (True, False)


def test_the_program_prints_the_answer() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names_after(TASKS["075"].input)
    assert printed.getvalue().strip() == TASKS["075"].output


def test_the_query_finds_the_customers_in_order() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.execute("CREATE TABLE customers (id, name, city)")
        rows = [(1, "Zoe", "Lima"), (2, "Ana", "Lima"), (3, "Bo", "Rome")]
        base.executemany("INSERT INTO customers VALUES (?, ?, ?)", rows)
        assert base.execute(TASKS["077"].output).fetchall() == [("Ana",), ("Zoe",)]


def test_the_expression_matches_the_minutes_of_a_day_and_nothing_else() -> None:
    times = [f"{hour:02}:{minute:02}" for hour in range(100) for minute in range(100)]
    expression = re.compile(TASKS["078"].output)
    matched = [time for time in times if expression.match(time)]
    assert matched == [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]
    assert not any(map(expression.match, ["7:30", "07:30:00", "x07:30", "0730"]))


def test_the_command_counts_the_lines_of_text_files(tmp_path: Path) -> None:
    for name, text in {"a.txt": "1\n2\n", "b.txt": "3\n", "c.md": "4\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        TASKS["079"].output, shell=True, cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"3"]


def test_the_markup_is_a_list_of_three_numbers() -> None:
    seen: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
            seen.append(("open", tag))

        def handle_endtag(self, tag: str) -> None:
            seen.append(("close", tag))

        def handle_data(self, data: str) -> None:
            seen.append(("text", data)) if data.strip() else None

    Reader().feed(TASKS["081"].output)
    entries = [part for n in "123" for part in (("open", "li"), ("text", n), ("close", "li"))]
    assert seen == [("open", "ul"), *entries, ("close", "ul")]


def test_the_data_are_those_of_the_csv() -> None:
    head, *rows = [line.split(";") for line in TASKS["083"].input.splitlines()]
    objects = [{name: float(cell) for name, cell in zip(head, row, strict=True)} for row in rows]
    assert json.loads(TASKS["083"].output) == objects


def test_the_tasks_that_are_run_are_all_that_keep_code() -> None:
    code = {seed.id[-3:] for seed in read_seeds("en") if seed.category == "code" and seed.keep}
    assert code == {"074", "075", "076", "077", "078", "079", "080", "081", "082", "083"}
