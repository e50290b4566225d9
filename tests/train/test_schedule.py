"""The learning rate's curve, against transformers' schedulers and hand calculation."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from xtune.recipe.models import Train
from xtune.train.schedule import learning_rate_factor, warmup_steps

TOTAL, WARMUP = 40, 5


def settings(**changes: Any) -> Train:
    return Train(**{"learning_rate": 1e-3, "warmup_steps": WARMUP, **changes})


def from_transformers(name: str, **specific: Any) -> list[float]:
    """The factor that transformers uses for each update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(name, optimizer, WARMUP, TOTAL, scheduler_specific_kwargs=specific)
    factors = []
    for _ in range(TOTAL):
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize(
    ("train", "name", "specific"),
    [
        ({"schedule": "cosine"}, "cosine", {}),
        ({"schedule": "linear"}, "linear", {}),
        ({"schedule": "constant"}, "constant_with_warmup", {}),
        (
            {"schedule": "cosine", "final_learning_rate_fraction": 0.1},
            "cosine_with_min_lr",
            {"min_lr_rate": 0.1},
        ),
        (
            {"schedule": "wsd", "decay_fraction": 0.2, "final_learning_rate_fraction": 0.1},
            "warmup_stable_decay",
            {"num_decay_steps": 8, "decay_type": "linear", "min_lr_ratio": 0.1},
        ),
    ],
)
def test_after_the_warmup_the_curve_is_transformers(train: Any, name: str, specific: Any) -> None:
    expected = from_transformers(name, **specific)[WARMUP:]
    actual = [learning_rate_factor(step, TOTAL, settings(**train)) for step in range(WARMUP, TOTAL)]
    assert actual == pytest.approx(expected, abs=1e-9)


def test_the_warmup_starts_above_zero_and_ends_at_the_peak() -> None:
    actual = [learning_rate_factor(step, TOTAL, settings()) for step in range(WARMUP + 1)]
    assert actual == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_linear_decay_towards_a_floor_by_hand() -> None:
    train = settings(schedule="linear", warmup_steps=0, final_learning_rate_fraction=0.5)
    actual = [learning_rate_factor(step, 4, train) for step in range(4)]
    assert actual == [1.0, 0.875, 0.75, 0.625]


@pytest.mark.parametrize(
    ("total", "changes", "expected"),
    [
        (100, {"warmup_steps": None}, 3),  # 3 % is the default
        (10, {"warmup_steps": None}, 1),  # rounded up
        (10, {"warmup_steps": None, "warmup_fraction": 0.0}, 0),
        (10, {"warmup_steps": 50}, 9),  # never all of them
        (1, {"warmup_steps": 5}, 0),
    ],
)
def test_warmup_is_steps_or_a_fraction(total: int, changes: Any, expected: int) -> None:
    assert warmup_steps(total, settings(**changes)) == expected


@given(
    total=st.integers(1, 300),
    schedule=st.sampled_from(["cosine", "linear", "constant", "wsd"]),
    warmup=st.none() | st.integers(0, 400),
    floor=st.floats(0, 1),
    decay=st.floats(0, 1),
)
def test_no_update_is_wasted_and_the_curve_rises_once_and_falls_once(
    total: int, schedule: Any, warmup: int | None, floor: float, decay: float
) -> None:
    train = settings(
        schedule=schedule,
        warmup_steps=warmup,
        final_learning_rate_fraction=floor,
        decay_fraction=decay,
    )
    factors = [learning_rate_factor(step, total, train) for step in range(total)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert max(factors) == 1.0
    top = factors.index(1.0)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert all(a >= b - 1e-12 for a, b in zip(factors[top:], factors[top + 1 :], strict=False))
