"""Spikes in sequences whose answer is known by construction."""

import random

from xtune.run.spike import NORM_STEPS, first_spike


def noisy(levels: list[float], spread: float, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [level * (1 + draw.uniform(-spread, spread)) for level in levels]


def test_a_norm_above_three_times_the_median_is_the_spike() -> None:
    norms: list[float | None] = [1.0] * 30 + [2.9, 3.1, 50.0]
    spike = first_spike(norms, [2.0] * 33)
    assert spike is not None
    assert (spike.place, spike.kind) == (31, "norm")
    assert spike.times == 3.1


def test_a_norm_that_is_not_finite_is_a_spike() -> None:
    spike = first_spike([1.0] * 20 + [None], [2.0] * 21)
    assert spike is not None
    assert (spike.place, spike.kind) == (20, "norm")


def test_norms_that_fall_with_the_loss_and_jump_from_batch_to_batch_are_none() -> None:
    norms: list[float | None] = [*noisy([0.9] * 20, 0.2), *noisy([0.02, 0.3] * 40, 0.3)]
    losses = [*noisy([2.0] * 20, 0.05), *noisy([0.01] * 80, 0.5)]
    assert first_spike(norms, losses) is None


def test_a_loss_that_loses_what_was_learned_is_found_without_a_norm() -> None:
    losses = noisy([2.0 - 0.04 * step for step in range(40)] + [0.4 + 0.2 * up for up in range(10)], 0.02)  # fmt: skip
    spike = first_spike([1.0] * 50, losses)
    assert spike is not None
    assert spike.kind == "loss"
    # 2.0 to 0.44, then back by 0.2 a step: the mean of five passes the middle, 1.22, after six
    assert 44 <= spike.place <= 48


def test_the_noise_of_small_batches_is_no_climb() -> None:
    for seed in range(50):
        assert first_spike([1.0] * 120, noisy([1.8] * 120, 0.15, seed)) is None


def test_nothing_is_said_before_there_is_a_median() -> None:
    norms: list[float | None] = [1.0] * (NORM_STEPS - 1) + [9.0]
    assert first_spike(norms, [2.0] * NORM_STEPS) is None
