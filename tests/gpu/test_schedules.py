"""Whatever order the streams of a device do their work in, as far as the code lets them, training gives the same bits."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from played_stage import SCHEDULES, Stage
from played_streams import played

from benchmarks.gpu_cells import NOTHING_AWAY, Cell, all_cells

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        os.environ.get("XTUNE_GPU_TESTS") != "pretend", reason="about a pretended device"
    ),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]

LAYERS, TOKENS = 3, 32
"""One layer more than the device has room for."""

CELLS = {each.name: each for each in all_cells(full_depth=False) if each.table == "techniques"}


def adapter(**memory: Any) -> Cell:
    """A QLoRA run with these settings of `memory`, nothing else away."""
    return replace(CELLS["QLoRA, nothing"], memory={**NOTHING_AWAY, **memory})


SETUPS: Mapping[str, Cell] = {
    "all on the host": adapter(
        base="host", checkpoints="host", embeddings="host", head="host", optimizer_states="host"
    ),
    "layers trained in host memory": CELLS["full, layers in host memory"],
    "layers trained in host memory, stepped there": replace(
        CELLS["full, layers in host memory"], train={"optimizer": "adamw"}
    ),
    "states on the host, stepped in the backward pass": replace(
        CELLS["full, states host"],
        memory={**CELLS["full, states host"].memory, "fused_step": True},
    ),
    "base and inputs on disk": adapter(base="disk", checkpoints="disk"),
    "base on the host, tiles": adapter(base="host", checkpoints="host", frugal_layers=True),
    "states on the host": CELLS["full, states host"],
}

OTHERS = [*SCHEDULES[1:], "at random, 1", "at random, 2"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What steps left."""

    losses: list[float]
    weights: list[torch.Tensor]
    torn: list[str]
    sites: frozenset[str]

    def is_as(self, other: "Run") -> bool:
        """Whether it is the other to the bit, and nobody wrote where they had no right to."""
        same = all(torch.equal(*both) for both in zip(self.weights, other.weights, strict=True))
        return self.losses == other.losses and same and not self.torn


@cache
def run(setup: str, schedule: str, ignored: str | None = None) -> Run:
    """Two steps and a forward pass, of sequences of different length."""
    with TemporaryDirectory() as folder, played(ignored) as stage:
        losses, weights = steps(SETUPS[setup], schedule, stage, Path(folder))
        torch.cuda.synchronize()
    return Run(losses=losses, weights=weights, torn=stage.torn, sites=frozenset(stage.sites))


def steps(
    cell: Cell, schedule: str, stage: Stage, folder: Path
) -> tuple[list[float], list[torch.Tensor]]:
    from benchmarks.gpu_ours import build_ours
    from benchmarks.gpu_shapes import Task, planned
    from benchmarks.gpu_stacks import random_ids

    task = Task(cell=cell, device="cuda", tiny=True)
    device = torch.device("cuda", torch.cuda.current_device())
    fields = {**task.fields(), "num_hidden_layers": LAYERS}
    stack = build_ours(fields, planned(task, vram_bytes=80 * 2**30), device, folder)
    ids = random_ids(fields["vocab_size"], TOKENS, device)
    stage.play(schedule)
    losses = [stack.step(ids[:, : TOKENS - 8]), stack.step(ids)]
    with torch.no_grad():
        losses.append(float(stack.loss(ids)))
    trained = (each for each in stack.model.parameters() if each.requires_grad)
    return losses, [each.detach().cpu().clone() for each in trained]


@pytest.fixture(autouse=True, scope="module")
def layers_on_disk() -> Iterator[None]:
    """Those of all runs are the same."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XTUNE_CACHE", folder)
        yield


@pytest.mark.parametrize("schedule", OTHERS)
@pytest.mark.parametrize("setup", SETUPS)
def test_every_order_that_waits_allow_gives_the_same_bits(setup: str, schedule: str) -> None:
    assert run(setup, schedule).is_as(run(setup, "at once"))


def test_a_late_copy_gives_other_numbers_where_nothing_waits_for_it() -> None:
    with played() as stage:
        side, source = torch.cuda.Stream(), torch.ones(4).pin_memory()
        room = torch.zeros(4, device="cuda")
        stage.play("as late as may be")
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            room.copy_(source, non_blocking=True)
        assert room.tolist() == [0, 0, 0, 0]
        torch.cuda.current_stream().wait_stream(side)
        assert room.tolist() == [1, 1, 1, 1]
        back = torch.zeros(4).pin_memory()
        back.copy_(room, non_blocking=True)
        assert back.tolist() == [0, 0, 0, 0]
        torch.cuda.current_stream().synchronize()
        assert back.tolist() == [1, 1, 1, 1]
    assert stage.torn == []


@pytest.mark.parametrize("records", [True, False])
def test_room_given_back_too_early_is_told_of(records: bool) -> None:
    with played() as stage:
        side, source = torch.cuda.Stream(), torch.ones(4).pin_memory()
        room = torch.zeros(4, device="cuda")
        stage.play("other streams last")
        with torch.cuda.stream(side):
            room.copy_(source, non_blocking=True)
        if records:
            room.record_stream(side)
        del room
    assert bool(stage.torn) != records


@pytest.mark.parametrize("schedule", OTHERS)
def test_slices_of_a_head_are_each_used_before_the_next_takes_their_room(schedule: str) -> None:
    from xtune.kernels.head_slices import HostMatrix
    from xtune.kernels.stream_rest import host_memory

    device = torch.device("cuda", torch.cuda.current_device())
    with played() as stage:
        weight = host_memory(device)(4 * 40 * 8).view(torch.float32).view(40, 8)
        weight.copy_(torch.arange(320.0).view(40, 8))
        matrix, factor = HostMatrix(weight, device, 6), torch.full((8,), 2.0, device=device)
        stage.play(schedule)
        parts = [part @ factor for _ in range(2) for part in matrix.slices()]
        found = torch.cat(parts).cpu()
    assert torch.equal(found, 2 * weight.sum(1).repeat(2))
    assert stage.torn == []


def test_disk_bytes_pass_through_memory_that_the_copy_before_has_left(tmp_path: Path) -> None:
    """What reads a file into it is the system, of which no operation of torch's tells."""
    from torch import nn

    from xtune.kernels.stream import LayerStream, shelve_layer
    from xtune.kernels.stream_rest import DiskRest

    device = torch.device("cuda", torch.cuda.current_device())
    for schedule in OTHERS:
        rest = DiskRest(tmp_path)
        with played() as stage:
            layers = [nn.Linear(4, 4, bias=False).requires_grad_(False) for _ in range(5)]
            for number, layer in enumerate(layers):
                layer.weight.fill_(float(number))
            streamed = [shelve_layer(layer, rest) for layer in layers]
            stream = LayerStream(streamed, device, rest)
            for number, each in enumerate(streamed):
                each.join(stream, number)
            ones = torch.ones(1, 4, device=device)
            stage.play(schedule)
            found = [layer(ones) for _ in range(2) for layer in layers]
            numbers = [each[0, 0].item() for each in found]
        assert numbers == [0.0, 4.0, 8.0, 12.0, 16.0] * 2
