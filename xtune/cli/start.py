"""The first thing that the `xtune` command runs: signals end it quietly from here on; the verbs are in `app.py`.

Imports next to nothing, as Python answers Ctrl-C with a traceback until the handlers are set.
"""

import os
import signal
from types import FrameType

from xtune.errors import EXIT_INTERRUPTED, Terminated


def main() -> None:
    """Run the command line, interruptible while it loads."""
    catch_signals()
    from xtune.cli.app import main as run_verb

    run_verb()


def catch_signals() -> None:
    """Make SIGTERM end a command like Ctrl-C does, and both quiet in the seconds that libraries take to load."""
    signal.signal(signal.SIGTERM, _stop)
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # a shell's `&` has it ignored
        signal.signal(signal.SIGINT, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise what the signal means.

    Raises:
        KeyboardInterrupt: For SIGINT.
        Terminated: For SIGTERM.
    """
    if _is_importing(frame):
        # a half-loaded library ends in errors of its own (numpy: RecursionError), and nothing is there to save
        os.write(2, b"Interrupted.\n")
        os._exit(EXIT_INTERRUPTED)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
