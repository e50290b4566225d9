"""Seed files are read and checked line by line, and the ones that ship are right: what can be computed is."""

import gzip
import itertools
import json
import re
import sqlite3
import statistics
import subprocess
import sys
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.seeds import check_file, read_seeds, seed_row, shipped_seeds
from selfinstruct.types import Seed
from xtune.errors import DataError, XtuneError
from xtune.text import rouge_l

SEEDS = {seed.id[-3:]: seed for seed in read_seeds("en")}
GOOD = {"id": "a", "category": "x", "instruction": "Name a colour.", "input": "", "output": "Red"}


def input_of(number: str) -> str:
    return SEEDS[number].task.input


def output_of(number: str) -> str:
    return SEEDS[number].task.output


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_there_are_175_seeds_as_in_the_paper_13_stay_and_23_are_adapted() -> None:
    choices = [seed.translate for seed in SEEDS.values()]
    assert (len(choices), choices.count("no"), choices.count("adapt")) == (175, 13, 23)
    assert len({seed.category for seed in SEEDS.values()}) >= 20
    assert all(seed.why for seed in SEEDS.values())


def test_no_two_instructions_are_alike() -> None:
    texts = [seed.task.instruction for seed in SEEDS.values()]
    pairs = ((a, b) for number, a in enumerate(texts) for b in texts[:number])
    assert max(rouge_l(a, b, "en") for a, b in pairs) < 0.7


def test_a_seed_survives_writing_and_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "en.jsonl", *map(seed_row, SEEDS.values()))
    assert read_seeds(path) == tuple(SEEDS.values())


@pytest.mark.parametrize(
    ("number", "least", "most"),
    [
        ("004", 20, 50),
        ("008", 54, 66),
        ("012", 40, 100),
        ("015", 1, 10),
        ("115", 54, 66),
        ("141", 1, 5),
    ],
)
def test_answers_keep_to_the_number_of_words_asked_for(number: str, least: int, most: int) -> None:
    assert least <= len(output_of(number).split()) <= most


def test_sums_and_shares_are_right() -> None:
    assert sum(map(int, re.findall(r"(\d+) euros", input_of("032")))) == 13
    assert "13 euros" in output_of("032")
    assert output_of("063").endswith(f"= {15 * 24 - 90 * 3} pencils are left.")
    assert f"{80 * 85 // 100} euros" in output_of("064")
    mean = statistics.mean(map(int, re.findall(r"(\d+) °C", input_of("065"))))
    assert f"average is {mean} °C" in output_of("065")
    amounts = [int(number) * 6 // 4 for number in re.findall(r"\d+", input_of("066"))]
    assert list(map(int, re.findall(r"\d+", output_of("066")))) == amounts
    assert f"pays {(54 + 6) // 4} euros" in output_of("067")
    assert 3 * 8 + 7 == 31
    assert "x = 8" in output_of("069")
    assert {f"{2 * (12 + 8)} metres", f"{12 * 8} square"} <= set(
        re.findall(r"\d+ (?:metres|square)", output_of("070"))
    )
    assert (7 / 0.5, 9 / 0.75) == (14, 12)
    assert re.findall(r"\d+ dollars", output_of("071")) == ["14 dollars", "12 dollars"]
    assert Fraction(5, 3 + 5 + 2) == Fraction(1, 2)
    assert "5/10 = 1/2, or 50 percent" in output_of("072")
    # the cork costs half a coin: 0.5 + (0.5 + 10) = 11
    assert output_of("044") == "B"
    assert "B) half a coin" in input_of("044")


def test_dates_and_times_are_right() -> None:
    found = re.findall(r"\d+ [A-Z]\w+ \d{4}", input_of("024"))
    dates = [datetime.strptime(text, "%d %B %Y").date().isoformat() for text in found]
    assert output_of("024").split() == dates
    wednesday = date(2025, 1, 1)
    assert wednesday.strftime("%A") == "Wednesday"
    assert (wednesday + timedelta(days=100)).strftime("%A") == "Friday"
    assert "Friday" in output_of("059")
    assert (15 * 60 + 5) - (14 * 60 + 52) - 8 == 5
    assert "5 minutes are left" in output_of("062")
    assert divmod((13 * 60 + 15) - (9 * 60 + 48), 60) == (3, 27)
    assert output_of("068") == "3 hours and 27 minutes"
    assert date(2024, 2, 29).isoformat() == input_of("152")


def test_orders_and_sequences_are_right() -> None:
    numbers = input_of("073").split(", ")
    assert output_of("073").split(", ") == sorted(numbers, key=Fraction)
    names = input_of("153").split(", ")
    assert output_of("153").split(", ") == sorted(names, key=lambda name: name.split()[-1])
    rows = input_of("107").splitlines()
    by_year = sorted(rows[2:], key=lambda row: int(re.findall(r"\d{4}", row)[0]))
    assert output_of("107").splitlines() == rows[:2] + by_year
    sequence = [int(text) for text in input_of("054").split(", ")]
    assert all(after == 2 * before + 1 for before, after in itertools.pairwise(sequence))
    assert "95 and 191" in output_of("054")
    assert (2 * 47 + 1, 2 * 95 + 1) == (95, 191)
    words = output_of("164").split(", ")
    assert words[0] == input_of("164")
    for longer, shorter in itertools.pairwise(words):
        assert shorter in {longer[:at] + longer[at + 1 :] for at in range(len(longer))}
    assert len(words[-1]) == 1
    assert sorted(output_of("165")) == sorted(input_of("165"))
    assert all(word[0] in "Ss" for word in output_of("171").split())


def test_the_seats_at_the_cinema_are_the_only_ones_that_fit() -> None:
    from itertools import permutations

    fitting = [
        order
        for order in permutations(["Ines", "Omar", "Yuki", "Carl"])
        if order[0] == "Ines"
        and order[1] == "Omar"
        and abs(order.index("Yuki") - order.index("Omar")) != 1
    ]
    assert [output_of("058").split(", ")] == [list(order) for order in fitting]


def test_tables_are_right() -> None:
    totals = {
        name: int(january) + int(february)
        for name, january, february in re.findall(r"\| (\w+) \| (\d+) \| (\d+) \|", input_of("105"))
    }
    assert max(totals, key=totals.__getitem__) == "Notebooks"
    assert set(re.findall(r"\d{3}", output_of("105"))) >= set(map(str, totals.values()))
    for number, double, square in re.findall(r"\| (\d+) \| (\d+) \| (\d+) \|", output_of("109")):
        assert (int(double), int(square)) == (2 * int(number), int(number) ** 2)


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_code_does_what_the_answers_say(tmp_path: Path) -> None:
    assert run(output_of("074") + "\nprint(second_largest([3, 9, 4]))") == "4"
    assert run(input_of("075")) == output_of("075")
    assert run(output_of("076") + "\nprint(average([1, 2, 6]))") == "3.0"
    assert run(input_of("076") + "\nprint(average([1, 2, 6]))") != "3.0"
    same = f"{input_of('080')}\na = squares\n{output_of('080')}\nprint(a == squares)"
    assert run(same) == "True"
    assert run(input_of("082") + "\nprint(f('level'), f('lever'))") == "True False"
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE customers (id, name, city)")
    base.executemany(
        "INSERT INTO customers VALUES (?, ?, ?)",
        [(1, "Rosa", "Lima"), (2, "Ana", "Lima"), (3, "Bo", "Quito")],
    )
    assert base.execute(output_of("077")).fetchall() == [("Ana",), ("Rosa",)]
    base.close()
    times = re.compile(output_of("078"))
    valid = {f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)}
    candidates = [f"{hour:02}:{minute:02}" for hour in range(100) for minute in range(100)]
    assert {text for text in candidates if times.match(text)} == valid
    (tmp_path / "a.txt").write_text("1\n2\n")
    (tmp_path / "b.txt").write_text("3\n")
    counted = subprocess.run(
        output_of("079"), shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert counted.stdout.strip() == "3"
    assert re.findall(r"<li>(\d)</li>", output_of("081")) == ["1", "2", "3"]
    header, *lines = [line.split(";") for line in input_of("083").splitlines()]
    rows = [dict(zip(header, map(float, line), strict=True)) for line in lines]
    assert json.loads(output_of("083")) == rows
    assert json.loads(output_of("025")).keys() == {"name", "city", "occupation"}


def test_classic_files_are_read(tmp_path: Path) -> None:
    row = {
        "id": "seed_task_0",
        "name": "breakfast",
        "instruction": "Suggest a breakfast without eggs.",
        "instances": [{"input": "", "output": "Porridge with apples"}],
        "is_classification": False,
    }
    path = write(tmp_path / "seed_tasks.jsonl", row)
    report = check_file(path)
    assert report.ok
    assert report.seeds[0].task.output == "Porridge with apples"
    assert "1 seed: 1 yes" in report.lines()[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"output": None}, "`output` is missing"),
        ({"output": " \n"}, "`output` is empty"),
        ({"instruction": 3}, "`instruction` is a number"),
        ({"id": ""}, "`id` is empty"),
        ({"input": ["a"]}, "`input` is a list"),
        ({"translate": "maybe"}, "it must be yes, adapt or no"),
        ({"translate": "adapt"}, "it must name what is kept"),
        ({"keep": ["output"]}, "only `adapt` keeps fields"),
        ({"translate": "adapt", "keep": ["answer"]}, "it may name `input` and `output`"),
        ({"translate": "adapt", "keep": ["input"]}, "which is empty"),
        ({"translate": "adapt", "keep": "output"}, "it must be a list"),
        ({"instances": []}, "`instances` holds no object"),
        ({"instances": [{"input": "", "output": ""}]}, "`instances[0].output` is empty"),
        ({"output": "\ud800"}, "half of a surrogate pair"),
    ],
)
def test_what_is_wrong_with_a_row_is_one_line_with_its_place(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "mine.jsonl", GOOD, {**GOOD, "id": "b", "instruction": "Sing!", **change}
    )
    report = check_file(path)
    assert not report.ok
    assert [
        told in str(problem) and "mine.jsonl:2" in str(problem) for problem in report.problems
    ] == [True]
    assert report.lines()[-1] == f"{path}: 1 problem"
    with pytest.raises(DataError, match=r"mine\.jsonl:2"):
        read_seeds(path)


def test_twins_are_told_and_look_alikes_are_noted(tmp_path: Path) -> None:
    alike = {**GOOD, "id": "b", "instruction": "Name a colour!"}
    path = write(tmp_path / "mine.jsonl", GOOD, alike, {**alike, "instruction": "Other words here"})
    report = check_file(path)
    assert [str(problem) for problem in report.problems] == [
        "`id` is b, which mine.jsonl:2 has too (mine.jsonl:3); each seed has its own."
    ]
    assert "much like that of mine.jsonl:1, ROUGE-L 0.75" in str(report.notes[0])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff\xfe{\x00}\x00", "The file is in UTF-16 ("),
        ('{"id": "a"}\n'.encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ('{"id": "a"}\n'.encode("utf-32"), "The file is in UTF-32 ("),
        (gzip.compress(b'{"id": "a"}\n', mtime=0), "the file is packed"),
        (b"<!DOCTYPE html><html>\n", "The file is a web page"),
        (b"id,category\na,b\n", "none of the 2 lines is a JSON object"),
        (json.dumps(GOOD, indent=1).encode(), "lines is a JSON object"),
        (b"[]", "the file holds no seeds"),
        (b'{"id": "caf\xe9"}\n', "the byte 0xe9 is not UTF-8 (mine.jsonl:1)"),
        (b"", "the file holds no seeds"),
        (b"{]\n", "the row is no JSON"),
        (b"3\n", "the row is a number"),
        (b'{"id": 1, "id": 2}\n', "the row has `id` twice"),
        (b"[" * 100_000, "the row is no JSON"),
    ],
)
def test_files_that_are_no_seed_files_are_told_in_a_line(
    data: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(data)
    problems = check_file(path).problems
    assert told in str(problems[0])
    # a second line only where a second thing is wrong
    assert len(problems) == (4 if b'"id": 2' in data else 1)


@pytest.mark.parametrize("data", [b"\xff\xfe{\x00}\x00", b'{"id": "caf\xe9"}\n'])
def test_a_wrong_encoding_is_one_problem_and_not_an_empty_file_as_well(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError) as told:
        read_seeds(path)
    assert len(told.value.problems) == 1


def test_a_misspelt_field_is_noted(tmp_path: Path) -> None:
    report = check_file(write(tmp_path / "mine.jsonl", {**GOOD, "catgory": "x"}))
    assert report.ok
    assert "Did you mean `category`?" in str(report.notes[0])


def test_hundreds_of_problems_are_cut_to_a_page(tmp_path: Path) -> None:
    report = check_file(write(tmp_path / "mine.jsonl", *[{"instruction": "x"}] * 300))
    assert len(report.problems) >= 900
    assert len(report.lines()) < 60


def test_a_language_without_seeds_says_how_to_make_them() -> None:
    assert shipped_seeds("en") is not None
    assert shipped_seeds("../seeds/en") is None
    with pytest.raises(XtuneError, match="selfinstruct translate multialpaca --to xx"):
        read_seeds("xx")
    with pytest.raises(XtuneError, match=r"nowhere\.jsonl cannot be read"):
        read_seeds("nowhere.jsonl")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from([*GOOD, "keep", "translate", "instances"]), inner)
        ),
    )
)
def test_no_row_raises(row: Any) -> None:
    from selfinstruct.seeds.rows import seed_of

    told: list[str] = []
    seed = seed_of(row, "x:1", lambda kind, problem: told.append(f"{kind} {problem}"))
    assert isinstance(seed, Seed) or any(line.startswith("problem") for line in told)
