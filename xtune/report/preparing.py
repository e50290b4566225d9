"""Progress of reading and encoding for people: a bar on a terminal, sparse lines in a pipe; gone when training begins."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from xtune.data.prepare import Listener

_QUIET_S = 1.0
"""Data that are encoded faster than this need no bar."""

_LINE_S = 10.0
"""Between two lines in a pipe."""

_REFRESH_S = 0.25


def preparing(stream: TextIO | None = None) -> Listener:
    """A listener that shows how far the data are; standard error where no stream is given."""
    shown = _Shown(stream or sys.stderr)
    return Listener(say=shown.say, watch=shown.watch, done=shown.done)


class _Shown:
    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._is_terminal = stream.isatty()
        self._began = self._last = 0.0
        self._bar: Progress | None = None

    def say(self, sentence: str) -> None:
        """Print a sentence, above the bar if there is one."""
        self._console.print(sentence, markup=False, soft_wrap=True)

    def watch(self, rows: int, part: float | None) -> None:
        """Show how many rows are encoded."""
        now = time.monotonic()
        self._began = self._began or now
        gap = _REFRESH_S if self._is_terminal else _LINE_S
        if now - self._began < _QUIET_S or now - self._last < gap:
            return
        self._last = now
        speed = f"{rows / (now - self._began):,.0f} rows/s"
        if not self._is_terminal:
            share = "" if part is None else f" ({part:.0%})"
            self.say(f"encoding: {rows:,} rows{share}, {speed}")
            return
        if self._bar is None:
            text = TextColumn("{task.fields[text]}", markup=False)
            self._bar = Progress(
                TextColumn("encoding"), BarColumn(), text, TimeRemainingColumn(),
                console=self._console, transient=True, auto_refresh=False,
            )  # fmt: skip
            self._bar.add_task("encoding", total=None if part is None else 1.0, text="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=part or 0, text=f"{rows:,} rows, {speed}")
        self._bar.refresh()

    def done(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
