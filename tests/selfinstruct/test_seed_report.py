"""Seeds are shown to be read, and sets are counted; lengths and tokens are counted here by other means."""

import json
import re
import statistics
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from selfinstruct.run import verbs
from selfinstruct.seeds import read_seeds, shipped_languages, shipped_seeds
from xtune.demo.bundled import bundled_path
from xtune.errors import XtuneError


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def row(number: int, **changed: str) -> dict[str, Any]:
    return {"id": f"s{number}", "category": "x", "instruction": "Go.", "output": "ok", **changed}


def shown(*arguments: Any, **named: Any) -> str:
    stream = StringIO()
    verbs.show_seeds(*arguments, **named, stream=stream)
    return stream.getvalue()


def test_tasks_are_shown_whole_and_markup_in_them_is_text(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        row(1, input="[bold]x[/bold] :smile:\nsecond line"),
        row(2, output="word " * 60 + "end"),
    )
    assert shown(path) == (
        "s1  x, yes\ninstruction\nGo.\ninput\n[bold]x[/bold] :smile:\nsecond line\noutput\nok\n\n"
        "s2  x, yes\ninstruction\nGo.\noutput\n" + "word " * 60 + "end\n"
    )


def test_ids_choose_tasks_in_their_order_and_what_is_kept_is_told() -> None:
    text = shown("ja", ["seed-086", "seed-002"])
    assert re.findall(r"^seed-\d+.*", text, re.MULTILINE) == [
        "seed-086  translation, adapt, keeps input and output",
        "seed-002  writing, yes",
    ]
    with pytest.raises(XtuneError, match=r"no seed `seed-43` in `ja`; 162 are there.*seed-043"):
        shown("ja", ["seed-43"])


def test_json_rows_are_the_file_that_ships() -> None:
    rows = [json.loads(line) for line in shown("ko", as_json=True).splitlines()]
    file = Path(str(shipped_seeds("ko")))
    assert rows == [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_lengths_are_in_graphemes(tmp_path: Path) -> None:
    # a family of three people, a Thai syllable with two marks, a flag: one grapheme each
    path = write(
        tmp_path / "th.jsonl",
        row(1, instruction="\U0001f468\u200d\U0001f469\u200d\U0001f467", output="ที่"),
        row(2, instruction="abc", input="\U0001f1f9\U0001f1ed"),
    )
    found = verbs.seed_stats([path]).to_json()["sets"][0]
    assert found["median_graphemes"] == {"instruction": (1 + 3) / 2, "input": 1, "output": 1.5}
    assert found["graphemes"] == 1 + 1 + 3 + 1 + 2
    assert (found["tasks"], found["with_input"], found["language"]) == (2, 1, "th")


def test_fertility_is_tokens_for_a_word() -> None:
    tokenizer = AutoTokenizer.from_pretrained(bundled_path("bundled:demo"))
    texts = [
        text
        for seed in read_seeds("vi")
        for text in (seed.task.instruction, seed.task.input, seed.task.output)
        if text
    ]
    tokens = sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts)
    # runs of letters and digits, and runs of signs, are what Vietnamese texts are compared by
    words = sum(len(re.findall(r"\w+|[^\w\s]+", text)) for text in texts)
    found = verbs.seed_stats(["vi"]).to_json()["sets"][0]
    assert found["words"] == words
    # the texts are joined by line breaks, which are tokens too
    assert found["tokens"] == pytest.approx(tokens, rel=0.02)
    assert found["tokens_per_word"] == pytest.approx(tokens / words, rel=0.02)
    lengths = [len(seed.task.instruction) for seed in read_seeds("vi")]
    assert found["median_graphemes"]["instruction"] == statistics.median(lengths)


def test_all_sets_that_ship_stand_side_by_side(tmp_path: Path) -> None:
    report = verbs.seed_stats()
    assert [one.name for one in report.sets] == list(shipped_languages())
    lines = str(report).splitlines()
    header = next(line for line in lines if line.startswith("category"))
    assert header.split()[1:] == list(shipped_languages())
    code = next(line.split() for line in lines if line.startswith("code"))
    assert code[1:] == ["12"] * len(report.sets)
    unnamed = write(tmp_path / "my tasks.jsonl", row(1))
    assert verbs.seed_stats([unnamed]).to_json()["sets"][0]["language"] is None


def test_the_commands_print_and_a_wrong_language_is_told_in_a_line() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "selfinstruct", "seeds", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    read = run("show", "--lang", "ja", "--id", "seed-043")
    assert (read.returncode, read.stdout.splitlines()[0]) == (
        0,
        "seed-043  classification, adapt, keeps output",
    )
    counted = run("stats", "--lang", "ja", "--json")
    assert json.loads(counted.stdout)["sets"][0]["tasks"] == 162
    wrong = run("stats", "--lang", "xx")
    assert wrong.returncode == 2
    assert "There are no seeds in `xx`" in wrong.stderr
    assert "Traceback" not in wrong.stderr
