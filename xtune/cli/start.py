"""The first thing that the `xtune` command runs: signals end it quietly from here on; the verbs are in `app.py`.

Imports next to nothing, as Python answers Ctrl-C with a traceback until the handlers are set.
"""

import contextlib
import os
import signal
from types import FrameType

from xtune.errors import EXIT_INTERRUPTED, Terminated
from xtune.stopping import stop_signals


def main() -> None:
    """Run the command line, interruptible while it loads."""
    catch_signals()
    from xtune.cli.app import main as run_verb

    run_verb()


def catch_signals() -> None:
    """Make SIGTERM and SIGHUP end a command like Ctrl-C does, and all quiet in the seconds that libraries take to load."""
    for number in stop_signals():
        # a shell's `&` has it ignored
        if number != signal.SIGINT or signal.getsignal(number) is signal.default_int_handler:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise what the signal means.

    Raises:
        KeyboardInterrupt: For SIGINT.
        Terminated: For SIGTERM and SIGHUP.
    """
    if _is_importing(frame):
        # a half-loaded library ends in errors of its own (numpy: RecursionError), and nothing is there to save
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, b"Interrupted.\n")
        os._exit(EXIT_INTERRUPTED)
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # another comes when the shell is gone, too
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
