"""8-bit states stepped a stretch at a time: the bits of bitsandbytes' own step over the whole parameter."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from xtune.train import crossing, piecewise
from xtune.train.numbers import RestingHalves, split
from xtune.train.piecewise import PiecewiseOptimizer

# with a last block of fewer than 256 numbers; several stretches; 32-bit states, which do not cross
SHAPES = [(70, 61), (96, 80), (8, 8)]
NAMES = ["adamw", "lion"]


def builder(name: str) -> Any:
    from bitsandbytes import optim

    return partial(optim.AdamW8bit if name == "adamw" else optim.Lion8bit, weight_decay=0.1)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossing, "STEP_STRETCH", 2048)


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]


def slopes(step: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]


def crossed(params: list[nn.Parameter], build: Any, **options: Any) -> PiecewiseOptimizer:
    groups = [{"params": params, "lr": 1e-2, "kind": "rest"}]
    return PiecewiseOptimizer(groups, build, on_host=True, crossing=True, **options)


@pytest.mark.parametrize("name", NAMES)
def test_float32_parameters_get_the_bits_of_the_whole_step(name: str) -> None:
    whole, pieces = parameters(torch.float32), parameters(torch.float32)
    reference = builder(name)(whole, lr=1e-2)
    optimizer = crossed(pieces, builder(name))
    for step in range(5):
        for params in (whole, pieces):
            for parameter, slope in zip(params, slopes(step, torch.float32), strict=True):
                parameter.grad = slope.clone()
        reference.step()
        optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(whole, pieces, strict=True))
    saved, expected = optimizer.state_dict()["state"], reference.state_dict()["state"]
    for number in range(len(SHAPES)):
        own, other = (each[number]["__bnb_optimizer_quant_state__"] for each in (saved, expected))
        assert {"state1"} <= own.keys() == other.keys()
        assert all(torch.equal(own[key], other[key]) for key in other)
        assert saved[number]["step"] == 5


@pytest.mark.parametrize("resting", [False, True])
def test_bfloat16_parameters_follow_float32_numbers(resting: bool) -> None:
    """Of layers that rest in host memory the numbers are in two halves, of others in float32 beside them."""
    pieces = parameters(torch.bfloat16)
    masters = [nn.Parameter(each.detach().float()) for each in pieces]
    reference = builder("adamw")(masters, lr=1e-2)
    optimizer = crossed(pieces, builder("adamw"), resting=pieces if resting else ())
    for step in range(5):
        for parameter, master, slope in zip(
            pieces, masters, slopes(step, torch.bfloat16), strict=True
        ):
            parameter.grad, master.grad = slope.clone(), slope.float()
        reference.step()
        optimizer.step()
    for parameter, master in zip(pieces, masters, strict=True):
        assert torch.equal(parameter, split(master.detach())[0])
    lows = [optimizer.state_dict()["state"][number]["low_bits"] for number in range(len(SHAPES))]
    for low, master in zip(lows, masters, strict=True):
        assert torch.equal(low, split(master.detach())[1])


def test_a_stretch_of_halves_is_a_copy_and_comes_back() -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(40, 100, generator=generator)
    numbers = RestingHalves(nn.Parameter(split(whole)[0]))
    numbers.restore(split(whole)[1])
    part = slice(300, 900)
    found = numbers.stretch(part, torch.device("cpu"))
    assert torch.equal(found, whole.view(-1)[part])
    numbers.put_stretch(part, found + 1.0)
    with numbers.at_hand():
        now = numbers.stepped.detach().clone()
    whole.view(-1)[part] += 1.0
    assert torch.equal(now, whole)


def test_room_is_made_for_small_parameters_only_where_the_large_ones_cross(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def noted(nbytes: int) -> torch.Tensor:
        made.append(nbytes)
        return torch.empty(nbytes, dtype=torch.uint8)

    monkeypatch.setattr(piecewise, "host_memory", lambda _: noted)
    pieces = parameters(torch.bfloat16)
    optimizer = crossed(pieces, builder("adamw"))
    for step in range(3):
        for parameter, slope in zip(pieces, slopes(step, torch.bfloat16), strict=True):
            parameter.grad = slope.clone()
        optimizer.step()
    # of the one with states in 32 bits, 8 by 8 numbers of two bytes: a gradient out and numbers in
    assert set(made) == {8 * 8 * 2}
