"""`xtune chat` in a terminal, a pseudo one: what a person types, sees and interrupts."""

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from factories import save_model

IN_TERMINAL = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is typed, not sent
runpy.run_module("xtune", run_name="__main__", alter_sys=True)
"""

PATIENCE_S = 120
"""How long a test waits for what it expects; it is there sooner."""


class Terminal:
    """A program in a pseudo-terminal of its own."""

    def __init__(self, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self._master, text.encode())

    def until(self, pattern: str) -> str:
        """What is shown up to a pattern, since the last one."""
        while (match := re.search(pattern, self.seen)) is None:
            ready, _, _ = select.select([self._master], [], [], PATIENCE_S)
            assert ready, f"{pattern} did not come; seen: {self.seen}"
            self.seen += os.read(self._master, 4096).decode("utf-8", "replace")
        shown, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return shown

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    folder = save_model(tmp_path / "model", max_position_embeddings=8192)
    opened = Terminal("chat", str(folder), "--max-new-tokens", "5")
    yield opened
    opened.close()


def test_a_conversation_with_commands_an_interrupted_answer_and_an_end(terminal: Terminal) -> None:
    assert "/reset" in terminal.until("> ")
    terminal.type("Hello\n")
    answer = terminal.until("\n> ")
    assert len(answer) > len("Hello\r\n\r\n> ")
    terminal.type("/system Be brief.\n")
    assert "System prompt set" in terminal.until("\n> ")
    terminal.type("/set max_new_tokens=8000\n")
    assert "max_new_tokens=8000" in terminal.until("\n> ")
    terminal.type("Go on for ever\n")
    terminal.until("ever\r?\n.{20}")  # the answer comes
    terminal.type("\x03")
    terminal.until(r"\[stopped\]")
    terminal.until("\n> ")
    terminal.type("/reset\n")
    assert "forgotten" in terminal.until("\n> ")
    terminal.type("/exit\n")
    assert terminal.process.wait(PATIENCE_S) == 0


def test_ctrl_c_at_the_prompt_ends_the_chat(terminal: Terminal) -> None:
    terminal.until("> ")
    # Python may miss a signal that comes between the prompt and its wait for a key: whoever types does so again
    for _ in range(4):
        terminal.type("\x03")
        with suppress(subprocess.TimeoutExpired):
            assert terminal.process.wait(PATIENCE_S / 4) == 0
            return
    pytest.fail("Ctrl-C did not end the chat")
