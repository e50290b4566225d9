"""Kernels that a forward and backward pass asks for, xtune's beside plain transformers, PEFT and bitsandbytes. Times nothing.

    python -m benchmarks.launches                 # on a CUDA device; nothing is measured that depends on its speed or load
    python -m benchmarks.launches --device cpu    # without one

Where the host asks for kernels more slowly than a fast GPU runs them, their number is the time of a step. Counted is what
reaches torch's dispatcher and does work: no views, no empty tensors. The count depends on a model's layers and tokens, not on
its width, so the cells are those of `benchmarks.gpu`'s table `speed` with their plans, and their models are narrow. An
operation counts once, however many kernels it is on a device. On a processor PEFT casts its inputs once more, in both.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu_cells import Cell, all_cells
from benchmarks.gpu_ours import build_ours
from benchmarks.gpu_shapes import Task, planned
from benchmarks.gpu_stacks import Stack, build_rival, random_ids
from xtune.memory import GIB

STACKS = ("ours", "plain")

NARROW: dict[str, int] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
"""Sizes that change no count."""

CARD_BYTES = 80 * GIB
"""Of a card on which nothing has to be moved away."""

NAMESPACES = ("aten", "bitsandbytes")
IDLE = {
    "detach", "alias", "lift_fresh", "set_", "promote_types", "is_same_size", "record_stream", "_unsafe_view",
}  # fmt: skip
"""Operations of aten that are no view and still run nothing; those that make empty tensors come on top."""


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, by name, the operations that do work while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, _, name = func._schema.name.partition("::")
        idle = func.is_view or name in IDLE or "empty" in name
        if namespace in NAMESPACES and not idle:
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


def cells() -> list[Cell]:
    """The stacks that are always there, with the last model of the table `speed`."""
    found = [each for each in all_cells(full_depth=False) if each.table == "speed"]
    return [each for each in found if each.name == found[-1].name and each.stack in STACKS]


def launches(cell: Cell, layers: int, device: torch.device) -> Counter[str]:
    """Operations of one forward and backward pass of a cell's stack with so many layers, by name."""
    task = Task(cell=cell, device=device.type, tiny=False)
    fields = {**task.fields(), **NARROW, "num_hidden_layers": layers}
    with tempfile.TemporaryDirectory() as name:
        stack: Stack
        if cell.stack == "ours":
            stack = build_ours(fields, planned(task, vram_bytes=CARD_BYTES), device, Path(name))
        else:
            stack = build_rival(
                cell.stack,
                fields,
                rank=cell.rank,
                device=device,
                tokens=cell.tokens,
                folder=Path(name),
            )
        ids = random_ids(fields["vocab_size"], cell.tokens, device)
        stack.loss(ids).backward()  # type: ignore[no-untyped-call] # what is made once is there now
        for parameter in stack.model.parameters():
            parameter.grad = None
        counting = Launches()
        with counting:
            stack.loss(ids).backward()  # type: ignore[no-untyped-call]
    return counting.count


def main(arguments: list[str] | None = None) -> int:
    """Print both stacks' counts; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.launches", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--by-name", action="store_true", help="and what a layer asks for, by name")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "benchmarks.launches: torch finds no CUDA device; `--device cpu` counts without one.",
            file=sys.stderr,
        )
        return 2
    device = torch.device("cpu")
    if options.device == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    print("| stack | a layer | beside the layers | 32 layers |\n| --- | ---: | ---: | ---: |")
    for cell in cells():
        one, two = (launches(cell, layers, device) for layers in (1, 2))
        layer, rest = two.total() - one.total(), 2 * one.total() - two.total()
        print(f"| {cell.stack} | {layer} | {rest} | {rest + 32 * layer} |", flush=True)
        if options.by_name:
            for name, count in (two - one).most_common():
                print(f"|   {name} | {count} | | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
