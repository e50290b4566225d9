"""Sources with weights: exact at every row, and every row of a source before any comes again."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.data.layout import EpochLayout, MixedLayout
from xtune.data.mixture import Draws, Mixture

WEIGHT = st.one_of(st.just(0.0), st.floats(0.01, 5.0))
SHARES = st.lists(st.tuples(WEIGHT, WEIGHT), min_size=1, max_size=6).filter(
    lambda shares: all(sum(share[side] for share in shares) > 0 for side in (0, 1))
)


def quotas(shares: list[tuple[float, float]], total: int, draws: int) -> list[Fraction]:
    """The integral of each share from 0 to `draws`, in exact numbers; its last value holds beyond `total`."""
    first = [Fraction(share[0]) for share in shares]
    last = [Fraction(share[1]) for share in shares]
    result = []
    for a, b in zip(first, last, strict=True):
        a, b = a / sum(first), b / sum(last)
        inside = Fraction(min(draws, total))
        result.append(a * inside + (b - a) * inside**2 / (2 * total) + b * (draws - inside))
    return result


@settings(max_examples=150, deadline=None)
@given(shares=SHARES, total=st.integers(1, 120))
def test_every_prefix_is_within_one_row_of_every_quota(
    shares: list[tuple[float, float]], total: int
) -> None:
    mixture = Mixture(shares, total)
    counts = [0] * len(shares)
    for draws in range(1, total + 20):
        counts[mixture.draw()] += 1
        for count, quota in zip(counts, quotas(shares, total, draws), strict=True):
            assert abs(count - quota) < 1 + 1e-6


def test_polylms_curriculum_goes_from_seven_tenths_to_four() -> None:
    mixture = Mixture([(0.7, 0.4), (0.3, 0.6)], 10_000)
    english = np.array([mixture.draw() == 0 for _ in range(10_000)])
    assert english.sum() == 5500  # the mean of 0.7 and 0.4
    assert english[:1000].sum() == pytest.approx(0.685 * 1000, abs=1)
    assert english[-1000:].sum() == pytest.approx(0.415 * 1000, abs=1)


def test_a_mixture_resumed_anywhere_goes_on_as_it_would_have() -> None:
    shares = [(0.7, 0.4), (0.2, 0.3), (0.1, 0.3)]
    whole, part = Mixture(shares, 300), Mixture(shares, 300)
    draws = [whole.draw() for _ in range(300)]
    for _ in range(123):
        part.draw()
    resumed = Mixture(shares, 300)
    resumed.resume(part.counts)
    assert [resumed.draw() for _ in range(177)] == draws[123:]


def test_every_row_of_a_source_comes_before_any_comes_again_and_then_in_another_order() -> None:
    members = [np.arange(10, 17), np.arange(100, 103)]
    sources = np.zeros(21, np.int64)
    rows = Draws(members, seed=5).rows(sources, [0, 0])
    rounds = rows.reshape(3, 7).tolist()
    assert [sorted(one) for one in rounds] == [list(range(10, 17))] * 3
    assert len({tuple(one) for one in rounds}) == 3
    # in pieces, as packing asks for them, it is the same
    pieces = [
        Draws(members, seed=5).rows(sources[:k], [start, 0]) for start, k in ((0, 5), (5, 16))
    ]
    assert np.concatenate(pieces).tolist() == rows.tolist()


@pytest.mark.parametrize("capacity", [None, 64])
def test_a_mixed_layout_gives_whole_steps_with_the_weights(capacity: int | None) -> None:
    lengths = np.random.default_rng(0).integers(4, 40, 900)
    members = [np.arange(800), np.arange(800, 900)]
    epoch = EpochLayout(lengths, batch_size=10, capacity=capacity, seed=1)
    layout = MixedLayout(
        lengths,
        epoch,
        members=members,
        shares=[(1.0, 1.0), (1.0, 1.0)],
        steps=120,
        capacity=capacity,
    )
    rows = [row for step in range(120) for row in layout.step(step)]
    assert rows == list(range(1200))
    drawn = np.concatenate([layout.members(row) for row in rows])
    small = np.isin(drawn, members[1])
    assert small.mean() == pytest.approx(0.5, abs=0.02)
    again = np.bincount(drawn[small] - 800)
    assert math.isclose(again.min(), again.max(), abs_tol=3)
    if capacity is None:
        assert again.max() - again.min() <= 1
    else:
        assert max(lengths[layout.members(row)].sum() for row in rows) <= capacity
        assert layout.lengths.sum() / (len(rows) * capacity) > 0.97
