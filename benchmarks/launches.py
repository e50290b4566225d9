"""Kernels that a forward and backward pass asks for, their bytes and products, xtune's beside plain transformers, PEFT and bitsandbytes.

    python -m benchmarks.launches                 # on a CUDA device; nothing is measured that depends on its speed or load
    python -m benchmarks.launches --device cpu    # without one

Where the host asks for kernels more slowly than a fast GPU runs them, their number is the time of a step; else it is the bytes
that they read and write and the products of matrices. Counted is what reaches torch's dispatcher and does work: no views, no
empty tensors. The cells are those of `benchmarks.gpu`'s table `speed` with their plans. The number of kernels does not depend on
a model's width, bytes grow with it and products with its square, so the models are narrower by `NARROWER` in all their sizes,
and what is printed is of the whole width. An operation counts once, however many kernels it is on a device; of attention the
products are not counted, nor what it keeps to itself. On a processor PEFT casts its inputs once more, in both. Times nothing.
"""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from benchmarks.gpu_cells import Cell, all_cells
from benchmarks.gpu_ours import build_ours
from benchmarks.gpu_shapes import Task, planned
from benchmarks.gpu_stacks import Stack, build_rival, random_ids
from xtune.memory import GIB

STACKS = ("ours", "plain")

NARROWER = 16
"""By what every size of the model is divided, its rank included: such that all are whole numbers for Llama-3.1-8B."""

NARROW: dict[str, int] = {
    "vocab_size": 128256 // NARROWER,
    "hidden_size": 4096 // NARROWER,
    "intermediate_size": 14336 // NARROWER,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 64,
}
"""Heads are as wide together as they must be; of narrower ones there would be as many kernels."""

CARD_BYTES = 80 * GIB
"""Of a card on which nothing has to be moved away."""

NAMESPACES = ("aten", "bitsandbytes")
IDLE = {
    "detach", "alias", "lift_fresh", "set_", "promote_types", "is_same_size", "record_stream", "_unsafe_view",
}  # fmt: skip
"""Operations of aten that are no view and still run nothing; those that make empty tensors come on top."""


PRODUCTS = {"mm", "addmm", "bmm"}


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, by name, the operations that do work while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        """Read and written: of every tensor that is given or made, once."""

        self.products: Counter[str] = Counter()
        """Operations in products of matrices, two for a number that is multiplied and added."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        namespace, _, name = func._schema.name.partition("::")
        idle = func.is_view or name in IDLE or "empty" in name
        if namespace in NAMESPACES and not idle:
            given = _tensors((args, kwargs))
            used = {id(each): each for each in [*given, *_tensors(result)]}
            self.count[name] += 1
            self.bytes[name] += sum(map(_stored_bytes, used.values()))
            if name in PRODUCTS:
                self.products[name] += 2 * given[-2].numel() * given[-1].shape[-1]
            elif name == "gemm_4bit":
                outputs, _ = args[2]  # the matrix's own shape
                self.products[name] += 2 * args[0].numel() * outputs
        return result


def _tensors(values: Any) -> list[torch.Tensor]:
    return [each for each in tree_iter(values) if isinstance(each, torch.Tensor)]


def _stored_bytes(tensor: torch.Tensor) -> int:
    """Of an expanded tensor those that exist."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())


def cells() -> list[Cell]:
    """The stacks that are always there, with the last model of the table `speed`."""
    found = [each for each in all_cells(full_depth=False) if each.table == "speed"]
    return [each for each in found if each.name == found[-1].name and each.stack in STACKS]


def launches(cell: Cell, layers: int, device: torch.device) -> Launches:
    """Operations of one forward and backward pass of a cell's stack with so many layers."""
    cell = replace(cell, rank=cell.rank // NARROWER)
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
    return counting


_KINDS = (
    ("count", 1, ("kernels", 0)),
    ("bytes", NARROWER / 1e9, ("GB read and written", 2)),
    ("products", NARROWER**2 / 1e12, ("TFLOP of products", 2)),
)
"""What is counted, its factor, and its name and decimals for people."""


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
    print(
        "| stack | | a layer | beside the layers | 32 layers |\n| --- | --- | ---: | ---: | ---: |"
    )
    for cell in cells():
        one, two = (launches(cell, layers, device) for layers in (1, 2))
        for what, scale, text in _KINDS:
            of_one, of_two = (getattr(each, what).total() * scale for each in (one, two))
            layer, rest = of_two - of_one, 2 * of_one - of_two
            numbers = (f"{each:,.{text[1]}f}" for each in (layer, rest, rest + 32 * layer))
            print(f"| {cell.stack} | {text[0]} | {' | '.join(numbers)} |", flush=True)
        if options.by_name:
            for name, count in (two.count - one.count).most_common():
                size = (two.bytes - one.bytes)[name] * NARROWER / 1e6
                print(f"|   {name} | | {count} | {size:.1f} MB | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
