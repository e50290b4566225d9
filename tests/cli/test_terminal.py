"""What a model writes does nothing to a terminal, and reaches files and pipes as it is; on a real terminal."""

import contextlib
import json
import os
import pty
import sys
import threading
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from xtune.cli.app import app
from xtune.cli.terminal import Harmless
from xtune.shown import harmless

HOT = ("--temperature", "100", "--max-new-tokens", "120", "--seed", "4")
"""All tokens of the tiny model, most of them single bytes, are then alike."""


def on_terminal(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    written = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # Linux's way to say that the other side is closed
            while piece := os.read(ours, 65536):
                written.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:  # noqa: PTH123 - a descriptor
        patch.setattr(sys, "stdout", terminal)
        app(list(words), standalone_mode=False)
    reader.join()
    os.close(ours)
    # the terminal's own line ends
    return written.replace(b"\r\n", b"\n").decode()


def controls(text: str) -> set[str]:
    """Control characters that are neither line end nor tab, which a terminal expands itself."""
    return {one for one in text if unicodedata.category(one) == "Cc"} - {"\n", "\t"}


@pytest.mark.parametrize("verb", ["generate", "chat"])
def test_answers_are_harmless_on_a_terminal_and_unchanged_in_a_pipe(
    tiny_model: Path,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    words = (verb, str(tiny_model), "--prompt", "red", *HOT)
    app(list(words), standalone_mode=False)
    piped = capfdbinary.readouterr().out.decode()
    assert controls(piped)
    shown = on_terminal(monkeypatch, *words)
    assert not controls(shown)
    assert shown == harmless(piped)


def test_rows_as_json_stay_json_on_a_terminal(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--prompt", "red", "--prompt", "\x1b[2J\x9b", *HOT)
    shown = on_terminal(monkeypatch, "generate", str(tiny_model), *words)
    assert not controls(shown)
    rows = [json.loads(line) for line in shown.splitlines()]
    assert rows[1]["prompt"] == "\x1b[2J\x9b"


def test_signs_stand_for_what_a_terminal_obeys_and_for_nothing_else() -> None:
    assert harmless("a\x1b]0;x\x07\r\n\tb\x9b2J\x7f") == "a␛]0;x␇␍\n\tb⟨U+009B⟩2J␡"
    assert harmless("\u202eabc\u2066") == "⟨U+202E⟩abc⟨U+2066⟩"
    plain = "C’est\u202fça\u00a0! 日本\u3000語 ไทย\u200bคำ می\u200cخواهم 👩\u200d🚀 \u200fעברית"
    assert harmless(plain) == plain


def test_a_table_brings_no_control_characters_of_its_texts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = Text("\x1b[31mred\x9b0m\x08", style="bold")
    Console(force_terminal=True, color_system="standard").print(Harmless(hostile))
    shown = capsys.readouterr().out
    assert "␛[31mred⟨U+009B⟩0m" in shown
    assert shown.startswith("\x1b[1m")  # the style is the table's own
