"""How sure a number is: the bootstrap over rows (Efron 1979), paired where two models answered the same ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

RESAMPLES = 1_000
"""Drawings of rows with replacement; what Koehn (2004) and sacrebleu take for BLEU."""

TAIL_PERCENT = 2.5
"""Of the resamples beyond either end of an interval, which so covers 95 %."""

LEAST_ROWS = 10
"""Rows from which on an interval decides what is better. Below, a percentile interval is more than a fifth too narrow:
it lacks the factor sqrt(n / (n - 1)) and Student's t in the place of the normal's quantile (Hesterberg 2015, "What
Teachers Should Know about the Bootstrap", section 4)."""

Floats: TypeAlias = npt.NDArray[np.float64]
Unit: TypeAlias = Literal["share", "points", "number"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of one model: a function of sums over rows, so that any choice of rows has a value.

    A mean is one case, BLEU's counts another; the value of a resample is the measure of its rows, not
    a mean of rows' measures.
    """

    name: str
    statistics: Floats
    """(rows, numbers): what each row adds."""

    value_of: Callable[[Floats], Floats]
    """From sums (samples, numbers) to values (samples,)."""

    unit: Unit = "share"
    """`share` is between 0 and 1, `points` between 0 and 100 as BLEU is told, `number` anything."""

    less_is_better: bool = False

    @property
    def value(self) -> float:
        """The measure over all rows."""
        return float(self.value_of(self.statistics.sum(axis=0, keepdims=True))[0])


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """The three numbers; what is not finite becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {key: number if np.isfinite(number) else None for key, number in numbers.items()}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One measure of the base and of the tuned model on the same rows."""

    name: str
    unit: Unit
    less_is_better: bool
    rows: int
    base: Interval
    tuned: Interval
    difference: Interval
    """Tuned minus base, resampled in pairs: narrower than the two intervals would make one think."""

    samples: tuple[Floats, Floats]
    """The resampled values of both, (resamples,) each."""

    @property
    def verdict(self) -> Literal["better", "worse", "open"]:
        """What became of it; `open` where the difference's interval holds 0, and of fewer than `LEAST_ROWS` rows."""
        low, high = self.difference.low, self.difference.high
        known = np.isfinite([self.difference.value, low, high]).all()
        if self.rows < LEAST_ROWS or not known or low <= 0 <= high:
            return "open"
        return "better" if (self.difference.value < 0) == self.less_is_better else "worse"

    def to_json(self) -> dict[str, Any]:
        """All but the resamples."""
        parts = {"base": self.base, "tuned": self.tuned, "difference": self.difference}
        return {
            "unit": self.unit,
            "less_is_better": self.less_is_better,
            "rows": self.rows,
            **{key: interval.to_json() for key, interval in parts.items()},
            "verdict": self.verdict,
        }


def mean_measure(
    name: str, values: Sequence[float], *, weights: Sequence[float] | None = None, **more: Any
) -> Measure:
    """The mean over rows, or with weights the sum of values by the sum of weights."""
    factors = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    statistics = np.stack([np.asarray(values, np.float64), factors], axis=1)  # (rows, 2)
    return Measure(name=name, statistics=statistics, value_of=_quotient, **more)


def compare(
    base: Measure, tuned: Measure, *, seed: int = 0, resamples: int = RESAMPLES
) -> Compared:
    """Both measures with intervals, and their difference on the same resamples.

    Raises:
        ValueError: The measures are not of the same rows.
    """
    rows = len(base.statistics)
    if rows != len(tuned.statistics) or base.name != tuned.name or not rows:
        raise ValueError(f"`{base.name}` and `{tuned.name}` are not measured on the same rows")
    generator = np.random.default_rng(seed)
    sums = [
        np.empty((resamples, measure.statistics.shape[1]), np.float64) for measure in (base, tuned)
    ]
    for sample in range(resamples):
        counts = np.bincount(generator.integers(rows, size=rows), minlength=rows)  # (rows,)
        sums[0][sample] = counts @ base.statistics
        sums[1][sample] = counts @ tuned.statistics
    drawn = base.value_of(sums[0]), tuned.value_of(sums[1])
    if rows == 1:  # every resample is that row
        drawn = np.full_like(drawn[0], np.nan), np.full_like(drawn[1], np.nan)
    return from_samples(base, (base.value, tuned.value), drawn, rows=rows)


def average(parts: Sequence[Compared]) -> Compared:
    """The plain mean of one measure over several sets of rows (languages), each resampled by itself."""
    values = tuple(
        float(np.mean([getattr(part, side).value for part in parts])) for side in ("base", "tuned")
    )
    drawn = tuple(np.mean([part.samples[side] for part in parts], axis=0) for side in (0, 1))
    return from_samples(
        parts[0], (values[0], values[1]), (drawn[0], drawn[1]), rows=sum(p.rows for p in parts)
    )


def from_samples(
    like: Measure | Compared,
    values: tuple[float, float],
    drawn: tuple[Floats, Floats],
    *,
    rows: int,
) -> Compared:
    """The comparison that two values and their resamples make."""
    with np.errstate(invalid="ignore"):  # infinite minus infinite, as of perplexities, is no number
        change = drawn[1] - drawn[0]
    return Compared(
        name=like.name,
        unit=like.unit,
        less_is_better=like.less_is_better,
        rows=rows,
        base=_interval(values[0], drawn[0]),
        tuned=_interval(values[1], drawn[1]),
        difference=_interval(values[1] - values[0], change),
        samples=drawn,
    )


def exponential(values: Floats) -> Floats:
    """exp, infinite where float64 ends."""
    with np.errstate(over="ignore"):
        return np.exp(values)


def _quotient(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1], np.float64)


def _interval(value: float, drawn: Floats) -> Interval:
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return Interval(value=value, low=np.nan, high=np.nan)
    low, high = np.percentile(finite, [TAIL_PERCENT, 100 - TAIL_PERCENT])
    return Interval(value=value, low=float(low), high=float(high))
