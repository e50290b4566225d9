"""A line chart as one SVG element: axes, curves, marks. Colours come from the page's style; it knows nothing of runs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 270
"""Of the drawing; the page scales it. At 350 pixels, a phone's, letters of 14 are 10 high."""

LEFT, RIGHT, TOP, BOTTOM = 58, 14, 34, 44

MOST_POINTS = 400
"""Pairs of points that a curve is thinned out to: each lowest and highest of a stretch, so that no spike is lost."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Points in the order of their x, and how they look: "main", "faint" or "second"."""

    points: Sequence[Point]
    css: str = "main"
    name: str = ""
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line with a word."""

    x: float
    label: str
    css: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn."""

    title: str
    curves: Sequence[Curve]
    x_label: str
    log_x: bool = False
    log_y: bool = False
    limits: tuple[float, float] | None = None
    """Lowest and highest y; default: those of all points."""

    marks: Sequence[Mark] = ()

    def svg(self) -> str:
        """The chart; empty where there is nothing to draw."""
        points = [point for curve in self.curves for point in self._drawable(curve.points)]
        if not points:
            return ""
        x_axis = Axis.over([x for x, _ in points], log=self.log_x, tight=True)
        y_axis = Axis.over([*(self.limits or [y for _, y in points])], log=self.log_y)
        parts = [*self._frame(x_axis, y_axis), *self._marks(x_axis)]
        for curve in self.curves:
            parts += self._curve(curve, x_axis, y_axis)
        parts += self._legend()
        label = escape(f"{self.title}: {min(y for _, y in points):.4g} to {max(y for _, y in points):.4g}")  # fmt: skip
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
            f'<text class="title" x="{LEFT}" y="16">{escape(self.title)}</text>{"".join(parts)}</svg>'
        )

    def _drawable(self, points: Sequence[Point]) -> list[Point]:
        def fits(value: float, *, log: bool) -> bool:
            return math.isfinite(value) and (value > 0 or not log)

        return [(x, y) for x, y in points if fits(x, log=self.log_x) and fits(y, log=self.log_y)]

    def _frame(self, x_axis: "Axis", y_axis: "Axis") -> Iterator[str]:
        for value in y_axis.ticks():
            y = _down(y_axis.share(value))
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="tick" x="{LEFT - 6}" y="{y + 4.5:.1f}" text-anchor="end">{number_text(value)}</text>'
        for value in x_axis.ticks():
            x = _across(x_axis.share(value))
            yield f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number_text(value)}</text>'
        yield f'<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(self.x_label)}</text>'

    def _marks(self, x_axis: "Axis") -> Iterator[str]:
        for number, mark in enumerate(self.marks):
            x = _across(x_axis.share(mark.x))
            anchor, aside = ("end", -4) if x > WIDTH / 2 else ("start", 4)
            yield f'<line class="mark {mark.css}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>'
            yield f'<text class="{mark.css}" x="{x + aside:.1f}" y="{TOP + 6 + 16 * number}" text-anchor="{anchor}">{escape(mark.label)}</text>'

    def _curve(self, curve: Curve, x_axis: "Axis", y_axis: "Axis") -> Iterator[str]:
        points = [
            (_across(x_axis.share(x)), _down(y_axis.share(y)))
            for x, y in thinned(self._drawable(curve.points))
        ]
        if len(points) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield f'<polyline class="{curve.css}" points="{path}"/>'
        if curve.dots or len(points) == 1:
            for x, y in points:
                yield f'<circle class="{curve.css}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'

    def _legend(self) -> Iterator[str]:
        x = float(WIDTH - RIGHT)
        for curve in reversed([curve for curve in self.curves if curve.name]):
            yield f'<text class="legend {curve.css}" x="{x:.0f}" y="16" text-anchor="end">{escape(curve.name)}</text>'
            x -= 8.0 * len(curve.name) + 14


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers, and where a number lies on it."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float], *, log: bool, tight: bool = False) -> "Axis":
        """The axis that holds the values, with a little room unless `tight`."""
        low, high = min(values), max(values)
        if log:
            room = 1.0 if tight else (high / low) ** 0.05 * 1.02
            return cls(low / room, high * room if high > low else high * 1.1, log)
        room = 0.0 if tight else 0.05 * (high - low)
        if high == low:
            room = abs(high) * 0.1 or 1.0
        bottom = low - room
        return cls(0.0 if low >= 0 > bottom else bottom, high + room, log)

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high end; beyond for what lies outside, up to a little."""
        if self.log:
            value = max(value, self.low * 1e-3)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.04, max(-0.02, share))

    def ticks(self) -> list[float]:
        """A few round numbers on it."""
        if self.log and self.high / self.low >= 30:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)  # fmt: skip
            every = max(1, math.ceil((last - first + 1) / 7))
            return [10.0**power for power in range(first, last + 1, every)]
        step = _round_step((self.high - self.low) / 4)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1) if number or not self.log]


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most two points for each of `MOST_POINTS` stretches: its lowest and its highest, in their order."""
    if len(points) <= 2 * MOST_POINTS:
        return list(points)
    chosen: list[Point] = []
    for number in range(MOST_POINTS):
        part = points[number * len(points) // MOST_POINTS : (number + 1) * len(points) // MOST_POINTS]  # fmt: skip
        low, high = min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])
        chosen += sorted({low, high})
    return chosen


def number_text(value: float) -> str:
    """A number beside an axis: "0.5", "3k", "1e-4"."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if size >= 1e-3 or size < 1e-12:
        return f"{value:.4g}" if size >= 1e-12 else "0"
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _down(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
