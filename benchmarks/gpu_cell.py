"""One cell of the GPU benchmark, run in a process of its own: one stack at one length; writes its result as JSON.

    python -m benchmarks.gpu_cell '{"stack": "ours", "shape": "tiny", "tokens": 64, ...}' result.json

`benchmarks.gpu` starts it; a person rarely does.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

GIB = 2**30


def main() -> None:
    """Run the cell that the first argument describes."""
    task = json.loads(sys.argv[1])
    Path(sys.argv[2]).write_text(json.dumps(run(task)), encoding="utf-8")


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Build and time one stack; running out of memory is a result, not an error.

    Raises:
        RuntimeError: Something else went wrong.
    """
    import torch

    device = torch.device(task["device"])
    if device.type == "cuda" and task["cap_gib"]:
        total = torch.cuda.get_device_properties(device).total_memory
        fraction = min(1.0, task["cap_gib"] * GIB / total)
        torch.cuda.set_per_process_memory_fraction(fraction, 0)
    try:
        return _measure(torch, task, device)
    except (
        RuntimeError
    ) as error:  # torch's OutOfMemoryError is one; bitsandbytes raises a plain one
        if "out of memory" not in str(error):
            raise
        return {"outcome": "oom", "detail": str(error).splitlines()[0], **_peaks(torch, device)}


def _measure(torch: Any, task: dict[str, Any], device: Any) -> dict[str, Any]:
    from benchmarks.gpu_stacks import build, is_finite_and_falls, random_ids

    stack = build(task["stack"], task["shape"], device, task["tokens"])
    ids = random_ids(task["shape"], task["tokens"], device)
    built = _peaks(torch, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    losses, seconds = [], []
    for step in range(task["warmup"] + task["steps"]):
        start = time.perf_counter()
        losses.append(stack.step(ids))  # reading the loss waits for the device ...
        if device.type == "cuda":
            torch.cuda.synchronize()  # ... and this for the update
        if step >= task["warmup"]:
            seconds.append(time.perf_counter() - start)
    falls = is_finite_and_falls(losses)
    return {
        "outcome": "ok" if falls else "wrong",
        "detail": "" if falls else "the loss is not finite or did not fall on a repeated sequence",
        "tokens_per_s": task["tokens"] / statistics.median(seconds),
        "step_s": seconds,
        "losses": losses,
        "loss_kind": stack.loss_kind,
        "building": built,
        **_peaks(torch, device),
    }


def _peaks(torch: Any, device: Any) -> dict[str, Any]:
    """Peak bytes: of the allocator on CUDA; on a CPU of the whole process, which is not comparable."""
    if device.type == "cuda":
        return {
            "allocated_bytes": torch.cuda.max_memory_allocated(),
            "reserved_bytes": torch.cuda.max_memory_reserved(),
        }
    return {"allocated_bytes": None, "reserved_bytes": None}


if __name__ == "__main__":
    main()
