"""Resume is exact: a run killed at any moment ends with the uninterrupted run's bytes."""

import hashlib
import json
import os
import pty
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from running import xtune

RECIPE = """\
stage: sft
model: {{name: {model}}}
method: {{{options}}}
data: {{train: {train}, evaluate: {held_out}, max_tokens: 64}}
train: {{learning_rate: 0.003, max_steps: 40, batch_size: 8, micro_batch_size: {rows}, save_every: 4, evaluate_every: 10, optimizer: adamw, neftune_alpha: 5}}
run: {{folder: {folder}, seed: 7}}
{memory}
"""

METHODS = {
    "lora": "type: lora, rank: 4, dropout: 0.1",
    "full": "type: full",
    "qlora": "type: qlora, rank: 4, dropout: 0.1",
    "full, streamed": "type: full",
}
MEMORY = {
    "lora": "memory: {base: host}",
    "qlora": "memory: {frugal_layers: true, tile_tokens: 24, checkpoints: disk, base: disk}",
    "full, streamed": "memory: {frugal_layers: true, tile_tokens: 24, base: host}",
}


TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the terminal that it was given its session's, and becomes the command."""


def write_recipe(path: Path, method: str, model: Path, train: Path, held_out: Path) -> Path:
    text = RECIPE.format(
        model=model,
        options=METHODS[method],
        rows=8 if "streamed" in method else 4,  # a step of layers in host memory is one pass
        train=train,
        held_out=held_out,
        folder=path.parent / path.stem,
        memory=MEMORY.get(method, ""),
    )
    path.write_text(text, encoding="utf-8")
    return path


def command(recipe: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "xtune", "train", str(recipe), *more]


def run(recipe: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return xtune("train", str(recipe), *more)


def result_hashes(folder: Path) -> dict[str, str]:
    files = [
        folder / "metrics.jsonl",
        *folder.glob("adapter/*.safetensors"),
        *folder.glob("model/*.safetensors"),
    ]
    assert len(files) >= 2
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def kill_when(recipe: Path, ready: Callable[[], bool], delay_s: float, *more: str) -> bool:
    """Start the run, wait for a condition and a delay, SIGKILL it; whether it was still alive then."""
    child = subprocess.Popen(
        command(recipe, *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        while child.poll() is None and not ready():
            time.sleep(0.005)
        time.sleep(delay_s)
        alive = child.poll() is None
    finally:
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
        child.wait()
    return alive


def kill_early(recipe: Path, ready: Callable[[], bool], delay_s: float) -> None:
    """SIGKILL a new run before its end; once more from nothing where a busy machine looked too late."""
    for _ in range(5):
        if kill_when(recipe, ready, delay_s):
            return
        shutil.rmtree(recipe.parent / recipe.stem)
    pytest.fail("the run was over five times before it could be killed; give it more steps")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("lora", marks=pytest.mark.slow),
        "full",
        "qlora",
        pytest.param("full, streamed", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_twice_ends_with_the_uninterrupted_runs_bytes(
    method: str, tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    whole = write_recipe(tmp_path / "whole.yaml", method, tiny_model, rows_file, held_out_file)
    killed = write_recipe(tmp_path / "killed.yaml", method, tiny_model, rows_file, held_out_file)
    assert run(whole).returncode == 0
    checkpoints = tmp_path / "killed" / "checkpoints"
    delays = random.Random(method)
    kill_early(killed, lambda: any(checkpoints.glob("step-*")), delays.uniform(0, 0.15))
    kill_when(
        killed,
        lambda: len(list(checkpoints.glob("*-0000[123]*"))) > 1,
        delays.uniform(0, 0.1),
        "--resume",
    )
    done = run(killed, "--resume")
    assert done.returncode == 0, done.stderr
    assert result_hashes(tmp_path / "killed") == result_hashes(tmp_path / "whole")


def test_resuming_a_finished_run_says_so_and_changes_nothing(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", "lora", tiny_model, rows_file, held_out_file)
    assert run(recipe).returncode == 0
    before = result_hashes(tmp_path / "r")
    again = run(recipe, "--resume")
    assert again.returncode == 0
    assert "already complete" in again.stdout
    assert result_hashes(tmp_path / "r") == before
    refused = run(recipe)
    assert refused.returncode == 2
    assert "run.folder=" in refused.stderr
    assert "Traceback" not in refused.stderr


def wait_for_first_step(
    child: "subprocess.Popen[Any]", folder: Path, reading: Sequence[int] = ()
) -> None:
    """Wait until a run has written its first step, or has ended; what it writes to a terminal meanwhile is read."""
    metrics = folder / "metrics.jsonl"
    while child.poll() is None and not (metrics.exists() and metrics.stat().st_size > 0):
        for terminal in select.select(reading, [], [], 0.005)[0]:
            os.read(terminal, 65536)


def test_ctrl_c_saves_and_says_how_to_go_on(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    whole = write_recipe(tmp_path / "whole.yaml", "lora", tiny_model, rows_file, held_out_file)
    stopped = write_recipe(tmp_path / "stopped.yaml", "lora", tiny_model, rows_file, held_out_file)
    assert run(whole).returncode == 0
    child = subprocess.Popen(
        command(stopped),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    wait_for_first_step(child, tmp_path / "stopped")
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert any((tmp_path / "stopped" / "checkpoints").glob("step-*"))
    assert run(stopped, "--resume").returncode == 0
    assert result_hashes(tmp_path / "stopped") == result_hashes(tmp_path / "whole")


def test_a_closed_terminal_saves_and_a_resumed_run_ends_with_the_same_bytes(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    """The run's terminal is a real one, whose other end is closed: SIGHUP, and whatever is written then is an error (EIO)."""
    whole = write_recipe(tmp_path / "whole.yaml", "lora", tiny_model, rows_file, held_out_file)
    stopped = write_recipe(tmp_path / "stopped.yaml", "lora", tiny_model, rows_file, held_out_file)
    assert run(whole).returncode == 0
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        # a session of its own, whose terminal is the one that is closed
        [sys.executable, "-c", TERMINAL, *command(stopped)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.close(theirs)
    wait_for_first_step(child, tmp_path / "stopped", reading=[ours])
    os.close(ours)
    assert child.wait(timeout=300) == 130
    status = json.loads((tmp_path / "stopped" / "status.json").read_text(encoding="utf-8"))
    assert status["state"] == "interrupted"
    assert any((tmp_path / "stopped" / "checkpoints").glob("step-*"))
    assert run(stopped, "--resume").returncode == 0
    assert result_hashes(tmp_path / "stopped") == result_hashes(tmp_path / "whole")


def test_a_run_under_nohup_goes_on_when_its_terminal_is_closed(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    recipe = write_recipe(tmp_path / "kept.yaml", "lora", tiny_model, rows_file, held_out_file)
    child = subprocess.Popen(
        ["nohup", *command(recipe)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_first_step(child, tmp_path / "kept")
    child.send_signal(signal.SIGHUP)
    assert child.wait(timeout=300) == 0
    assert (tmp_path / "kept" / "adapter").is_dir()


def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_used(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    whole = write_recipe(tmp_path / "whole.yaml", "lora", tiny_model, rows_file, held_out_file)
    hurt = write_recipe(tmp_path / "hurt.yaml", "lora", tiny_model, rows_file, held_out_file)
    assert run(whole).returncode == 0
    kill_early(hurt, lambda: len(list((tmp_path / "hurt" / "checkpoints").glob("step-*"))) > 1, 0.0)
    newest = max((tmp_path / "hurt" / "checkpoints").glob("step-*"))
    content = bytearray((newest / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "weights.safetensors").write_bytes(content)
    done = run(hurt, "--resume")
    assert done.returncode == 0, done.stderr
    assert f"{newest.name} is damaged" in " ".join(done.stdout.split())
    assert result_hashes(tmp_path / "hurt") == result_hashes(tmp_path / "whole")
