"""Optimizers of one piece for each parameter: the bits of one optimizer for all, in memory and in a checkpoint."""

import io
from typing import Any

import pytest
import torch
from factories import make_plan
from torch import nn
from torch.optim import AdamW, Optimizer

from xtune.train.numbers import join, split
from xtune.train.optimizer import build_optimizer
from xtune.train.piecewise import PiecewiseOptimizer

# above and below 4,096 elements, where bitsandbytes' 8-bit states begin
SHAPES = [(96, 80), (130, 64), (64,), (8, 8)]


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]


def build(name: str, params: list[nn.Parameter], **choices: Any) -> Optimizer:
    matrices, rest = [p for p in params if p.ndim == 2], [p for p in params if p.ndim != 2]
    shared = {"lr_scale": 1.0, "names": []}
    groups = [
        {"params": matrices, "weight_decay": 0.1, "kind": "matrix", **shared},
        {"params": rest, "weight_decay": 0.0, "kind": "rest", **shared, "lr_scale": 2.0},
    ]
    recipe = {"method": "full", "train": {"learning_rate": 1e-2, "optimizer": name}}
    return build_optimizer(groups, make_plan(recipe, **choices))


def run(params: list[nn.Parameter], optimizer: Optimizer, steps: range) -> None:
    peaks = [group["lr"] for group in optimizer.param_groups]
    for step in steps:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak / (1 + step)
        generator = torch.Generator().manual_seed(step)
        for parameter in params:
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        optimizer.step()
        optimizer.zero_grad()
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak


def same(a: list[nn.Parameter], b: list[nn.Parameter]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


NAMES = ["adamw", "adamw_8bit", "lion_8bit", "adafactor", "muon", "galore_adamw"]


@pytest.mark.parametrize("choices", [{"fused_step": True}, {"optimizer_states": "host"}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_pieces_take_the_steps_of_the_whole(name: str, choices: dict[str, Any]) -> None:
    whole, pieces = parameters(), parameters()
    optimizer = build(name, pieces, **choices)
    assert isinstance(optimizer, PiecewiseOptimizer)
    run(whole, build(name, whole), range(4))
    run(pieces, optimizer, range(4))
    assert same(whole, pieces)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_fits_pieces_and_whole_alike(name: str) -> None:
    straight = parameters()
    run(straight, build(name, straight), range(6))
    first, second, third = parameters(), parameters(), parameters()
    optimizer = build(name, first)
    for others, choices in ((second, {"optimizer_states": "host"}), (third, {})):
        run(first, optimizer, range(2) if choices else range(2, 4))
        saved = io.BytesIO()
        torch.save(optimizer.state_dict(), saved)
        saved.seek(0)
        for old, new in zip(first, others, strict=True):
            new.data.copy_(old.data)
        first, optimizer = others, build(name, others, **choices)
        optimizer.load_state_dict(torch.load(saved, weights_only=True))
    run(first, optimizer, range(4, 6))
    assert same(first, straight)


def test_a_16_bit_parameter_follows_float32_numbers_on_the_host() -> None:
    """The master is stepped by torch's own AdamW in float32, from the same rounded gradients."""
    params = parameters(torch.bfloat16)
    masters = [nn.Parameter(p.detach().float()) for p in params]
    optimizer = build("adamw", params, optimizer_states="host")
    reference = AdamW(
        [
            {"params": [p for p in masters if p.ndim == 2], "lr": 1e-2, "weight_decay": 0.1},
            {"params": [p for p in masters if p.ndim != 2], "lr": 2e-2, "weight_decay": 0.0},
        ]
    )
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        for parameter, master in zip(params, masters, strict=True):
            parameter.grad = torch.randn(parameter.shape, generator=generator).bfloat16()
            master.grad = parameter.grad.float()
        optimizer.step()
        reference.step()
    for parameter, master in zip(params, masters, strict=True):
        # torch's plain and fused kernels round differently in the last bit of float32
        torch.testing.assert_close(
            parameter.detach(), master.detach().bfloat16(), atol=0, rtol=2**-7
        )
    saved = optimizer.state_dict()["state"][0]
    whole = join(params[0].detach(), saved["low_bits"])
    torch.testing.assert_close(whole, masters[0].detach(), atol=1e-6, rtol=1e-6)
    assert saved["exp_avg_sq"].dtype == torch.float32


def test_halves_are_the_number_and_the_upper_one_is_the_nearest_bfloat16() -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(100_000, generator=generator) * 10 ** torch.linspace(-38, 38, 100_000)
    numbers = torch.cat([numbers, torch.tensor([0.0, -0.0, 1.0, -1.0, 1.00390625, -1.01171875])])
    high, low = split(numbers)
    assert torch.equal(join(high, low), numbers)
    # torch rounds a number in the middle to the even neighbour: the last two here
    assert torch.equal(high[:-2], numbers.to(torch.bfloat16)[:-2])
    assert high[-2:].tolist() == [1.0078125, -1.015625]


def test_masters_of_16_bit_parameters_are_restored_with_every_bit() -> None:
    straight = parameters(torch.bfloat16)
    run(straight, build("adamw", straight, optimizer_states="host"), range(6))
    first = parameters(torch.bfloat16)
    optimizer = build("adamw", first, optimizer_states="host")
    run(first, optimizer, range(3))
    second = [nn.Parameter(p.detach().clone()) for p in first]
    resumed = build("adamw", second, optimizer_states="host")
    resumed.load_state_dict(optimizer.state_dict())
    run(second, resumed, range(3, 6))
    assert same(second, straight)


def test_what_goes_wrong_in_the_hosts_thread_is_raised() -> None:
    params = parameters(torch.bfloat16)
    optimizer = build("adamw", params, optimizer_states="host")
    optimizer.param_groups[0]["lr"] = "fast"
    params[0].grad = torch.ones_like(params[0])
    with pytest.raises((TypeError, RuntimeError)):
        optimizer.step()
