"""Every place where streams or the host wait is needed: where one is ignored, some order of the work gives other numbers.

What waits there are is read from the source, so that a new one needs a play here that misses it, or a reason in `NOT_PLAYED`.

    XTUNE_GPU_TESTS=pretend pytest -m gpu tests/gpu/test_ignored_waits.py
"""

import gc
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from played_stage import SCHEDULES, Stage
from played_streams import played
from torch import nn
from waits import Wait, waits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        os.environ.get("XTUNE_GPU_TESTS") != "pretend", reason="about a pretended device"
    ),
]

ORDERS = (
    "other streams last",
    "as late as may be",
    "other streams first",
    *(f"at random, {n}" for n in range(1, 5)),
)

NOT_PLAYED = {
    "optimizer.py: _wait_for": "paged memory, which CUDA alone has",
    "stream_rest.py: lock_pages": "lets CUDA report an error, and orders nothing",
    "shortage.py: let_go": "for what a model's own code may hold; xtune's own is waited for where it is freed",
}

WIDTH = 64
"""Of layers: their weights have the 4,096 numbers from which on bitsandbytes' states are in 8 bits."""

Play = Callable[[Stage, str], list[torch.Tensor]]


def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def inputs_on_the_host(stage: Stage, order: str) -> list[torch.Tensor]:
    """Kept and taken again, other lengths later; what was fetched ahead is not always wanted."""
    from xtune.kernels.shelf import HostShelf

    shelf, base = HostShelf(), torch.arange(1.0, 65.0, device=device())
    stage.play(order)
    found = []
    for size in (16, 16, 64, 32):
        puts = [shelf.keep(base[:size] * (3 * size + number)) for number in range(4)]
        base = base * 1.5  # somebody has the room of what was kept
        found += [shelf.take(puts.pop()) + 0 for _ in range(3 if size == 32 else 4)]
        puts.clear()
        others = [base[:size] * 0.5 for _ in range(4)]
        found.append(torch.stack(others).sum(0))
    return [each.cpu() for each in found]


def inputs_dropped(stage: Stage, order: str) -> list[torch.Tensor]:
    """One is fetched ahead, and its backward pass never comes."""
    from xtune.kernels.shelf import HostShelf

    shelf, base = HostShelf(), torch.arange(1.0, 65.0, device=device())
    puts = [shelf.keep(base * number) for number in range(2)]
    stage.play(order)
    found = [shelf.take(puts.pop())]
    puts.clear()
    return [each.cpu() for each in found]


def layers(rest: Any, count: int) -> tuple[Any, list[nn.Linear], list[Any]]:
    """Streamed layers that are told apart by their numbers."""
    from xtune.kernels.stream import LayerStream, shelve_layer

    made = [nn.Linear(WIDTH, WIDTH, bias=False).requires_grad_(False).eval() for _ in range(count)]
    for number, layer in enumerate(made):
        layer.weight.fill_(0.01 * (number + 1))
    streamed = [shelve_layer(layer, rest) for layer in made]
    stream = LayerStream(streamed, device(), rest)
    for number, each in enumerate(streamed):
        each.join(stream, number)
    return stream, made, streamed


def layers_on_the_host(stage: Stage, order: str) -> list[torch.Tensor]:
    """Their room was somebody's; they are changed and put to rest again; the next one is on its way when all is let go."""
    from xtune.kernels.stream_rest import HostRest, host_memory

    stage.play(order)
    stream, made, streamed = layers(HostRest(host_memory(device())), 5)
    hidden = torch.ones(2, WIDTH, device=device())
    found = []
    for turn in range(3):
        found += [layer(hidden) for layer in made]
        for layer in made:
            layer.weight.data = torch.full((WIDTH, WIDTH), 0.1 * (turn + 1) + layer.weight[0, 0])
        stream.settle()
    found += [layer(hidden) for layer in made]
    for each, layer in zip(streamed, made, strict=True):
        each.stream, each._views = None, {}
        del layer.forward
    del stream
    return [each.cpu() for each in found]


def layers_on_disk(stage: Stage, order: str) -> list[torch.Tensor]:
    """Through memory that the copy before must have left."""
    from xtune.kernels.stream_rest import DiskRest

    with TemporaryDirectory() as folder:
        stream, made, _ = layers(DiskRest(Path(folder)), 5)
        hidden = torch.ones(2, WIDTH, device=device())
        stage.play(order)
        found = [layer(hidden) for _ in range(2) for layer in made]
        stream._reader.shutdown()
    return [each.cpu() for each in found]


def a_head_on_the_host(stage: Stage, order: str) -> list[torch.Tensor]:
    """Whole, and left in the middle."""
    from xtune.kernels.head_slices import HostMatrix
    from xtune.kernels.stream_rest import host_memory

    weight = host_memory(device())(4 * 40 * 8).view(torch.float32).view(40, 8)
    weight.copy_(torch.arange(320.0).view(40, 8))
    matrix, factor = HostMatrix(weight, device(), 6), torch.full((8,), 2.0, device=device())
    stage.play(order)
    found = [part @ factor for _ in range(2) for part in matrix.slices()]
    for start, part in enumerate(matrix.slices()):
        found.append(part @ factor)
        if start == 1:
            break
    return [each.cpu() for each in found]


def states_on_the_host(stage: Stage, order: str) -> list[torch.Tensor]:
    """Gradients are let go as soon as they are on their way, and come faster than they are used."""
    from xtune.train.piecewise import PiecewiseOptimizer

    parameters = [nn.Parameter(torch.full((WIDTH,), 0.1 * n, device=device())) for n in range(6)]
    group = {"params": parameters, "lr": 0.1}
    optimizer = PiecewiseOptimizer([group], lambda groups: torch.optim.AdamW(groups), on_host=True)
    slope = torch.linspace(-1, 1, WIDTH, device=device())
    stage.play(order)
    for turn in range(3):
        for number, parameter in enumerate(parameters):
            optimizer.step_one(parameter, parameter.detach() * slope + (number + turn))
        optimizer.finish()
    return [each.detach().cpu() for each in parameters]


def trained_layers(*, eight_bit: bool) -> Play:
    """Layers that are trained where they rest, stepped as soon as they have gradients."""

    def play(stage: Stage, order: str) -> list[torch.Tensor]:
        from bitsandbytes import optim

        from xtune.kernels.stream import LayerStream, shelve_layer
        from xtune.kernels.stream_rest import HostRest, host_memory
        from xtune.train.piecewise import PiecewiseOptimizer

        rest = HostRest(host_memory(device()))
        made = [nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.bfloat16) for _ in range(4)]
        for number, layer in enumerate(made):
            layer.weight.data.fill_(0.01 * (number + 1))
        streamed = [shelve_layer(layer, rest, on_gradients=lambda *_: None) for layer in made]
        stream = LayerStream(streamed, device(), rest)
        for number, each in enumerate(streamed):
            each.join(stream, number)
        weights = [layer.weight for layer in made]
        kind: Any = optim.AdamW8bit if eight_bit else torch.optim.AdamW
        optimizer = PiecewiseOptimizer(
            [{"params": weights, "lr": 0.01}],
            kind,
            on_host=True,
            resting=weights,
            crossing=eight_bit,
        )
        hidden = torch.linspace(-1, 1, 2 * WIDTH, device=device(), dtype=torch.bfloat16)
        hidden = hidden.view(2, WIDTH)
        stage.play(order)
        found = []
        for _ in range(3):
            with torch.no_grad():
                found += [layer(hidden) for layer in made]
            for each, weight in zip(reversed(streamed), reversed(weights), strict=True):
                with each.here(backward=True):
                    gradient = hidden.T @ (hidden @ weight.detach())
                    optimizer.step_one(weight, gradient)
                    del gradient
            optimizer.finish()
        return [each.cpu() for each in (*found, *(weight.detach() for weight in weights))]

    return play


PLAYS: dict[str, Play] = {
    "inputs on the host": inputs_on_the_host,
    "inputs dropped": inputs_dropped,
    "layers on the host": layers_on_the_host,
    "layers on disk": layers_on_disk,
    "a head on the host": a_head_on_the_host,
    "states on the host": states_on_the_host,
    "trained layers": trained_layers(eight_bit=False),
    "trained layers, 8-bit states": trained_layers(eight_bit=True),
}


@pytest.fixture(autouse=True, scope="module")
def quick_collections() -> Iterator[None]:
    """Every play begins with a collection: it need not look at what all modules hold."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_races() -> Iterator[None]:
    """Here they are looked for by what comes of them."""
    import pretend_cuda

    yield
    pretend_cuda.watch.races.clear()


@cache
def run(name: str, order: str, ignored: str | None = None) -> tuple[list[torch.Tensor], Stage]:
    """What a play gives, and the stage behind it."""
    with played(ignored) as stage:
        found = PLAYS[name](stage, order)
        torch.cuda.synchronize()
    return found, stage


def goes_wrong(name: str, order: str, ignored: str | None) -> bool:
    """Whether numbers are others than those of work that is done at once, or memory was used that was not theirs."""
    found, stage = run(name, order, ignored)
    expected, _ = run(name, SCHEDULES[0])
    same = all(torch.equal(*both) for both in zip(found, expected, strict=True))
    return bool(stage.torn) or not same


@cache
def sites(name: str) -> frozenset[str]:
    """Where a play waits."""
    return frozenset(run(name, ORDERS[0])[1].sites)


@pytest.mark.parametrize("name", PLAYS)
def test_every_order_that_waits_allow_gives_the_same_numbers(name: str) -> None:
    wrong = [order for order in ORDERS if goes_wrong(name, order, None)]
    assert wrong == []


@pytest.mark.parametrize("wait", waits(), ids=str)
def test_a_wait_that_is_ignored_is_missed(wait: Wait) -> None:
    if any(str(wait).startswith(each) for each in NOT_PLAYED):
        return
    places = [(name, site) for name in PLAYS for site in sorted(sites(name)) if wait.is_at(site)]
    assert places, f"no play comes by {wait}"
    assert any(goes_wrong(name, order, site) for name, site in places for order in ORDERS)
