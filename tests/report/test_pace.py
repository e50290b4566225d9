"""Smoothing, speed and time left, against numpy and hand calculation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtune.report.pace import Pace, Smoothed, bytes_text, duration_text, rate_text
from xtune.run.observer import StepMetrics


def metrics(step: int, *, elapsed_s: float, tokens: int) -> StepMetrics:
    return StepMetrics(
        step=step, loss=1.0, learning_rate=1e-3, grad_norm=None, tokens=tokens, trained_tokens=0.0,
        epoch=0.0, tokens_per_s=7.0, elapsed_s=elapsed_s, memory_bytes=1,
    )  # fmt: skip


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_the_running_loss_is_the_mean_weighted_by_powers_of_the_kept_part(
    values: list[float],
) -> None:
    smoothed = Smoothed(keep=0.8)
    for value in values:
        smoothed.add(value)
    weights = 0.8 ** np.arange(len(values))[::-1]
    assert smoothed.value == pytest.approx(np.average(values, weights=weights), rel=1e-6, abs=1e-6)


def test_a_loss_that_is_not_a_number_does_not_spoil_the_running_loss() -> None:
    smoothed = Smoothed()
    assert math.isnan(smoothed.value)
    smoothed.add(2.0)
    smoothed.add(math.nan)
    assert smoothed.add(math.inf) == 2.0


def test_time_left_leaves_the_slow_first_step_out() -> None:
    pace = Pace(total_steps=10, step=0)
    pace.add(metrics(1, elapsed_s=100.0, tokens=50))
    assert pace.remaining_s is None
    assert pace.tokens_per_s == 7.0
    pace.add(metrics(2, elapsed_s=102.0, tokens=100))
    pace.add(metrics(3, elapsed_s=104.0, tokens=150))
    assert pace.remaining_s == 7 * 2.0
    assert pace.tokens_per_s == 25.0


def test_speed_follows_the_last_fifty_steps() -> None:
    pace = Pace(total_steps=1000, step=0)
    elapsed = 0.0
    for step in range(1, 201):
        elapsed += 1.0 if step <= 100 else 2.0
        pace.add(metrics(step, elapsed_s=elapsed, tokens=10 * step))
    assert pace.tokens_per_s == 5.0
    assert pace.remaining_s == 800 * 2.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (245, "4:05"), (3723, "1:02:03"), (None, "?"), (math.inf, "?")],
)
def test_durations_read_like_a_clock(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_sizes_and_rates_keep_three_digits() -> None:
    assert bytes_text(0) == "0 MiB"
    assert bytes_text(3 * 2**17) == "0.4 MiB"
    assert bytes_text(512 * 2**20) == "512 MiB"
    assert bytes_text(6 * 2**30 + 2**27) == "6.1 GiB"
    assert [rate_text(rate) for rate in (12.3, 812, 5_310, 148_000, 2_500_000)] == [
        "12",
        "812",
        "5.3k",
        "148k",
        "2.5M",
    ]
