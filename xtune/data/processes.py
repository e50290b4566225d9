"""Starts processes of our own that live as long as a pipe to this one; what they do is not known here.

A process is `python -c`, not a fork: no thread of torch or of the tokenizer is copied, and no script
needs a main guard. When this process dies, however it dies, the pipe closes and the other ends.
"""

import json
import pickle
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import NoReturn

from xtune.data.problems import refuse
from xtune.hardware import worker_environment

_START = (
    "import sys, json; sys.path[:0] = json.loads(sys.argv[2]); "
    "from xtune.data.light import start_light; {start}"
    "from xtune.data.{module} import serve; serve(int(sys.argv[1]))"
)


def start_process(module: str, *, light: bool) -> tuple[Connection, "subprocess.Popen[bytes]"]:
    """Run `serve` of a module beside this one, with the descriptor of the other end of a pipe.

    Args:
        module: Its name in `xtune.data`.
        light: Without transformers and torch, which then cannot be imported there.
    """
    code = _START.format(module=module, start="start_light(); " if light else "")
    ours, theirs = Pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), json.dumps(sys.path)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C on the terminal is for this process alone
            env=worker_environment(),
        )  # fmt: skip
    finally:
        theirs.close()
    return ours, process


def end_process(connection: Connection, process: "subprocess.Popen[bytes]") -> None:
    """End a process at once."""
    connection.close()
    process.kill()
    process.wait()


def refuse_dead(process: "subprocess.Popen[bytes]") -> NoReturn:
    """End here: a process died that was needed.

    Raises:
        DataError: Always.
    """
    code = process.wait()
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    refuse(
        f"A process that encodes rows ended {how}",
        where="data.workers",
        advice="memory may have run out: set `data.workers` to a smaller number.",
    )


def pickled(message: object) -> bytes | None:
    """An object as bytes; None for one that cannot be sent: a tokenizer with code of its own, say."""
    if not sys.executable:
        return None
    try:
        sent = pickle.dumps(message, protocol=5)
        pickle.loads(sent)
    except (pickle.PicklingError, AttributeError, TypeError, ImportError, ValueError):
        return None
    return sent
