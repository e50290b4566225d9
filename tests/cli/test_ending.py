"""How a command ends when nobody reads its output any more."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("xtune", "--help"), 141),
        (("xtune", "data", "sets"), 141),
        (("xtune", "data", "show", "bundled:demo", "--data", "bundled:orders/train.jsonl"), 141),
        (("selfinstruct", "--help"), 141),
        (("xtune", "data", "check", "no-such-recipe"), 2),
    ],
)
def test_output_that_nobody_reads_ends_a_command_quietly(words: tuple[str, ...], code: int) -> None:
    """141 is 128 + SIGPIPE, as `git log | head` ends; what went wrong before any output keeps its own code."""
    unread, output = os.pipe()
    os.close(unread)
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(output)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert ("no recipe `no-such-recipe`" in done.stderr) == (code == 2)


def test_errors_that_nobody_reads_keep_their_code() -> None:
    unread, output = os.pipe()
    os.close(unread)
    try:
        words = [sys.executable, "-m", "xtune", "data", "check", "no-such-recipe"]
        done = subprocess.run(words, stdout=output, stderr=output, check=False)
    finally:
        os.close(output)
    assert done.returncode == 2
