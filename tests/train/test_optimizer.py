"""Optimizers: their updates against a formula written out, their states bit for bit."""

import gc
import io
from typing import Any

import pytest
import torch
from factories import make_plan
from torch import nn

from xtune.errors import XtuneError
from xtune.train.optimizer import MuonAdamW, build_optimizer, stays_paged

NAMES = [
    "adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "lion_8bit", "paged_lion_8bit", "adafactor", "muon",
]  # fmt: skip


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    # above and below 4,096 elements, where 8-bit states begin
    shapes = [(96, 80), (130, 64), (64,), (8, 8)]
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def groups(params: list[nn.Parameter]) -> list[dict[str, Any]]:
    matrices = [p for p in params if p.ndim == 2]
    rest = [p for p in params if p.ndim != 2]
    return [
        {
            "params": matrices,
            "names": ["a", "b", "d"],
            "weight_decay": 0.1,
            "lr_scale": 2.0,
            "kind": "matrix",
        },
        {"params": rest, "names": ["c"], "weight_decay": 0.0, "lr_scale": 1.0, "kind": "rest"},
    ]


def build(name: str, params: list[nn.Parameter], **train: Any) -> torch.optim.Optimizer:
    method = "full" if name == "muon" else "lora"
    plan = make_plan(
        {"method": method, "train": {"learning_rate": 1e-2, "optimizer": name, **train}}
    )
    return build_optimizer(groups(params), plan)


def run(params: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in params:
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_a_restored_optimizer_continues_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    whole = parameters(dtype)
    run(whole, build(name, whole), range(6))

    first = parameters(dtype)
    optimizer = build(name, first)
    run(first, optimizer, range(3))
    stream = io.BytesIO()
    torch.save({"weights": [p.detach() for p in first], "state": optimizer.state_dict()}, stream)
    stream.seek(0)
    saved = torch.load(stream, weights_only=True)

    second = [nn.Parameter(weight) for weight in saved["weights"]]
    optimizer = build(name, second)
    optimizer.load_state_dict(saved["state"])
    run(second, optimizer, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(whole, parameters(dtype), strict=True))


@pytest.mark.parametrize("kind", ["AdamW8bit", "AdamW32bit", "Lion8bit"])
def test_restored_states_are_where_new_ones_are_made(kind: str) -> None:
    """On a GPU that is in paged memory; here it is in buffers that are known again."""
    from bitsandbytes import optim

    class Known(getattr(optim, kind)):  # type: ignore[misc]
        def get_state_buffer(self, p: torch.Tensor, dtype: torch.dtype = torch.float32) -> Any:
            made = super().get_state_buffer(p, dtype=dtype)
            made.is_paged = True
            return made

    first = parameters(torch.float32)
    optimizer = Known(first, lr=1e-2)
    run(first, optimizer, range(3))
    second = [nn.Parameter(each.detach().clone()) for each in first]
    restored = stays_paged(Known)(second, lr=1e-2)
    restored.load_state_dict(optimizer.state_dict())
    for parameter in second:
        states = {k: v for k, v in restored.state[parameter].items() if k in {"state1", "state2"}}
        assert states
        assert all(state.is_paged for state in states.values())
    run(first, optimizer, range(3, 6))
    run(second, restored, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_paged_memory_of_an_optimizer_that_is_gone_serves_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan that needs less, after memory ran out, makes the optimizer anew; on a CPU buffers are told to be paged."""
    from bitsandbytes import optim

    monkeypatch.setattr(
        "xtune.train.optimizer._paged_and_free", []
    )  # other tests' memory is not taken

    class Told(optim.AdamW8bit):
        def get_state_buffer(self, p: torch.Tensor, dtype: torch.dtype = torch.float32) -> Any:
            made = super().get_state_buffer(p, dtype=dtype)
            made.is_paged = True
            return made

    def stepped() -> tuple[list[int], list[torch.Tensor]]:
        params = parameters(torch.float32)
        optimizer = stays_paged(Told)(params, lr=1e-2)
        run(params, optimizer, range(3))
        states = [optimizer.state[each][name] for each in params for name in ("state1", "state2")]
        return sorted(each.data_ptr() for each in states), params

    places, first = stepped()
    gc.collect()
    again, second = stepped()
    assert again == places
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_adamw_is_the_papers_formula() -> None:
    """Loshchilov & Hutter, arXiv 1711.05101, algorithm 2, in doubles."""
    params = parameters(torch.float32)
    run(params, build("adamw", params, beta1=0.8, beta2=0.95, epsilon=1e-6), range(3))
    weight = parameters(torch.float32)[0].detach().double()
    m, v = torch.zeros_like(weight), torch.zeros_like(weight)
    rate = 1e-2 * 2.0  # lr_scale of its group
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        gradient = torch.randn(weight.shape, generator=generator).double()
        m = 0.8 * m + 0.2 * gradient
        v = 0.95 * v + 0.05 * gradient**2
        mean, variance = m / (1 - 0.8 ** (step + 1)), v / (1 - 0.95 ** (step + 1))
        weight = weight - rate * 0.1 * weight - rate * mean / (variance.sqrt() + 1e-6)
    torch.testing.assert_close(params[0].detach().double(), weight, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["adamw_8bit", "paged_adamw_8bit", "paged_adamw"])
def test_eight_bit_adamw_stays_close_to_adamw(name: str) -> None:
    exact, rounded = parameters(torch.float32), parameters(torch.float32)
    run(exact, build("adamw", exact), range(5))
    run(rounded, build(name, rounded), range(5))
    start = parameters(torch.float32)[0]
    moved = (exact[0] - start).norm()
    assert (rounded[0] - exact[0]).norm() < 0.1 * moved


def test_muon_turns_a_gradient_into_a_nearly_orthogonal_step_of_adamws_size() -> None:
    params = [nn.Parameter(torch.zeros(64, 32))]
    plan = make_plan({"method": "full", "train": {"learning_rate": 0.1, "optimizer": "muon"}})
    group = {
        "params": params,
        "names": ["a"],
        "weight_decay": 0.0,
        "lr_scale": 1.0,
        "kind": "matrix",
    }
    optimizer = build_optimizer([group], plan)
    params[0].grad = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    # Moonlight (arXiv 2502.16982, eq. 4): lr * 0.2 * sqrt(max(rows, columns)) times an orthogonal matrix,
    # of which five Newton-Schulz steps leave the singular values between about 0.7 and 1.2
    sizes = torch.linalg.svdvals(params[0].detach()) / (0.1 * 0.2 * 64**0.5)
    assert sizes.min() > 0.6
    assert sizes.max() < 1.3


def test_muon_and_adamw_are_one_optimizer_to_the_loop() -> None:
    params = parameters(torch.float32)
    optimizer = build("muon", params)
    assert isinstance(optimizer, MuonAdamW)
    assert [group["lr"] for group in optimizer.param_groups] == [2e-2, 1e-2]
    before = [p.detach().clone() for p in params]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    run(params, optimizer, range(1))
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))


def test_groups_keep_the_factor_on_their_learning_rate() -> None:
    for name in NAMES:
        optimizer = build(name, parameters(torch.float32))
        assert [group["lr"] for group in optimizer.param_groups] == [2e-2, 1e-2], name
        assert [group["lr_scale"] for group in optimizer.param_groups] == [2.0, 1.0], name
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0], name


def test_paging_without_cuda_is_said(caplog: pytest.LogCaptureFixture) -> None:
    build("paged_adamw_8bit", parameters(torch.float32))
    assert "Paging optimizer states needs CUDA" in caplog.text


def test_an_unknown_optimizer_lists_those_that_exist() -> None:
    with pytest.raises(XtuneError, match="no optimizer sgd"):
        build_optimizer(groups(parameters(torch.float32)), make_plan(optimizer="sgd"))
