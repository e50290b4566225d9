"""The real command in processes that need not import torch anew: each is forked from one that has.

Importing what training needs takes seven of the nine seconds of processor time of a short run, and the tests start
some fifty. A child is a process of its own, with its own working directory, environment, output and signals. What
happens before the verbs are loaded, and what the hash seed might change, is left to the tests that start a new
interpreter: those that kill, and those of the command line.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PRELOADED = ("xtune.cli.app", "xtune.api", "xtune.train.session", "matplotlib.backends.backend_agg")


def run_warm(
    words: list[str], *, cwd: str | Path | None = None, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The command `xtune` with its words, as `subprocess.run` would give it back."""
    parent = _parent()
    assert parent.stdin is not None
    assert parent.stdout is not None
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        places = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (out, err)]
        order = {
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(environment),
            "streams": places,
        }
        parent.stdin.write(json.dumps(order) + "\n")
        parent.stdin.flush()
        code = int(parent.stdout.readline())
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(["xtune", *words], code, out.read(), err.read())


@cache
def _parent() -> subprocess.Popen[str]:
    """The process that is forked, one for each process that tests; it ends when its standard input does."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )


def _serve() -> None:
    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    for name in PRELOADED:
        __import__(name)
    for line in orders:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _become(order: dict[str, object]) -> None:
    """Be the command, and end as an interpreter does."""
    import atexit
    import traceback

    code: object = 0
    try:
        _take_over(order)
        from xtune.cli.start import main

        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _take_over(order: dict[str, object]) -> None:
    streams, environment, words = order["streams"], order["environment"], order["words"]
    assert isinstance(streams, list)
    assert isinstance(environment, dict)
    assert isinstance(words, list)
    for number, place in enumerate(streams, start=1):
        os.dup2(os.open(place, os.O_WRONLY), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115 - until the end
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["xtune", *words]


if __name__ == "__main__":
    _serve()
