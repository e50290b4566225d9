"""GaLore and APOLLO: their updates by the papers' formulas, their states bit for bit."""

import io
from typing import Any

import pytest
import torch
from factories import make_plan
from torch import nn
from torch.optim import Optimizer

from xtune.train.optimizer import build_optimizer

SHAPES = [(96, 80), (48, 64), (64,)]


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def build(name: str, params: list[nn.Parameter], **train: Any) -> Optimizer:
    settings = {"learning_rate": 1e-2, "optimizer": name, "subspace_rank": 8, "subspace_steps": 3}
    plan = make_plan({"method": "full", "train": {**settings, **train}})
    shared = {"lr_scale": 1.0, "names": [], "weight_decay": 0.0}
    return build_optimizer(
        [
            {"params": params[:2], "kind": "matrix", **shared},
            {"params": params[2:], "kind": "rest", **shared},
        ],
        plan,
    )


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def run(params: list[nn.Parameter], optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        torch.manual_seed(1000 + step)  # as the loop does: what is drawn is a function of the step
        for parameter, gradient in zip(params, gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", ["galore_adamw", "apollo_adamw"])
def test_a_resumed_subspace_goes_on_bit_for_bit(name: str) -> None:
    straight = parameters()
    run(straight, build(name, straight), range(8))
    first = parameters()
    optimizer = build(name, first)
    run(first, optimizer, range(4))
    stream = io.BytesIO()
    torch.save({"weights": [p.detach() for p in first], "state": optimizer.state_dict()}, stream)
    stream.seek(0)
    saved = torch.load(stream, weights_only=True)
    second = [nn.Parameter(weight) for weight in saved["weights"]]
    resumed = build(name, second)
    resumed.load_state_dict(saved["state"])
    run(second, resumed, range(4, 8))
    assert all(torch.equal(a, b) for a, b in zip(straight, second, strict=True))


def test_galore_is_adam_in_the_gradients_leading_directions() -> None:
    """Arithmetic of arXiv 2403.03507, algorithm 2, in doubles; a new subspace every third step."""
    params = parameters()
    run(params, build("galore_adamw", params), range(4))
    for index in (0, 1):
        weight = parameters()[index].detach().double()
        tall = weight.shape[0] >= weight.shape[1]
        m: torch.Tensor | float = 0.0
        v: torch.Tensor | float = 0.0
        basis = torch.empty(0)
        for step in range(1, 5):
            gradient = gradients(step - 1)[index].double()
            if step in {1, 3}:
                left, _, right = torch.linalg.svd(gradient, full_matrices=False)
                basis = right[:8] if tall else left[:, :8]
            low = gradient @ basis.T if tall else basis.T @ gradient
            m, v = 0.9 * m + 0.1 * low, 0.999 * v + 0.001 * low**2
            mean, variance = m / (1 - 0.9**step), v / (1 - 0.999**step)
            # epsilon stands beside the uncorrected root, as in the library and in the authors' code
            normal = mean / (variance.sqrt() + 1e-8 / (1 - 0.999**step) ** 0.5)
            weight -= 1e-2 * 0.25 * (normal @ basis if tall else basis @ normal)
        torch.testing.assert_close(params[index].detach().double(), weight, atol=1e-5, rtol=1e-5)


def test_apollo_scales_each_channel_of_the_whole_gradient() -> None:
    """Arithmetic of arXiv 2412.05270, algorithm 1: at the first step Adam turns r projected numbers into r signs.

    A channel's scale is then sqrt(r) over the length of its projection, which is its own length but for sqrt(2 / r).
    """
    params = parameters()
    run(params, build("apollo_adamw", params, subspace_rank=40), range(1))
    for index, across in ((0, 1), (1, 0)):
        step = (parameters()[index] - params[index]).detach()
        gradient = gradients(0)[index]
        cosine = nn.functional.cosine_similarity(step, gradient, dim=across)
        torch.testing.assert_close(cosine, torch.ones_like(cosine), atol=1e-4, rtol=0)
        lengths = step.norm(dim=across) / (1e-2 * 40**0.5)
        assert lengths.median() == pytest.approx(1.0, abs=0.1)
        assert 0.5 < lengths.min() < lengths.max() < 2.0


def test_states_are_as_small_as_the_subspace() -> None:
    params = parameters()
    optimizer = build("galore_adamw", params)
    run(params, optimizer, range(1))
    state = optimizer.state_dict()["state"]
    assert state[0]["exp_avg"].shape == (96, 8)
    assert state[1]["exp_avg"].shape == (8, 64)
    assert state[0]["projector"]["matrix"].shape == (8, 80)
    assert state[2]["exp_avg"].shape == (64,)


def test_a_subspace_is_never_larger_than_the_matrix() -> None:
    params = parameters()
    for name in ("galore_adamw", "apollo_adamw"):
        run(params, build(name, params, subspace_rank=500), range(2))
    assert all(torch.isfinite(p).all() for p in params)
