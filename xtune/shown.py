"""How results show themselves in a notebook that have nothing better than their text, and how texts of others are shown."""

from html import escape

_SIGNS = {"\n": "↵", "\t": "→", "\r": "␍", "\x7f": "␡"}
_JOINERS = frozenset("\u200c\u200d")
"""Parts of words in Persian, in Indic scripts and of emoji: letters in all but their category."""


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


def _sign(character: str, space: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if character == " ":
        return space
    if character.isprintable() or character in _JOINERS:
        return character
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"
