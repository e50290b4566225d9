"""The state of a run as people want to see it: smoothed loss, speed, time left; and how to write such numbers."""

import math
from collections import deque
from dataclasses import dataclass, field

from xtune.run.observer import StartInfo, StepMetrics

SMOOTHING = 0.9
"""Weight of the past in the running loss: the last ten steps, roughly. A design choice."""

WINDOW_STEPS = 50
"""Steps that speed and time left are measured over: long enough for mixed lengths, short enough to notice a change."""


class Smoothed:
    """An exponential moving average without the pull of its start (Adam's bias correction, arXiv 1412.6980)."""

    def __init__(self, keep: float = SMOOTHING) -> None:
        self._keep = keep
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """Take a value in; returns the average. A value that is not finite is left out."""
        if math.isfinite(value):
            self._sum = self._keep * self._sum + (1 - self._keep) * value
            self._weight = self._keep * self._weight + (1 - self._keep)
        return self.value

    @property
    def value(self) -> float:
        """The average so far; NaN before the first value."""
        return self._sum / self._weight if self._weight else math.nan


@dataclass
class Pace:
    """What the steps so far say about the run."""

    total_steps: int
    step: int
    """Steps done, those before a resume included."""

    loss: Smoothed = field(default_factory=Smoothed)
    learning_rate: float = 0.0
    memory_bytes: int = 0
    elapsed_s: float = 0.0
    _last_tokens_per_s: float = 0.0
    _window: deque[tuple[int, int, float]] = field(
        default_factory=lambda: deque(maxlen=WINDOW_STEPS + 1)
    )
    """(step, tokens, elapsed_s) of the last steps."""

    @classmethod
    def start(cls, start: StartInfo) -> "Pace":
        """The state before the first step."""
        return cls(total_steps=start.total_steps, step=start.first_step)

    def add(self, metrics: StepMetrics) -> None:
        """Take a step in."""
        self.step = metrics.step
        self.loss.add(metrics.loss)
        self.learning_rate = metrics.learning_rate
        self.memory_bytes = metrics.memory_bytes
        self.elapsed_s = metrics.elapsed_s
        # the window opens at the end of the first step, which compiles, allocates and warms up
        self._window.append((metrics.step, metrics.tokens, metrics.elapsed_s))
        self._last_tokens_per_s = metrics.tokens_per_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second over the last steps; 0 before the first."""
        if len(self._window) < 2:
            return self._last_tokens_per_s
        (_, tokens_0, time_0), (_, tokens_1, time_1) = self._window[0], self._window[-1]
        return (tokens_1 - tokens_0) / max(time_1 - time_0, 1e-9)

    @property
    def remaining_s(self) -> float | None:
        """Seconds left at the speed of the last steps; None before two steps."""
        if len(self._window) < 2:
            return None
        (step_0, _, time_0), (step_1, _, time_1) = self._window[0], self._window[-1]
        return (self.total_steps - self.step) * (time_1 - time_0) / max(step_1 - step_0, 1)


def duration_text(seconds: float | None) -> str:
    """Seconds as "1:02:03", "4:05", or "?" where unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def bytes_text(count: int) -> str:
    """Bytes in binary units: "0.4 MiB", "512 MiB", "6.1 GiB"."""
    mebibytes = count / 2**20
    if 0 < mebibytes < 10:  # an adapter of a small model
        return f"{mebibytes:.1f} MiB"
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def rate_text(per_s: float) -> str:
    """A rate in three digits: "812", "5.3k", "1.2M"."""
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if per_s >= limit:
            scaled = per_s / limit
            return f"{scaled:.0f}{suffix}" if scaled >= 100 else f"{scaled:.1f}{suffix}"
    return f"{per_s:.0f}"
