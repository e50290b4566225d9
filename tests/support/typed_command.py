"""The command line in the tests' own process: words in, exit code and output out."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from xtune.cli.app import main


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


def command_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`xtune`, to be called with its words."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["xtune", *map(str, words)])
        # under `python -m pytest` typer would take that for the command's name
        monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return Ended(code, *capsys.readouterr())

    return run
