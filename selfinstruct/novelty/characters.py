"""Cuts texts into runs of word characters and runs of the rest, compiled: what `xtune.text` calls `wordpunct` and `indic words`."""

import re
import sys
from functools import cache

import numpy as np

from selfinstruct.novelty.compiling import compiled, inlined
from selfinstruct.novelty.search import Bytes

SPACE, WORD, OTHER = 0, 1, 2
"""What a character is: between tokens, or in a run of its own kind."""

_END = 10
"""Stands behind each token, as in `words`."""


@cache
def kinds_of(words: str) -> Bytes:
    r"""(characters of Unicode,) the kind of each, white space being `\s`.

    Args:
        words: What words are made of, between the brackets of a class.
    """
    every = np.arange(sys.maxunicode + 1, dtype=np.uint32).tobytes()
    text = every.decode("utf-32-le", "surrogatepass")
    kinds = np.full(len(text), OTHER, np.uint8)
    for kind, pattern in ((SPACE, r"\s+"), (WORD, f"[{words}]+")):
        for run in re.finditer(pattern, text):
            kinds[run.start() : run.end()] = kind
    return kinds


@inlined
def width_of(lead):  # type: ignore[no-untyped-def]
    """Bytes of a character in UTF-8, by its first."""
    return 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)


@inlined
def code_at(text, at, width):  # type: ignore[no-untyped-def]
    """The code point of a character of so many bytes."""
    code = np.int64(text[at])
    if width > 1:
        code &= 0x7F >> width
        for byte in range(1, width):
            code = code << 6 | (text[at + byte] & 0x3F)
    return code


@compiled
def cut_runs(text, sizes, kinds, tokens, counts):  # type: ignore[no-untyped-def]
    """Write the tokens of texts in UTF-8, a line feed behind each, and how many each text has.

    Args:
        text: (bytes,) the texts in UTF-8, one behind the other.
        sizes: (texts,) characters of each.
        kinds: As `kinds_of`.
        tokens: Room for twice as many bytes.
        counts: (texts,) room.

    Returns: bytes written.
    """
    at = into = np.int64(0)
    for number in range(len(sizes)):
        before, count = np.uint8(SPACE), np.int64(0)
        for _ in range(sizes[number]):
            width = width_of(text[at])
            kind = kinds[code_at(text, at, width)]
            if before != kind and before != SPACE:
                tokens[into] = _END
                into += 1
                count += 1
            if kind != SPACE:
                for byte in range(width):
                    tokens[into + byte] = text[at + byte]
                into += width
            before = kind
            at += width
        if before != SPACE:
            tokens[into] = _END
            into += 1
            count += 1
        counts[number] = count
    return into
