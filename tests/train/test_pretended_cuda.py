"""What runs only on CUDA, on a device that is pretended (tests/support/pretend_cuda.py): its own tests, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pretend_cuda
import pytest

pytestmark = pytest.mark.skipif(
    pretend_cuda.compiler() is None, reason="g++ and Linux make the pretended device"
)

ROOT = Path(__file__).parents[2]
TECHNIQUES = "tests/gpu/test_techniques.py::test_a_technique_gives_the_losses_of_none"


def pretended(*tests: str) -> str:
    """Run tests for a GPU without one; returns what pytest said."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "XTUNE_GPU_TESTS": "pretend", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_steps_mix_no_devices_and_no_copy_is_used_before_it_is_there() -> None:
    """Streamed layers, frugal ones, inputs, ends and states on the host, on the second device of two."""
    said = pretended(
        "tests/gpu/test_pretended.py",
        "tests/gpu/test_ends.py",
        f"{TECHNIQUES}[QLoRA, all on the host]",
        f"{TECHNIQUES}[full, layers in host memory]",
    )
    assert "skipped" not in said


@pytest.mark.slow
def test_every_test_for_a_gpu_passes_on_a_pretended_one() -> None:
    said = pretended("tests/gpu")
    assert "passed" in said
