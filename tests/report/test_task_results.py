"""Results of tasks as people see them: of every question the last one, from new runs and from old ones."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xtune.report.run_files import RunFiles
from xtune.report.run_list import list_runs
from xtune.report.run_page import report_html
from xtune.report.task_results import read_task_results


def evaluation(value: float, *, language: str = "th", **how: Any) -> dict[str, Any]:
    """As `xtune evaluate --tasks` writes it."""
    sides = {
        side: {"value": number, "low": number - 0.1, "high": number + 0.1}
        for side, number in (("base", 0.5), ("tuned", value), ("difference", value - 0.5))
    }
    measure = {**sides, "unit": "share", "rows": 20, "verdict": "open"}
    part = {
        "task": "xcopa",
        "language": language,
        "questions": 20,
        "measures": {"accuracy": measure},
        "rows": [],
    }
    return {
        "shots": 0,
        "limit": None,
        "seed": 0,
        "template": False,
        "notes": [],
        **how,
        "tasks": [part],
    }


def write(path: Path, value: object, age: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    os.utime(path, (10**9 - age, 10**9 - age))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("model: {name: base}\nmethod: {type: lora}\n")
    write(folder / "tasks" / "a.json", evaluation(0.6), 30)
    write(folder / "tasks" / "b.json", evaluation(0.7, language="vi"), 20)
    write(folder / "tasks" / "c.json", evaluation(0.75, shots=3), 10)
    write(folder / "tasks.json", evaluation(0.75, shots=3), 9)
    return folder


def test_every_question_is_kept_and_of_each_the_last_answer(run: Path) -> None:
    def values() -> dict[str, float]:
        return {one.name: one.tuned["value"] for one in read_task_results(run)[0]}

    th, vi = "xcopa th, accuracy, zero-shot", "xcopa vi, accuracy, zero-shot"
    assert values() == {th: 0.6, vi: 0.7, "xcopa th, accuracy, 3-shot": 0.75}
    write(run / "tasks" / "d.json", evaluation(0.65), 5)
    assert values()[th] == 0.65


def test_an_old_run_with_its_one_file_is_read(run: Path) -> None:
    for path in (run / "tasks").iterdir():
        path.unlink()
    assert [one.name for one in read_task_results(run)[0]] == ["xcopa th, accuracy, 3-shot"]


def test_the_report_and_the_list_of_runs_show_them(run: Path) -> None:
    page = report_html(RunFiles.read(run))
    for words in ("xcopa th", "xcopa vi", "3-shot", "0.75 (0.65 to 0.85)"):
        assert words in page
    stream = io.StringIO()
    found = list_runs(run.parent)
    Console(file=stream, width=120).print(found.table())
    assert "0.5 → 0.7 " in stream.getvalue()
    (listed,) = found.to_json()["runs"]
    assert {one["tuned"]["value"] for one in listed["tasks"]} == {0.6, 0.7, 0.75}


def test_damaged_files_are_named_and_the_others_read(run: Path) -> None:
    (run / "tasks" / "b.json").write_text("{")
    write(run / "tasks" / "e.json", {"tasks": [3, {"measures": {"x": 4}}, {"measures": None}]}, 1)
    found, damaged = read_task_results(run)
    assert damaged == ["tasks/b.json"]
    assert len(found) == 2
    assert "damaged: tasks/b.json" in list_runs(run.parent).runs[0].problem
    assert "tasks/b.json" in report_html(RunFiles.read(run))
