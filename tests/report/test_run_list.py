"""Runs side by side: what differs, how they stand, and broken folders as rows of their own."""

import fcntl
import json
from pathlib import Path

import pytest

from xtune.errors import RunError
from xtune.report.run_list import list_runs
from xtune.run.lock import LOCK


def make_run(folder: Path, *, rate: float, state: str = "finished", loss: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        f"model: {{name: base}}\nmethod: {{type: lora, rank: 8}}\ntrain: {{learning_rate: {rate}}}\nrun: {{folder: {folder}}}\n"
    )
    (folder / "status.json").write_text(json.dumps({"state": state, "step": 2, "total_steps": 2}))
    rows = [{"step": 1, "loss": 3.0, "tokens": 100}, {"step": 2, "loss": loss, "tokens": 300},
            {"step": 1, "evaluation_loss": 0.5}, {"step": 2, "evaluation_loss": 0.7}]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "speed.jsonl").write_text(json.dumps({"step": 2, "elapsed_s": 6.0, "memory_bytes": 5}) + "\n")  # fmt: skip
    return folder


def test_only_what_differs_is_listed_with_losses_and_speed(tmp_path: Path) -> None:
    make_run(tmp_path / "a", rate=1e-4)
    make_run(tmp_path / "deep" / "b", rate=2e-4, loss=0.25)
    (tmp_path / "a" / "adapter").mkdir()
    (tmp_path / "a" / "adapter" / "adapter_model.safetensors").write_bytes(b"12345")
    found = list_runs(tmp_path).to_json()
    assert found["differing"] == ["train.learning_rate"]
    a, b = found["runs"]
    assert (a["name"], b["name"]) == ("a", "deep/b")
    assert (a["settings"], b["settings"]) == (
        {"train.learning_rate": 1e-4},
        {"train.learning_rate": 2e-4},
    )
    assert (a["held_out_loss"], a["held_out_step"]) == (0.5, 1)
    assert b["loss"] == 0.25
    assert a["tokens_per_s"] == 50.0
    assert (a["result_bytes"], b["result_bytes"]) == (5, None)


def test_a_broken_folder_is_a_row_that_says_so(tmp_path: Path) -> None:
    make_run(tmp_path / "good", rate=1e-4)
    (make_run(tmp_path / "torn", rate=1e-4) / "recipe.yaml").write_text("{")
    (make_run(tmp_path / "bare", rate=1e-4) / "recipe.yaml").unlink()
    runs = {run.name: run for run in list_runs(tmp_path).runs}
    assert runs["good"].problem == ""
    assert (runs["torn"].state, runs["torn"].problem) == ("broken", "damaged: recipe.yaml")
    assert runs["bare"].state == "broken"
    assert "no recipe.yaml" in runs["bare"].problem


def test_a_recipe_of_another_program_is_told_and_differs_in_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "good", rate=1e-4)
    for name, text in (("docker", "name: docker\n"), ("odd", "model: x\nmethod: {type: lora}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(text)
    found = list_runs(tmp_path)
    assert found.differing == []
    assert {
        run.name: (run.state, run.problem) for run in found.runs if run.problem
    } == dict.fromkeys(("docker", "odd"), ("broken", "recipe.yaml is no recipe of xtune"))


def test_a_run_that_nobody_holds_was_killed(tmp_path: Path) -> None:
    make_run(tmp_path / "dead", rate=1e-4, state="running")
    alive = make_run(tmp_path / "live", rate=1e-4, state="running")
    with (alive / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dead, live = list_runs(tmp_path).runs
    assert dead.state == "killed"
    assert "--resume" in dead.problem
    assert (live.state, live.problem) == ("running", "")


def test_names_are_shown_as_text(tmp_path: Path) -> None:
    make_run(tmp_path / "<b>[red]x", rate=1e-4)
    shown = list_runs(tmp_path)._repr_html_()
    assert "<b>[red]x" not in shown
    assert "&lt;b&gt;[red]x" in shown


def test_no_folder_and_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder"):
        list_runs(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no run in"):
        list_runs(tmp_path)
