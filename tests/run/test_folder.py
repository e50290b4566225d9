"""A run folder has one holder, one run, and one recipe."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xtune.errors import RunError
from xtune.run.folder import RunFolder


def start_run(path: Path) -> None:
    with RunFolder.open(path, resume=False) as folder:
        folder.write_start(recipe_yaml="stage: sft\n", plan={}, environment={}, data={})
        folder.write_status("running", step=3, total_steps=9)


def test_a_folder_in_use_by_another_process_is_refused_until_that_process_is_killed(
    tmp_path: Path,
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from xtune.run.folder import RunFolder;"
        "f = RunFolder.open(Path(sys.argv[1]), resume=False); print('held', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"in use by another run .process {child.pid}"):
            RunFolder.open(tmp_path / "r", resume=True)
        with pytest.raises(RunError, match="in use by another run"):
            RunFolder(tmp_path / "r").check_free(resume=False)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    RunFolder.open(tmp_path / "r", resume=True).close()


def test_a_second_run_in_a_folder_is_refused_and_told_how_to_resume(tmp_path: Path) -> None:
    start_run(tmp_path / "r")
    with pytest.raises(RunError, match=r"already holds a run, running at step 3 of 9.*--resume"):
        RunFolder.open(tmp_path / "r", resume=False)
    RunFolder.open(tmp_path / "r", resume=True).close()


def test_asking_whether_a_folder_is_free_makes_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path / "r").check_free(resume=False)
    assert not (tmp_path / "r").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"not empty and holds no run .found thesis\.tex"):
        RunFolder.open(tmp_path, resume=False)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("")
    with pytest.raises(RunError, match="is a file"):
        RunFolder.open(tmp_path / "r", resume=False)


def test_resuming_with_another_recipe_names_every_key_that_differs(tmp_path: Path) -> None:
    start_run(tmp_path / "r")
    old = {"train": {"learning_rate": 1e-4, "max_minutes": 5}, "run": {"seed": 0}}
    new = {"train": {"learning_rate": 2e-4, "max_minutes": 9}, "run": {"seed": 1}}
    with (
        RunFolder.open(tmp_path / "r", resume=True) as folder,
        pytest.raises(RunError, match=r"different now: run\.seed, train\.learning_rate\."),
    ):
        folder.check_same_run(old=old, new=new, old_files={}, new_files={})


def test_resuming_with_changed_data_names_the_file(tmp_path: Path) -> None:
    start_run(tmp_path / "r")
    with (
        RunFolder.open(tmp_path / "r", resume=True) as folder,
        pytest.raises(RunError, match=r"data of the run .* has changed.*: a\.jsonl"),
    ):
        folder.check_same_run(
            old={},
            new={},
            old_files={"a.jsonl": "1", "b": "2"},
            new_files={"a.jsonl": "3", "b": "2"},
        )


def test_files_known_by_samples_that_were_written_to_since_are_named(tmp_path: Path) -> None:
    files = [
        {"name": "hashed.jsonl", "sha256": "ab", "written_ns": None},
        {"name": "left.jsonl", "sha256": "cd", "written_ns": 5},
        {"name": "written.jsonl", "sha256": "ef", "written_ns": 5},
    ]
    with RunFolder.open(tmp_path / "r", resume=False) as folder:
        folder.write_start(
            recipe_yaml="stage: sft\n", plan={}, environment={}, data={"files": files}
        )
        now = {"hashed.jsonl": None, "left.jsonl": 5, "written.jsonl": 6}
        assert folder.rewritten(now) == ["written.jsonl"]
        assert folder.data_files()["left.jsonl"] == "cd"
