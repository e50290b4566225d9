"""Resume is exact in every way of feeding data: mixed, packed, streamed, with a cache that is gone, on two processes."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from running import losses, write_recipe, xtune


def mixed(rows: Path, other: Path) -> list[dict[str, Any]]:
    return [
        {"source": str(rows), "weight": [0.7, 0.4]},
        {"source": str(other), "weight": [0.3, 0.6]},
    ]


def hashes(run: Path) -> list[str]:
    files = [run / "metrics.jsonl", *run.glob("adapter/*.safetensors")]
    assert len(files) == 2
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def kill_after_a_checkpoint(recipe: Path, run: Path) -> None:
    """SIGKILL a run before its end; once more from nothing where a busy machine looked too late."""
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-m", "xtune", "train", str(recipe)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while child.poll() is None and not any((run / "checkpoints").glob("step-*")):
            time.sleep(0.005)
        was_alive = child.poll() is None
        child.kill()
        child.wait()
        if was_alive:
            return
        shutil.rmtree(run)
    pytest.fail("the run was over five times before it could be killed; give it more steps")


@pytest.mark.parametrize(
    ("streaming", "packing", "weights"),
    [
        pytest.param(False, True, True, id="mixed-packed"),
        pytest.param(True, False, False, id="streamed", marks=pytest.mark.slow),
        pytest.param(True, True, True, id="streamed-mixed-packed"),
    ],
)
def test_a_killed_run_ends_with_the_uninterrupted_runs_bytes(
    streaming: bool,
    packing: bool,
    weights: bool,
    tmp_path: Path,
    tiny_model: Path,
    rows_file: Path,
    held_out_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    changes = {
        "data.train": mixed(rows_file, held_out_file) if weights else str(rows_file),
        "data.streaming": streaming,
        "data.packing": packing,
        "train.max_steps": 60,
        "train.save_every": 3,
    }
    recipes = {}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        recipes[name] = write_recipe(tmp_path / name, tiny_model, rows_file, changes)
    done = xtune("train", str(recipes["whole"]))
    assert done.returncode == 0, done.stderr
    kill_after_a_checkpoint(recipes["killed"], tmp_path / "killed" / "run")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # a stream makes none
    again = xtune("train", str(recipes["killed"]), "--resume")
    assert again.returncode == 0, again.stderr
    assert "Resuming after step" in again.stdout
    assert hashes(tmp_path / "killed" / "run") == hashes(tmp_path / "whole" / "run")


def test_two_processes_stream_what_one_process_streams(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    changes = {
        "data.train": mixed(rows_file, held_out_file),
        "data.streaming": True,
        "model.dtype": "float32",
        "train.micro_batch_size": 2,
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = xtune("train", str(write_recipe(tmp_path / "one", tiny_model, rows_file, changes)))
    two = xtune(
        "train", str(write_recipe(tmp_path / "two", tiny_model, rows_file, changes)), processes=2
    )
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert losses(tmp_path / "two" / "run") == pytest.approx(
        losses(tmp_path / "one" / "run"), abs=1e-5
    )
