"""How a command ends: errors become messages and exit codes, here and nowhere else; it knows no verb."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from typer.core import TyperGroup

from xtune.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USER, Interrupted, XtuneError


class Verbs(TyperGroup):
    """The group of verbs; Ctrl-C ends one with a word, where typer would end it without."""

    def invoke(self, ctx: Any) -> object:
        """Run the verb.

        Raises:
            Interrupted: In the place of KeyboardInterrupt.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted.") from None


def run_to_end(app: Callable[..., Any]) -> None:
    """Run the command line; an error that a person can fix becomes one message and exit code 2.

    Raises:
        OSError: The system refused something that is not a matter of space: a bug.
    """
    try:
        _open_streams()
        app(standalone_mode=True)
    except XtuneError as error:
        _fail(f"{error}", EXIT_USER)
    except (Interrupted, KeyboardInterrupt) as stop:
        _fail(str(stop) or "Interrupted.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # whoever read our output is gone: point stdout at nothing, so that Python's own flush stays quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BUG)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _fail("The disk is full. Free some space, then try again.", EXIT_USER)


def _open_streams() -> None:
    """Make the standard streams fit for any text, and present: cron and `>&-` close them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _fail(message: str, code: int) -> None:
    with contextlib.suppress(OSError):  # what was to be told is in the message
        sys.stdout.flush()
    print(message, file=sys.stderr)
    sys.exit(code)
