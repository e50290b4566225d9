"""Output that outlives its reader: when a terminal or a pipe goes away the writing ends, and whoever wrote goes on."""

import os
import sys
from collections.abc import Callable
from typing import TextIO

from rich.console import Console

from xtune.shown import for_stream


class SteadyLines:
    """Lines in a stream, in whatever letters it can take."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def write(self, line: str) -> None:
        """Write one line, unless the reader is gone."""
        if self._stream is None:
            return
        try:
            line = for_stream(line, self._stream)
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # OSError: the reader is gone; ValueError: the stream was closed in this process
            _silence(self._stream)
            self._stream = None


class SteadyConsole(Console):
    """A console for a bar and what is printed above it; `draw` through it, and a lost terminal is no error."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(file=stream, highlight=False)
        self._drawn_on = stream
        self.gone = False
        """Whether the terminal is lost."""

    def draw(self, action: Callable[[], None]) -> None:
        """Do what draws, unless the terminal is gone."""
        if self.gone:
            return
        try:
            action()
        except (OSError, ValueError):
            # a closed window or a lost connection: EIO, a broken pipe, or a closed file
            self.gone = self.quiet = True
            _silence(self._drawn_on)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a text as it is, above the bar."""
        self.draw(lambda: self.print(text, style=style, markup=False, soft_wrap=True))

    def on_broken_pipe(self) -> None:
        """Pass the error on; rich's own ends the program here.

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError


def _silence(stream: TextIO) -> None:
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
