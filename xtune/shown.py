"""How results show themselves in a notebook that have nothing better than their text, and how texts of others are shown."""

import json
import re
import shutil
import sys
import textwrap
from html import escape
from typing import IO, Any

_SIGNS = {"\n": "↵", "\t": "→", "\r": "␍", "\x7f": "␡"}
_JOINERS = frozenset("\u200c\u200d")
"""Parts of words in Persian, in Indic scripts and of emoji: letters in all but their category."""


_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys or may take for a line end, and what turns the order of letters round: all control characters of
Unicode's category Cc but line end and tab, the two separators of lines, embeddings, overrides and isolates."""


class Shown:
    """Something whose text a notebook shows as it is, line by line."""

    def _repr_html_(self) -> str:
        return f'<pre style="white-space:pre-wrap">{escape(str(self))}</pre>'


def visible(text: str, *, space: str = " ") -> str:
    r"""A text with its white space and control characters as signs, so that none acts on a terminal.

    Args:
        text: Any text, from anyone.
        space: The sign for a space.
    """
    return "".join(_sign(character, space) for character in text)


def harmless(text: str) -> str:
    """A text that a terminal shows and does not obey: its control characters as signs, all else as it is.

    Unlike `visible` it keeps line ends, tabs and every kind of space, so that an answer can be read.
    """
    return _ACTING.sub(lambda found: _sign(found[0], " "), text)


def for_stream(text: str, stream: IO[str]) -> str:
    """A text of anyone as it may go into a stream: harmless to a terminal, unchanged into files and pipes."""
    return harmless(text) if stream.isatty() else text


def size_text(count: int) -> str:
    """Bytes for people, to the nearest hundredth of a GiB or tenth of a MiB: "3.35 GiB", "107.3 MiB"."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def say(text: object, *, end: str = "\n", stream: IO[str] | None = None) -> None:
    """Print at once what may hold a model's answer, data or a name of somebody's."""
    stream = sys.stdout if stream is None else stream
    stream.write(for_stream(f"{text}{end}", stream))
    stream.flush()


def say_lines(text: object) -> None:
    """Print lines for people: on a terminal those that are wider than it are wrapped under their last column."""
    lines = str(text)
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        lines = "\n".join(_folded(line, width) for line in lines.split("\n"))
    say(lines)


def _folded(line: str, width: int) -> str:
    """A line of columns, which two spaces part, in so many columns of the terminal."""
    starts = [found.end() for found in re.finditer(" {2,}(?=[^ ])", line)]
    under = " " * max((start for start in starts if start <= width // 2), default=0)
    parts = textwrap.wrap(
        line,
        width,
        subsequent_indent=under,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(parts)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print JSON, with what a terminal would obey in the way that JSON has for it."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if sys.stdout.isatty():
        text = _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    sys.stdout.write(f"{text}\n")


def _sign(character: str, space: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if character == " ":
        return space
    if character.isprintable() or character in _JOINERS:
        return character
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"
