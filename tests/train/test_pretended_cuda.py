"""What runs only on CUDA, on a device that is pretended (tests/support/pretend_cuda.py): its own tests, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pretend_cuda
import pytest

pytestmark = pytest.mark.skipif(
    pretend_cuda.compiler() is None,
    reason="g++, Linux and a torch without CUDA make the pretended device",
)

ROOT = Path(__file__).parents[2]
TECHNIQUES = "tests/gpu/test_techniques.py::test_a_technique_gives_the_losses_of_none"
SCHEDULES = "tests/gpu/test_schedules.py"
ORDERS = f"{SCHEDULES}::test_every_order_that_waits_allow_gives_the_same_bits"


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
    said = pretended("tests/gpu/test_pretended.py", f"{TECHNIQUES}[QLoRA, all on the host]")
    assert "skipped" not in said


def test_streams_that_do_their_work_late_give_the_same_bits() -> None:
    """Of many setups and orders, which the test below has, the one with the most streams and the most patient order."""
    told = [
        "test_a_late_copy_gives_other_numbers_where_nothing_waits_for_it",
        "test_room_given_back_too_early_is_told_of",
        "test_slices_of_a_head_are_each_used_before_the_next_takes_their_room",
        "test_disk_bytes_pass_through_memory_that_the_copy_before_has_left",
    ]
    said = pretended(
        f"{ORDERS}[all on the host-as late as may be]", *(f"{SCHEDULES}::{name}" for name in told)
    )
    assert "skipped" not in said


def test_streams_that_do_not_wait_for_one_another_are_told_of() -> None:
    """Every wait in the code, each ignored in turn."""
    waits = "tests/gpu/test_ignored_waits.py::test_a_wait_that_is_ignored_is_missed"
    assert "skipped" not in pretended(waits)


@pytest.mark.slow
def test_every_test_for_a_gpu_passes_on_a_pretended_one() -> None:
    said = pretended("tests/gpu")
    assert "passed" in said
