"""How a command ends: errors become messages and exit codes, here and nowhere else; it knows no verb."""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from typer import BadParameter
from typer.core import TyperGroup

from xtune.errors import EXIT_INTERRUPTED, EXIT_UNREAD, EXIT_USER, Interrupted, XtuneError
from xtune.shown import say
from xtune.stopping import outlives

_UsageError: type[Any] = BadParameter.__mro__[1]
"""What typer raises for a verb, an option or a value that there is not; it has no public name."""


NO_ROOM = (
    "Memory ran out, with the work cut as small as it can be. Close other programs that use the device, or ask for less at a "
    "time: shorter rows (`--max-new-tokens`, `data.max_tokens`) or a base held in four bits (`method.type: qlora`)."
)


class Verbs(TyperGroup):
    """The group of verbs; Ctrl-C ends one with a word, and a mistyped one is told in a line and not in a box."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """Read the options that stand before the verb.

        Raises:
            XtuneError: There is no such option.
        """
        with _told_in_a_line():
            return super().make_context(info_name, args, *more, **extra)

    def invoke(self, ctx: Any) -> object:
        """Run the verb.

        Raises:
            Interrupted: In the place of KeyboardInterrupt.
            XtuneError: There is no such verb, option or value.
        """
        try:
            with _told_in_a_line():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted.") from None


@contextlib.contextmanager
def _told_in_a_line() -> Iterator[None]:
    """Turn typer's error into ours.

    Raises:
        XtuneError: In the place of one that names what is wrong.
    """
    try:
        yield
    except _UsageError as error:
        message = error.format_message().replace("Value error, ", "")
        if error.ctx is None or not message:
            raise  # no verb at all: typer shows the help
        end = "" if message.endswith((".", "?")) else "."
        raise XtuneError(
            f"{message}{end}", advice=f"See {error.ctx.command_path} --help."
        ) from None


def run_to_end(app: Callable[..., Any]) -> None:
    """Run the command line; an error that a person can fix becomes one message and exit code 2.

    Raises:
        OSError: The system refused something that is not a matter of space: a bug.
        RuntimeError: A bug.
        MemoryError: Never; it is told as the rest.
        SystemExit: With the exit code.
    """
    output = _kept_output()
    try:
        _open_streams()
        _run(app, output)
    except XtuneError as error:
        _fail(f"{error}", EXIT_USER)
    except (Interrupted, KeyboardInterrupt) as stop:
        _fail(str(stop) or "Interrupted.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        _end_unread()
    except (RuntimeError, MemoryError) as error:
        if not _is_no_room(error):
            raise
        _fail(NO_ROOM, EXIT_USER)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _fail("The disk is full. Free some space, then try again.", EXIT_USER)


def _run(app: Callable[..., Any], output: int | None) -> None:
    """Run the command line and write what it left to be written.

    Args:
        app: The command line.
        output: What `_kept_output` returned.

    Raises:
        BrokenPipeError: Nobody reads the output; typer and rich answer that themselves, with 1.
        OSError: The output cannot be written; only Python's own last flush would see it, and tell it in its own words.
        SystemExit: With the exit code.
    """
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        if end.code == 1 and _is_unread(output):
            raise BrokenPipeError from None
        if not sys.stdout.closed:
            sys.stdout.flush()
        raise


def _is_no_room(error: Exception) -> bool:
    """Whether memory ran out; torch is not imported for the question."""
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from xtune.kernels.no_room import is_out_of_memory

    return is_out_of_memory(error)


def _open_streams() -> None:
    """Make the standard streams fit for any text, present, and no cause to end: `>&-` closes them, and so does a terminal's end."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    sys.stdout, sys.stderr = outlives(sys.stdout), outlives(sys.stderr)


def _fail(message: str, code: int) -> None:
    try:
        sys.stdout.flush()
    except OSError:  # what was to be told is in the message; Python's own last flush would fail again, and exit with 120
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        say(message, stream=sys.stderr)
    except BrokenPipeError:
        _quieten()  # nobody reads it, and the exit code says it, too
    sys.exit(code)


def _kept_output() -> int | None:
    """Another descriptor of our output: rich points the first one at nothing when nobody reads it."""
    try:
        return os.dup(1)
    except OSError:
        return None


def _is_unread(output: int | None) -> bool:
    """Whether the reading end of our output is closed."""
    if output is None:
        return False
    poll = select.poll()
    poll.register(output, 0)
    return any(state & select.POLLERR for _, state in poll.poll(0))


def _end_unread() -> NoReturn:
    _quieten()
    sys.exit(EXIT_UNREAD)


def _quieten() -> None:
    """Point the standard streams at nothing where nobody reads them, so that Python's own last flush stays quiet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nothing, stream.fileno())
        except (OSError, ValueError):
            continue
