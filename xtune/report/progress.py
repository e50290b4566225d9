"""Progress of training for people: a bar on a terminal, sparse lines in a pipe, a panel in a notebook.

Nothing here may stop training: when the terminal or the pipe goes away, the output ends and the run goes on.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rich.progress import BarColumn, Progress, TextColumn

from xtune.report.notebook import NotebookProgress, in_notebook
from xtune.report.pace import Pace, bytes_text, duration_text, rate_text
from xtune.report.steady import SteadyConsole, SteadyLines
from xtune.run.observer import EndInfo, EvaluationMetrics, Observer, StartInfo, StepMetrics

REFRESH_S = 0.25
"""Between two drawings of the bar. One takes 1.2 ms (two EPYC cores, 2026-11-22): at most 0.5 % of the time."""

LINE_FIRST_S = 2.0
LINE_LAST_S = 60.0
LINE_GROWTH = 0.1
"""A pipe gets a line after 10 % more training time, but at least 2 s and at most a minute after the last:
27 lines in the first minute, then one a minute from the tenth minute on."""

GREETING = "training {trainable:,} of {total:,} parameters ({share:.2%}) on {rows:,} rows, steps {first} to {last}"


def progress(stream: TextIO | None = None) -> Observer:
    """The observer that fits where the output goes.

    Args:
        stream: Where to write; standard output when left out.
    """
    if stream is None and in_notebook():
        return NotebookProgress()
    stream = stream or sys.stdout
    return TerminalProgress(stream) if stream.isatty() else PlainProgress(stream)


def step_text(pace: Pace) -> str:
    """The numbers of the last step on one line."""
    parts = [
        f"loss {pace.loss.value:.4f}",
        f"lr {pace.learning_rate:.1e}",
        f"{rate_text(pace.tokens_per_s)} tok/s",
        bytes_text(pace.memory_bytes),
        f"ETA {duration_text(pace.remaining_s)}",
    ]
    return "  ".join(parts)


def greeting(start: StartInfo) -> str:
    """What is about to be trained."""
    return GREETING.format(
        trainable=start.trainable_parameters,
        total=start.total_parameters,
        share=start.trainable_parameters / max(start.total_parameters, 1),
        rows=start.rows,
        first=start.first_step + 1,
        last=start.total_steps,
    )


def evaluation_text(metrics: EvaluationMetrics) -> str:
    """An evaluation on one line."""
    best = " (best so far)" if metrics.best else ""
    return f"evaluation at step {metrics.step}: loss {metrics.loss:.4f}{best}"


class PlainProgress:
    """Lines without colours or movement, few enough to read in a log."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to `stream`; `clock` gives seconds."""
        self._lines = SteadyLines(stream)
        self._clock = clock
        self._pace: Pace | None = None
        self._began = self._last_line = 0.0
        self._pending = False

    def on_start(self, start: StartInfo) -> None:
        """Say what is trained."""
        self._pace = Pace.start(start)
        self._began = self._clock()
        self._last_line = -float("inf")
        self._lines.write(greeting(start))

    def on_step(self, metrics: StepMetrics) -> None:
        """Write the first step, the last one, and some between."""
        if self._pace is None:
            return
        self._pace.add(metrics)
        self._pending = True
        now = self._clock()
        gap = min(max((now - self._began) * LINE_GROWTH, LINE_FIRST_S), LINE_LAST_S)
        if now - self._last_line >= gap or metrics.step == self._pace.total_steps:
            self._write_step(now)

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Write the loss."""
        self._lines.write(evaluation_text(metrics))

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Write where it is."""
        self._lines.write(f"checkpoint of step {step}: {path}")

    def on_message(self, text: str) -> None:
        """Write it."""
        self._lines.write(text)

    def on_end(self, end: EndInfo) -> None:
        """Write the last step, if it is not written yet, and how it ended, unless an exception tells that."""
        if self._pending:
            self._write_step(self._clock())
        if not end.is_raised:
            self._lines.write(end.message)

    def _write_step(self, now: float) -> None:
        pace = self._pace
        if pace is None:
            return
        self._last_line, self._pending = now, False
        width = len(str(pace.total_steps))
        share = pace.step / max(pace.total_steps, 1)
        self._lines.write(
            f"step {pace.step:>{width}}/{pace.total_steps} {share:>4.0%}  {step_text(pace)}"
        )


class TerminalProgress:
    """A bar with the numbers beside it, redrawn at most four times a second."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Draw on `stream`, a terminal; `clock` gives seconds."""
        self._console = SteadyConsole(stream)
        self._clock = clock
        self._pace: Pace | None = None
        self._drawn = 0.0
        # redrawn by hand: a thread of rich's would draw in the middle of a step, and survive a fork badly
        self._bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=self._console,
            auto_refresh=False,
            # what others print goes above the bar, unless it goes to a file
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
            expand=True,
        )
        self._task = self._bar.add_task("training", total=1, numbers="", visible=False)

    def on_start(self, start: StartInfo) -> None:
        """Say what is trained and show the bar."""
        self._pace = Pace.start(start)
        self._console.say(greeting(start))
        self._console.draw(self._bar.start)
        self._draw()

    def on_step(self, metrics: StepMetrics) -> None:
        """Redraw, unless that was done a moment ago."""
        if self._pace is None:
            return
        self._pace.add(metrics)
        if self._clock() - self._drawn >= REFRESH_S or metrics.step == self._pace.total_steps:
            self._draw()

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Print the loss above the bar."""
        self._console.say(evaluation_text(metrics), style="bold green" if metrics.best else None)

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: the bar is enough."""

    def on_message(self, text: str) -> None:
        """Print it above the bar."""
        self._console.say(text)

    def on_end(self, end: EndInfo) -> None:
        """Draw the last state, let go of the terminal, and say how it ended, unless an exception tells that."""
        if self._pace is not None:
            self._draw()
            self._console.draw(self._bar.stop)
        if not end.is_raised:
            self._console.say(end.message, style="green" if end.status == "finished" else "yellow")

    def _draw(self) -> None:
        pace = self._pace
        if pace is None or self._console.gone:
            return
        self._drawn = self._clock()
        numbers = step_text(pace) if pace.elapsed_s else "first step"
        self._bar.update(
            self._task, total=pace.total_steps, completed=pace.step, numbers=numbers, visible=True
        )
        self._console.draw(self._bar.refresh)
