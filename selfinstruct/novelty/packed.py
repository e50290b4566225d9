"""Texts that are cut into tokens as one string of bytes: each token in UTF-8 and a line feed behind it. It numbers none.

So they travel from the process that cut them to the one that has the pool, and into compiled code.
"""

from collections.abc import Sequence
from itertools import chain

END = 10
"""A line feed."""

_INSIDE = b"\xff"
"""Stands for a line feed within a token; no byte of UTF-8 is this one."""


def packed(texts: Sequence[Sequence[str]], tokens: int) -> bytes:
    """The texts, which have so many tokens, one behind the other; other bytes for other tokens."""
    text = "\n".join(chain(chain.from_iterable(texts), ("",)))
    if text.count("\n") == tokens:
        return text.encode("utf-8", "surrogatepass")
    each = (token.encode("utf-8", "surrogatepass") for token in chain.from_iterable(texts))
    return b"".join(token.replace(b"\n", _INSIDE) + b"\n" for token in each)


def unpacked(data: bytes) -> list[str]:
    """The tokens of all texts."""
    return [
        token.replace(_INSIDE, b"\n").decode("utf-8", "surrogatepass")
        for token in data.split(b"\n")[:-1]
    ]
