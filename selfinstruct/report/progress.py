"""A run's progress for people: a bar on a terminal, sparse lines in a pipe. Nothing here may stop the run."""

import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.progress import BarColumn, Progress, TextColumn

from selfinstruct.llm.prices import dollars
from selfinstruct.pool.tally import Tally
from xtune.report.progress import (
    LINE_FIRST_S,
    LINE_GROWTH,
    LINE_LAST_S,
    REFRESH_S,
)
from xtune.report.steady import SteadyConsole, SteadyLines


def numbers(tally: Tally) -> str:
    """A tally on one line."""
    parts = [
        f"kept {sum(tally.kept.values()):,}",
        f"dropped {sum(tally.drops.values()):,}",
        f"replies {tally.replies:,}",
        f"{short(tally.usage.prompt_tokens + tally.usage.completion_tokens)} tokens",
    ]
    if tally.usd:
        parts.append(dollars(tally.usd))
    parts.append(f"{tally.in_flight} of {tally.concurrency} at a time")
    return "  ".join(parts)


def short(count: int) -> str:
    """A count in three digits: 950, 12.3k, 4.56M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)


class Shower(Protocol):
    """Whoever shows a run."""

    def show(self, tally: Tally) -> None:
        """Take note of how it stands."""
        ...

    def say(self, text: str) -> None:
        """Tell something that people should know."""
        ...

    def close(self) -> None:
        """Show the last state and let go of the terminal."""
        ...


def shower(stream: TextIO | None = None) -> Shower:
    """What fits where the output goes; standard error when left out."""
    stream = stream or sys.stderr
    return Bar(stream) if stream.isatty() else Lines(stream)


class Lines:
    """Lines without colours or movement, few enough to read in a log."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = SteadyLines(stream)
        self._clock = clock
        self._began = clock()
        self._last = -float("inf")
        self._pending: Tally | None = None

    def show(self, tally: Tally) -> None:
        """Write a line, unless one was written a moment ago."""
        self._pending = tally
        now = self._clock()
        if now - self._last >= min(
            max((now - self._began) * LINE_GROWTH, LINE_FIRST_S), LINE_LAST_S
        ):
            self._write_tally(now)

    def say(self, text: str) -> None:
        """Write it."""
        self._lines.write(text)

    def close(self) -> None:
        """Write the last state, if it is not written yet."""
        if self._pending is not None:
            self._write_tally(self._clock())

    def _write_tally(self, now: float) -> None:
        if self._pending is not None:
            self._lines.write(f"{self._pending.share:>4.0%}  {numbers(self._pending)}")
        self._last, self._pending = now, None


class Bar:
    """A bar with the numbers beside it."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = SteadyConsole(stream)
        self._clock = clock
        self._drawn = -float("inf")
        self._tally: Tally | None = None
        self._bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=self._console,
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task("run", total=1.0, numbers="", visible=False)

    def show(self, tally: Tally) -> None:
        """Redraw, unless that was done a moment ago."""
        first, self._tally = self._tally is None, tally
        if first:
            self._console.draw(self._bar.start)
        if first or self._clock() - self._drawn >= REFRESH_S:
            self._draw()

    def say(self, text: str) -> None:
        """Print it above the bar."""
        self._console.say(text)

    def close(self) -> None:
        """Draw the last state and let go of the terminal."""
        if self._tally is not None:
            self._draw()
            self._console.draw(self._bar.stop)
            self._tally = None

    def _draw(self) -> None:
        if self._tally is None or self._console.gone:
            return
        self._drawn = self._clock()
        self._bar.update(
            self._task, completed=self._tally.share, numbers=numbers(self._tally), visible=True
        )
        self._console.draw(self._bar.refresh)
