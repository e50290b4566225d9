"""QLoRA of a 7B-sized model under the memory of an 8 GB card: peak memory and speed of two stacks, by length.

    python -m benchmarks.gpu [--quick] [--cap-gib 7.2] [--lengths 512,2048,4096] [--out FOLDER]
    python -m benchmarks.gpu --device cpu --shape tiny --lengths 32,64     # the whole path at toy size

Plain transformers and PEFT against ours (no float32 upcast, logits in chunks, paged 8-bit AdamW): NF4 base
with random weights, LoRA r = 16 on all linear layers, batch 1, gradient checkpointing, one fixed sequence
repeated. Every pair of stack and length runs in a fresh process under a hard limit on the allocator, so that
running out of memory is recorded as such and spoils nothing after it. The limit does not count the CUDA
context: 8 GiB less 0.8 GiB leaves 7.2. Needs torch, transformers, peft and bitsandbytes, nothing else.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

GIB = 2**30
STACKS = ("plain", "ours")
SHAPE_NAMES = ("llama-2-7b", "llama-3.1-8b", "tiny")
LENGTHS = (512, 1024, 2048, 4096, 6144, 8192)
QUICK_LENGTHS = (512, 2048)
TIME_LIMIT_S = 480
"""The whole benchmark ends within 8 minutes; what is left then is recorded as not run."""

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write its two files; returns the exit code."""
    options = _parse(arguments)
    if options.device == "cuda" and not _has_cuda():
        print(
            "benchmarks.gpu needs a CUDA device and torch finds none; "
            "`--device cpu --shape tiny` runs the whole path at toy size.",
            file=sys.stderr,
        )
        return 2
    results = []
    for result in measure(options):
        print(_line(result), flush=True)
        results.append(result)
    report = {"machine": _machine(options), "options": vars(options), "cells": results}
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / "gpu.md").write_text(markdown(report), encoding="utf-8")
    print(f"Written: {folder / 'gpu.json'}, {folder / 'gpu.md'}")
    return 0 if all(each["outcome"] in {"ok", "oom", "not run"} for each in results) else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="two lengths, three timed steps")
    parser.add_argument("--out", default="benchmark-gpu", help="folder for gpu.json and gpu.md")
    parser.add_argument(
        "--cap-gib", type=float, default=7.2, help="limit on the allocator; 0: none"
    )
    parser.add_argument(
        "--lengths", type=_lengths, default=None, help="tokens, with commas between"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shape", choices=SHAPE_NAMES, default="llama-2-7b")
    parser.add_argument(
        "--steps", type=int, default=None, help="timed steps; default 6, 3 with --quick"
    )
    parser.add_argument("--time-limit-s", type=float, default=TIME_LIMIT_S)
    options = parser.parse_args(arguments)
    options.lengths = options.lengths or (QUICK_LENGTHS if options.quick else LENGTHS)
    options.steps = options.steps or (3 if options.quick else 6)
    return options


def _lengths(text: str) -> tuple[int, ...]:
    try:
        lengths = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers") from None
    if min(lengths) < 2:
        raise argparse.ArgumentTypeError("a length below 2 predicts no token")
    return lengths


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run every cell, shortest lengths first; a stack that ran out of memory is not tried at greater lengths."""
    deadline = time.monotonic() + options.time_limit_s
    full: dict[str, int] = {}
    for tokens in sorted(options.lengths):
        for stack in STACKS:
            cell = {"stack": stack, "tokens": tokens}
            left = deadline - time.monotonic()
            if stack in full:
                yield {
                    **cell,
                    "outcome": "not run",
                    "detail": f"out of memory at {full[stack]} tokens",
                }
            elif left <= 0:
                yield {**cell, "outcome": "not run", "detail": "out of time"}
            else:
                result = {**cell, **run_cell({**cell, **_task(options)}, timeout_s=left)}
                if result["outcome"] == "oom":
                    full[stack] = tokens
                yield result


def _task(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "device": options.device,
        "shape": options.shape,
        "cap_gib": options.cap_gib,
        "warmup": 2,
        "steps": options.steps,
    }


def run_cell(task: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Run one cell in a fresh process; however that ends, there is a result."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.gpu_cell", json.dumps(task), str(target)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return {"outcome": "not run", "detail": "out of time"}
        if done.returncode == 0 and target.exists():
            return dict(json.loads(target.read_text(encoding="utf-8")))
        words = done.stderr.strip().splitlines() or ["no message"]
        return {"outcome": "failed", "detail": f"exit code {done.returncode}: {words[-1][:200]}"}


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    machine: dict[str, Any] = {
        "date": date.today().isoformat(),
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "device": "cpu",
    }
    if options.device == "cuda":
        import torch

        properties = torch.cuda.get_device_properties(0)
        machine["device"] = properties.name
        machine["device_bytes"] = properties.total_memory
        machine["compute_capability"] = f"{properties.major}.{properties.minor}"
        machine["cuda"] = torch.version.cuda
    return machine


def _line(cell: dict[str, Any]) -> str:
    if cell["outcome"] != "ok":
        return f"{cell['tokens']:>6} {cell['stack']:<6} {cell['outcome']}: {cell['detail']}"
    return (
        f"{cell['tokens']:>6} {cell['stack']:<6} {_gib(cell['allocated_bytes'])} GiB allocated, "
        f"{_gib(cell['reserved_bytes'])} reserved, {cell['tokens_per_s']:.0f} tokens/s, "
        f"loss {cell['losses'][0]:.3f} to {cell['losses'][-1]:.3f}"
    )


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / GIB:.2f}"


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown page with the command that repeats it."""
    machine, options = report["machine"], report["options"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lengths = ",".join(str(length) for length in options["lengths"])
    cap = f"{options['cap_gib']} GiB" if options["device"] == "cuda" else "none"
    lines = [
        f"# QLoRA of {options['shape']}, {machine['device']}, {machine['date']}",
        "",
        f"`python -m benchmarks.gpu --device {options['device']} --shape {options['shape']} "
        f"--cap-gib {options['cap_gib']} --lengths {lengths} --steps {options['steps']}`",
        "",
        f"{packages}, Python {machine['python']}. NF4 with double quantisation, random weights, LoRA r = 16 on "
        f"all linear layers, batch 1, gradient checkpointing. Limit on the allocator: {cap}.",
        "",
        "| tokens | stack | peak allocated GiB | peak reserved GiB | tokens/s | loss, first to last | outcome |",
        "|---:|---|---:|---:|---:|---|---|",
        *(_row(cell) for cell in report["cells"]),
        "",
    ]
    return "\n".join(lines)


def _row(cell: dict[str, Any]) -> str:
    losses = cell.get("losses")
    speed = f"{cell['tokens_per_s']:.0f}" if "tokens_per_s" in cell else "-"
    loss = f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses else "-"
    outcome = f"{cell['outcome']}: {cell['detail']}" if cell["detail"] else cell["outcome"]
    sizes = f"{_gib(cell.get('allocated_bytes'))} | {_gib(cell.get('reserved_bytes'))}"
    return f"| {cell['tokens']} | {cell['stack']} | {sizes} | {speed} | {loss} | {outcome} |"


if __name__ == "__main__":
    sys.exit(main())
