"""Memory that runs out in spite of the plan, in a process that the system really limits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from running import losses, metrics
from short_of_memory import Told, no_room_in_pass, run

from xtune.kernels.no_room import is_out_of_memory, what_ran_out

SQUEEZED = Path(__file__).parents[1] / "support" / "squeezed.py"


def squeezed(folder: Path, room_mib: int, *changes: str) -> subprocess.CompletedProcess[str]:
    # the threshold makes the C library give every large block back to the system, and ask for it again
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "262144"}
    short = ["model.dtype=float32", "data.packing=true", "data.max_rows=160", "data.evaluate=null"]
    steps = ["train.max_steps=2", "train.evaluate_every=null", "train.save_every=100"]
    return subprocess.run(
        [sys.executable, str(SQUEEZED), str(folder), str(room_mib), *short, *steps, *changes],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="limits and allocator of Linux")
def test_a_run_without_room_goes_on_after_its_last_step_with_a_smaller_plan(tmp_path: Path) -> None:
    done = squeezed(tmp_path / "run", 220)
    assert done.returncode == 0, done.stderr
    assert "said: Memory ran out in step 2. The run goes on after step 1 with: " in done.stdout
    assert "said: Resuming after step 1.\nmodels of attempts before: 0\n" in done.stdout
    found = losses(tmp_path / "run")
    assert len(found) == 2
    assert found[1] < found[0]
    plan = json.loads((tmp_path / "run" / "plan.json").read_text(encoding="utf-8"))
    assert plan["choices"]["micro_batch_size"]["value"] < 16
    assert any("Memory ran out in step 2" in note for note in plan["notes"])


def test_where_memory_runs_out_in_an_evaluation_the_step_before_it_is_not_lost(
    tmp_path: Path,
) -> None:
    with no_room_in_pass(1, training=False):
        said = run(tmp_path / "short").said
    (sentence,) = [each for each in said if "ran out" in each]
    assert sentence.startswith(
        "Memory ran out in the evaluation after step 2. The run goes on after step 2 with: "
    )
    # the same as if somebody had stopped it there and gone on with that plan
    stopped = tmp_path / "stopped"
    run(stopped, "train.save_every=1", told=Told(step=2, error=KeyboardInterrupt()))
    shutil.copy(tmp_path / "short" / "plan.json", stopped / "plan.json")
    assert "Resuming after step 2." in run(stopped, resume=True).said
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "short" / name).read_bytes() == (stopped / name).read_bytes()
    # and every number is there once, the evaluation's with its own rounding
    for one, other in zip(metrics(tmp_path / "short"), metrics(stopped), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_memory_that_runs_out_while_a_step_is_saved_ends_nothing(tmp_path: Path) -> None:
    told = Told(step=4, error=torch.OutOfMemoryError("CUDA out of memory."))
    said = run(tmp_path / "run", told=told).said
    assert any(
        "Memory ran out while step 4 was saved. The run goes on after step 4 with: " in each
        for each in said
    )
    assert len(losses(tmp_path / "run")) == 4
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


def test_other_errors_are_not_taken_for_a_shortage() -> None:
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError) as huge:
        torch.empty(2**60)
    assert is_out_of_memory(huge.value)


@pytest.mark.parametrize(
    ("text", "whose"),
    [
        ("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in the docs", "device"),
        ("CUDA driver error: out of memory", "device"),
        ("HIP error: out of memory", "device"),
        ("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB).", "device"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasGemmEx(...)`", "device"),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", "device"),
        ("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`", "device"),
        ("unable to mmap 4096 bytes from file <x>: Cannot allocate memory (12)", "host"),
        ("CUDA error: an illegal memory access was encountered", None),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(...)`", None),
    ],
)  # fmt: skip
def test_whose_memory_ran_out_is_read_from_the_words_of_libraries(
    text: str, whose: str | None
) -> None:
    assert what_ran_out(RuntimeError(text)) == whose
    assert what_ran_out(torch.AcceleratorError(text)) == whose
    assert what_ran_out(ValueError(text)) is None


def test_a_run_on_the_processor_asks_cuda_for_nothing() -> None:
    """Its peaks would be asked for from a device that is started for the question, and has its context's bytes from then on."""
    code = (
        "import torch; torch.cuda.is_available = lambda: True\n"
        "from xtune.train.reserve import held_here, measure_afresh\n"
        "from xtune.train.shortage import collect\n"
        "measure_afresh(); collect(); print(held_here())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("None\n", 0), done.stderr
