"""Progress of training for people: a bar on a terminal, sparse lines in a pipe, a panel in a notebook.

Nothing here may stop training: when the terminal or the pipe goes away, the output ends and the run goes on.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from xtune.report.notebook import NotebookProgress, in_notebook
from xtune.report.pace import Pace, bytes_text, duration_text, rate_text
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
        self._stream: TextIO | None = stream
        self._clock = clock
        self._pace: Pace | None = None
        self._began = self._last_line = 0.0
        self._pending = False

    def on_start(self, start: StartInfo) -> None:
        """Say what is trained."""
        self._pace = Pace.start(start)
        self._began = self._clock()
        self._last_line = -float("inf")
        self._write(greeting(start))

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
        self._write(evaluation_text(metrics))

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Write where it is."""
        self._write(f"checkpoint of step {step}: {path}")

    def on_message(self, text: str) -> None:
        """Write it."""
        self._write(text)

    def on_end(self, end: EndInfo) -> None:
        """Write the last step, if it is not written yet, and how it ended, unless an exception tells that."""
        if self._pending:
            self._write_step(self._clock())
        if not end.is_raised:
            self._write(end.message)

    def _write_step(self, now: float) -> None:
        pace = self._pace
        if pace is None:
            return
        self._last_line, self._pending = now, False
        width = len(str(pace.total_steps))
        share = pace.step / max(pace.total_steps, 1)
        self._write(
            f"step {pace.step:>{width}}/{pace.total_steps} {share:>4.0%}  {step_text(pace)}"
        )

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # OSError: the reader is gone; ValueError: the stream was closed in this process
            silence(self._stream)
            self._stream = None


class TerminalProgress:
    """A bar with the numbers beside it, redrawn at most four times a second."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Draw on `stream`, a terminal; `clock` gives seconds."""
        self._stream = stream
        self._console = SteadyConsole(file=stream, highlight=False)
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
        self._gone = False

    def on_start(self, start: StartInfo) -> None:
        """Say what is trained and show the bar."""
        self._pace = Pace.start(start)
        self._print(greeting(start))
        self._guard(self._bar.start)
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
        self._print(evaluation_text(metrics), style="bold green" if metrics.best else None)

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: the bar is enough."""

    def on_message(self, text: str) -> None:
        """Print it above the bar."""
        self._print(text)

    def on_end(self, end: EndInfo) -> None:
        """Draw the last state, let go of the terminal, and say how it ended, unless an exception tells that."""
        if self._pace is not None:
            self._draw()
            self._guard(self._bar.stop)
        if not end.is_raised:
            self._print(end.message, style="green" if end.status == "finished" else "yellow")

    def _draw(self) -> None:
        pace = self._pace
        if pace is None or self._gone:
            return
        self._drawn = self._clock()
        numbers = step_text(pace) if pace.elapsed_s else "first step"
        self._bar.update(
            self._task, total=pace.total_steps, completed=pace.step, numbers=numbers, visible=True
        )
        self._guard(self._bar.refresh)

    def _print(self, text: str, *, style: str | None = None) -> None:
        self._guard(lambda: self._console.print(text, style=style, markup=False, soft_wrap=True))

    def _guard(self, draw: Callable[[], None]) -> None:
        if self._gone:
            return
        try:
            draw()
        except (OSError, ValueError):
            # the terminal is gone (closed window, lost connection): EIO, a broken pipe, or a closed file
            self._gone = self._console.quiet = True
            silence(self._stream)


class SteadyConsole(Console):
    """A console that reports a broken pipe; rich's own ends the program there."""

    def on_broken_pipe(self) -> None:
        """Pass the error on.

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError


def silence(stream: TextIO) -> None:
    """Point a standard stream that lost its reader at nothing, so that its flush at exit cannot fail."""
    if stream not in {sys.stdout, sys.stderr}:
        return
    try:
        number = stream.fileno()
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)
    except (OSError, ValueError):
        # no descriptor behind it, so nothing is flushed there at exit either
        return
