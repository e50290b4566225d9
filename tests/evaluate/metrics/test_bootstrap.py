"""Intervals against the enumeration of every resample, and against the normal approximation."""

import itertools
import math

import numpy as np
import pytest

from xtune.evaluate.metrics.bootstrap import average, compare, mean_measure


def test_intervals_are_those_of_all_possible_resamples() -> None:
    base, tuned = [0.0, 1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0, 1.0]
    every = [
        np.mean([tuned[row] - base[row] for row in rows])
        for rows in itertools.product(range(5), repeat=5)
    ]
    found = compare(mean_measure("m", base), mean_measure("m", tuned), resamples=20_000)
    assert found.base.value == pytest.approx(0.4)
    assert found.tuned.value == pytest.approx(0.8)
    assert found.difference.value == pytest.approx(0.4)
    assert (found.difference.low, found.difference.high) == pytest.approx(
        tuple(np.percentile(every, [2.5, 97.5]))
    )
    assert found.verdict == "open"


def test_the_interval_of_many_rows_is_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.2, size=2_000)
    found = compare(mean_measure("m", values), mean_measure("m", values + 0.01))
    error = 1.96 * values.std() / math.sqrt(len(values))
    assert found.base.high - found.base.value == pytest.approx(error, rel=0.12)
    # the same rows: the difference is sure, although each value is not
    assert found.difference.low == pytest.approx(0.01)
    assert found.verdict == "better"


def test_a_weighted_mean_is_a_quotient_of_sums_and_less_may_be_better() -> None:
    base = mean_measure("loss", [6.0, 4.0], weights=[2.0, 3.0], less_is_better=True)
    tuned = mean_measure("loss", [1.0, 1.0], weights=[2.0, 3.0], less_is_better=True)
    found = compare(base, tuned)
    assert found.base.value == pytest.approx(10 / 5)
    # the resamples are (row 0 twice), (both), (row 1 twice): 3, 2, 4/3
    assert sorted({round(float(value), 6) for value in found.samples[0]}) == [1.333333, 2.0, 3.0]
    assert found.difference.high < 0
    assert found.verdict == "open"  # two rows decide nothing
    base = mean_measure("loss", [6.0, 4.0] * 5, weights=[2.0, 3.0] * 5, less_is_better=True)
    tuned = mean_measure("loss", [1.0, 1.0] * 5, weights=[2.0, 3.0] * 5, less_is_better=True)
    assert compare(base, tuned).verdict == "better"


def test_one_row_has_a_value_and_no_interval() -> None:
    found = compare(mean_measure("m", [0.25]), mean_measure("m", [1.0]))
    assert (found.difference.value, found.verdict) == (0.75, "open")
    assert found.to_json()["difference"] == {"value": 0.75, "low": None, "high": None}
    assert average([found] * 20).verdict == "open"


def test_a_mean_over_languages_weighs_them_alike_and_is_surer_than_one_of_them() -> None:
    few = compare(mean_measure("m", [0.0, 1.0] * 50), mean_measure("m", [1.0] * 100), seed=1)
    many = compare(mean_measure("m", [0.0, 1.0] * 200), mean_measure("m", [0.0] * 400), seed=2)
    both = average([few, many])
    assert both.base.value == pytest.approx(0.5)
    assert both.tuned.value == pytest.approx(0.5)
    assert both.rows == 500
    assert both.base.high - both.base.low < few.base.high - few.base.low


def test_the_seed_decides_and_other_rows_are_refused() -> None:
    one = mean_measure("m", [0.0, 1.0, 0.5])
    assert compare(one, one, seed=5).base == compare(one, one, seed=5).base
    with pytest.raises(ValueError, match="same rows"):
        compare(one, mean_measure("m", [1.0]))
