"""`benchmarks.gpu` from its command to its page on a pretended CUDA device: whatever is not the GPU's own works."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pretend_cuda
import pytest

from benchmarks import gpu_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        pretend_cuda.compiler() is None,
        reason="g++, Linux and a torch without CUDA make the pretended device",
    ),
]

ROOT = Path(__file__).parents[2]


def results(folder: Path, *words: str, limit_bytes: int = 0) -> list[dict[str, Any]]:
    """The cells of a benchmark in toy sizes; no process of it has found a race."""
    races, out = folder / "races", folder / "out"
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--time-limit-s", "1500", *words]
    done = subprocess.run(
        [*command, "--out", str(out)],
        cwd=ROOT,
        env=pretend_cuda.environment(races, limit_bytes=limit_bytes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert not races.exists(), races.read_text(encoding="utf-8")
    document = folder / "measured.md"
    document.write_text(f"{gpu_page.BEGIN}\n{gpu_page.END}\n", encoding="utf-8")
    assert gpu_page.main([str(out), "--into", str(document)]) == 0
    assert "# pretended, 8.00 GiB" in document.read_text(encoding="utf-8")
    cells: list[dict[str, Any]] = json.loads((out / "gpu.json").read_text(encoding="utf-8"))[
        "cells"
    ]
    return cells


def test_goals_speeds_and_loading_end_well(tmp_path: Path) -> None:
    found = results(tmp_path, "--tables", "goals,speed,loading", "--only", "llama-2-7b")
    assert {each["table"] for each in found} == {"goals", "speed", "loading"}
    assert {each["outcome"] for each in found} == {"ok"}
    measured = [each["allocated_bytes"] for each in found]
    assert all(measured)


def test_a_cell_that_runs_out_of_memory_is_a_result_and_the_next_one_runs(tmp_path: Path) -> None:
    found = results(
        tmp_path, "--tables", "goals,speed", "--only", "llama-2-7b", limit_bytes=1 << 17
    )
    outcomes = {(each["table"], each["stack"]): each["outcome"] for each in found}
    # cells of the table `speed` have no limit
    assert outcomes == {("goals", "ours"): "oom", ("speed", "ours"): "ok", ("speed", "plain"): "ok"}
