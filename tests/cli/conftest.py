"""The command as a fixture."""

import pytest
from typed_command import Command, command_in


@pytest.fixture
def xtune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, from the words to the exit code."""
    return command_in(monkeypatch, capsys)
