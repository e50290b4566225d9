"""Texts as one string of bytes, which is how they travel to the process that has the pool, and into compiled code; it numbers no token.

Those that are cut: each token in UTF-8 and a line feed behind it. Those that are cut where the pool is: one behind the other.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate, chain, pairwise
from unicodedata import is_normalized, normalize

from xtune.text import tokenizer_name
from xtune.text.segment import WORD_CHARACTERS

END = 10
"""A line feed."""

_INSIDE = b"\xff"
"""Stands for a line feed within a token; no byte of UTF-8 is this one."""


@cache
def travels_uncut(language: str) -> bool:
    """Whether texts are best cut where the pool is: in runs, compiled, which takes no more time there than to take their tokens in.

    Morphemes are compiled too, but take half a millisecond a reply of 17 tasks, and there is one process with the pool.

    Raises:
        ValueError: The language is no code.
    """
    return (
        tokenizer_name(language) in WORD_CHARACTERS
        and importlib.util.find_spec("numba") is not None
    )


def packed_for_travel(
    texts: Sequence[str], language: str, cut: Callable[[str, str], Sequence[str]]
) -> tuple[bytes, list[int]]:
    """Texts as `NoveltyPool.offer_packed` takes them.

    Args:
        texts: Any texts.
        language: BCP-47 code.
        cut: What makes tokens of a text in a language, `xtune.text.tokenize` or one that remembers.
    """
    if travels_uncut(language):
        text, parts = joined(texts)
        return text.encode("utf-8", "surrogatepass"), list(map(len, parts))
    tokens = [cut(text, language) for text in texts]
    lengths = list(map(len, tokens))
    return packed(tokens, sum(lengths)), lengths


def joined(texts: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The texts in NFC, one behind the other and each of its own.

    A part of a text in NFC is in NFC, so one look at all of them is enough, mostly.
    """
    text = "".join(texts)
    if not is_normalized("NFC", text):
        texts = [normalize("NFC", each) for each in texts]
        text = "".join(texts)
    return text, texts


def parted(data: bytes, lengths: Sequence[int]) -> list[str]:
    """The texts that were `joined`, by the characters of each."""
    text = data.decode("utf-8", "surrogatepass")
    ends = list(accumulate(lengths, initial=0))
    return [text[start:end] for start, end in pairwise(ends)]


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
