"""Unicode classes of `regex`, written out for `re`, which looks for the same characters in half the time; it looks for nothing itself."""

from functools import cache

import regex

BEYOND_BMP = 0x10000


def written_out(characters: str) -> str:
    r"""What a class of `regex` in its version 1 has between its brackets, `\p{L}'` say, as ranges for a class of `re`.

    Characters beyond the Basic Multilingual Plane are left out: `re` would look through all their ranges at every
    space. Lone surrogates are in no class.
    """
    runs = regex.finditer(f"(?V1)[{characters}]+", _bmp())
    return "".join(rf"\u{run.start():04x}-\u{run.end() - 1:04x}" for run in runs)


def is_in_bmp(text: str) -> bool:
    """Whether a text holds no character beyond the Basic Multilingual Plane."""
    return text.isascii() or len(text.encode("utf-16-le", "surrogatepass")) == 2 * len(text)


@cache
def _bmp() -> str:
    return "".join(map(chr, range(BEYOND_BMP)))
