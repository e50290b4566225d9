"""Fifty SIGKILLs at random moments, then the uninterrupted run's bytes: the promise of resume, at length."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import write_recipe, xtune

KILLS = 50


def hashes(run: Path) -> dict[str, str]:
    """SHA-256 of what a run is judged by."""
    files = [run / "metrics.jsonl", run / "adapter" / "adapter_model.safetensors"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_fifty_kills_at_random_moments_change_nothing(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    changes = {
        "method": {"type": "lora", "rank": 4, "dropout": 0.1},
        "data.evaluate": str(held_out_file),
        "train.max_steps": 1500,
        "train.save_every": 7,
        "train.evaluate_every": 50,
        "train.neftune_alpha": 5,
    }
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_recipe(tmp_path / name, tiny_model, rows_file, changes)
    assert xtune("train", str(tmp_path / "whole" / "recipe.yaml")).returncode == 0

    moments = random.Random(0)
    command = [
        sys.executable,
        "-m",
        "xtune",
        "train",
        str(tmp_path / "killed" / "recipe.yaml"),
        "--resume",
    ]
    progress = tmp_path / "killed" / "run" / "metrics.jsonl"
    killed = 0
    while killed < KILLS:
        before = progress.stat().st_size if progress.exists() else 0
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if (
            moments.random() < 0.8
        ):  # most kills while training and saving, the others in the start-up
            while child.poll() is None and (
                not progress.exists() or progress.stat().st_size <= before
            ):
                time.sleep(0.01)
            time.sleep(moments.uniform(0.0, 1.0))
        else:
            time.sleep(moments.uniform(0.5, 6.0))
        finished = child.poll() is not None
        if not finished:
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.wait()
        if finished:
            break
    assert killed == KILLS, f"the run was over after {killed} kills; give it more steps"
    assert xtune("train", str(tmp_path / "killed" / "recipe.yaml"), "--resume").returncode == 0
    assert hashes(tmp_path / "killed" / "run") == hashes(tmp_path / "whole" / "run")
