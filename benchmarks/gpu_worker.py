"""A process of the GPU benchmark: takes cells as JSON, one a line, and answers each with one line of JSON.

    python -m benchmarks.gpu_worker < cells.jsonl

`benchmarks.gpu` starts it; a person rarely does. What takes longest to import is imported before the first cell comes, and
CUDA is left alone until then, so that a process may wait while another measures.
"""

import gc
import json
import os
import resource
import statistics
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from xtune.hardware import prepare_allocator

GIB = 2**30
CAP_BYTES = round(7.2 * GIB)
"""What an 8 GB card leaves: 0.8 GiB are for the CUDA context and what the allocator holds without using it."""

WARMUP_TOKENS = 256
"""Of the first, short step, which makes the optimizer's states and loads the kernels."""

TRACEBACK = 6000
"""Characters of an error that are kept, from its end: a device may be at hand only once."""

SMALLEST = 256
"""Tokens below which a stack that runs out of memory is not tried again."""


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not an answer
    torch = import_ahead()
    for line in sys.stdin:
        task = json.loads(line)
        if task["cell"]["stack"] == "ours":
            prepare_allocator()  # torch reads it when CUDA starts
        answer = _answer(torch, task)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


AHEAD = (
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen3.modeling_qwen3",
    "torch._inductor.compile_fx",
    "accelerate",
    "xtune.plan.resolve",
)
"""What cells want, as far as it leaves CUDA alone. bitsandbytes does not, and peft imports it; but most of their import is
torch's compiler."""


def import_ahead() -> Any:
    """Import what is slow to import, torch above all, which is returned."""
    for name in AHEAD:
        import_module(name)
    return import_module("torch")


def _answer(torch: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A cell's result; an error is one too."""
    try:
        return run(torch, given)
    except Exception as error:  # noqa: BLE001 - whatever a cell does must not lose the others
        text = (str(error).strip().splitlines() or [""])[0]
        outcome = "oom" if _is_out_of_memory(torch, error) else "failed"
        detail = f"{type(error).__name__}: {text}"[:300]
        where = traceback.format_exc()[-TRACEBACK:]
        peaks = _peaks(torch, given["device"])
        return {"outcome": outcome, "detail": detail, "traceback": where, **peaks}


def run(torch: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Run one cell in this process.

    Args:
        torch: The module.
        given: `cell` (a `Cell` as JSON), `device`, `tiny`, `folder`.
    """
    from benchmarks.gpu_cells import Cell
    from benchmarks.gpu_shapes import Task

    cell = Cell(**given["cell"])
    task = Task(cell=cell, device=given["device"], tiny=given["tiny"])
    folder = Path(given["folder"])
    device = torch.device(given["device"])
    if _on(device):
        device = torch.device("cuda", torch.cuda.current_device())
        _limit(torch, device, CAP_BYTES if cell.capped else None)
    try:
        if cell.table == "loading":
            return _load(torch, task, device, folder)
        return _train(torch, task, device, folder)
    finally:
        gc.collect()
        if _on(device):
            torch.cuda.empty_cache()


def _limit(torch: Any, device: Any, size: int | None) -> None:
    """A hard limit on what torch's allocator may hold; None: the whole device."""
    total = torch.cuda.get_device_properties(device).total_memory
    fraction = 1.0 if size is None else min(1.0, size / total)
    torch.cuda.set_per_process_memory_fraction(fraction, device)


def _outside(torch: Any, device: Any) -> int:
    """Bytes of the device that are in use, but not by torch's allocator: this process's context, and other programs.

    Paged states are left out: a card that is full has them in host memory, one with room to spare keeps them.
    """
    torch.zeros(1, device=device)
    torch.cuda.synchronize(device)
    free, total = torch.cuda.mem_get_info(device)
    return max(0, int(total - free - torch.cuda.memory_reserved(device)) - _paged())


def _paged() -> int:
    """Bytes that bitsandbytes has in memory which the driver moves between device and host."""
    found = sys.modules.get("bitsandbytes.functional")
    if found is None:
        return 0
    return sum(each.nbytes for each in found.GlobalPageManager.get_instance().paged_tensors)


def _train(torch: Any, task: Any, device: Any, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    if task.cell.stack == "ours":
        from benchmarks.gpu_ours import build_ours
        from benchmarks.gpu_shapes import planned

        whole = torch.cuda.get_device_properties(device).total_memory if _on(device) else 0
        plan = planned(task, vram_bytes=whole or 80 * GIB)
        stack = build_ours(task.fields(), plan, device, folder)
        found = {**_predicted(plan), "seconds_building": time.perf_counter() - began}
        return {**found, **_steps(torch, task, stack, device, task.tokens)}
    from benchmarks.gpu_stacks import build_rival

    rank = task.method().get("rank", 0)
    fields = task.fields()
    stack = build_rival(
        task.cell.stack, fields, rank=rank, device=device, tokens=task.tokens, folder=folder
    )
    found = {"seconds_building": time.perf_counter() - began}
    tokens = task.tokens
    while True:
        try:
            return {**found, **_steps(torch, task, stack, device, tokens)}
        except RuntimeError as error:
            if not _is_out_of_memory(torch, error) or tokens // 2 < SMALLEST:
                raise
        # outside the handler: the error held what the step had made
        found["out_of_memory_at"] = [*found.get("out_of_memory_at", []), tokens]
        tokens //= 2
        for parameter in stack.model.parameters():
            parameter.grad = None
        gc.collect()
        torch.cuda.empty_cache()


def _predicted(plan: Any) -> dict[str, Any]:
    """What xtune computed, and what it chose."""
    return {
        "predicted_allocated_bytes": plan.predicted.tensor_bytes,
        "predicted_peak_bytes": plan.predicted.peak_bytes,
        "predicted_whole_bytes": plan.whole.peak_bytes,
        "predicted_items": dict(plan.predicted.items),
        "choices": {name: choice.value for name, choice in plan.plan.choices().items()},
    }


def _steps(torch: Any, task: Any, stack: Any, device: Any, tokens: int) -> dict[str, Any]:
    """A short step, whole steps whose memory and time count, and the loss after them."""
    from benchmarks.gpu_stacks import is_finite_and_falls, random_ids

    ids = random_ids(task.fields()["vocab_size"], tokens, device)
    stack.step(ids[:, : min(tokens, WARMUP_TOKENS)])
    if _on(device):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    losses, seconds = [], []
    for _ in range(task.cell.steps):
        began = time.perf_counter()
        losses.append(stack.step(ids))  # reading the loss waits for the device ...
        if _on(device):
            torch.cuda.synchronize(device)  # ... and this for the update
        seconds.append(time.perf_counter() - began)
    peaks = _peaks(torch, str(device))
    context = _outside(torch, device) if _on(device) else None
    with torch.no_grad():
        losses.append(float(stack.loss(ids)))
    detail = ""
    if not is_finite_and_falls(losses):
        detail = "the loss is not finite or did not fall on a repeated sequence"
    elif task.cell.capped and (peaks["reserved_bytes"] or 0) > CAP_BYTES:
        detail = "the allocator held more than its limit"
    return {
        "outcome": "wrong" if detail else "ok",
        "detail": detail,
        "tokens": tokens,
        "layers": task.fields()["num_hidden_layers"],
        # the first of several steps is still warming up
        "tokens_per_s": tokens / statistics.median(seconds[1:] or seconds),
        "step_s": seconds,
        "losses": losses,
        "loss_kind": stack.loss_kind,
        "outside_bytes": context,
        "paged_bytes": _paged(),
        "host_peak_bytes": _host_peak(),
        **peaks,
    }


def _load(torch: Any, task: Any, device: Any, folder: Path) -> dict[str, Any]:
    """Read a model from files, quantised on the way; the peaks of the device and of the process."""
    from benchmarks.gpu_stacks import write_random_model

    files = folder / "loading"
    if not (files / "model.safetensors.index.json").exists():
        write_random_model(task.fields(), files, device)
        gc.collect()
    if _on(device):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    host = _host_peak()
    began = time.perf_counter()
    load = _load_ours if task.cell.stack == "ours" else _load_plain
    model = load(torch, files, device)
    seconds = time.perf_counter() - began
    peaks = _peaks(torch, str(device))
    gc.collect()
    held = torch.cuda.memory_allocated(device) if _on(device) else None
    layers = len(model.model.layers)
    return {
        "outcome": "ok",
        "detail": "",
        "tokens": 0,
        "layers": layers,
        "seconds_building": seconds,
        "held_bytes": held,
        "host_peak_bytes": _host_peak(),
        "host_growth_bytes": _host_peak() - host,
        **peaks,
    }


def _load_ours(torch: Any, files: Path, device: Any) -> Any:
    from xtune.models.load import Loading, load_base
    from xtune.recipe import QLoRA
    from xtune.recipe.models import Model

    del torch
    loading = Loading(
        model=Model(name=str(files)),
        device=device.type,
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        attention="sdpa",
        quantization=QLoRA(type="qlora"),
    )
    return load_base(loading)


def _load_plain(torch: Any, files: Path, device: Any) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return AutoModelForCausalLM.from_pretrained(
        files, dtype=torch.bfloat16, quantization_config=settings, device_map={"": str(device)}
    )


def _on(device: Any) -> bool:
    return bool(device.type == "cuda")


def _is_out_of_memory(torch: Any, error: BaseException) -> bool:
    # torch's own error, cuBLAS's and bitsandbytes' plain ones
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "alloc_failed" in text


def _peaks(torch: Any, device: str) -> dict[str, Any]:
    """Peak bytes of the allocator; a CPU's are not known to torch."""
    if not device.startswith("cuda") or not torch.cuda.is_initialized():
        return {"allocated_bytes": None, "reserved_bytes": None}
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def _host_peak() -> int:
    """Most bytes that this process held in host memory so far; Linux counts in KiB."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":
    main()
