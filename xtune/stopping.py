"""The signals by which somebody asks a program to end in good order, and terminals that are gone by then; ends nothing itself."""

import errno
import io
import signal
from typing import Any


def stop_signals() -> tuple[signal.Signals, ...]:
    """Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends, unless it is ignored, as under `nohup`.

    A shell that is hung up sends SIGHUP, and the system another when the shell is gone: a second one says nothing new.
    """
    asked = (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return asked
    return (*asked, signal.SIGHUP)


class Terminal(io.FileIO):
    """A terminal that may be closed before the program ends: what is written to it then is lost, and no error."""

    def write(self, data: Any, /) -> int:
        """Write, as far as there is a terminal.

        Raises:
            OSError: The system refused for another reason than that the terminal is gone.
        """
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(memoryview(data).cast("B"))


def outlives(stream: Any) -> Any:
    """A text stream that goes on when its terminal is gone; one that is no terminal is left as it is."""
    if not isinstance(stream, io.TextIOWrapper) or not stream.isatty():
        return stream
    stream.flush()
    raw = Terminal(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )
