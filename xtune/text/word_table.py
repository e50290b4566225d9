"""Finds the numbers of words that were met before, for all words of many texts at once, without a string for any of them.

A word of up to 16 characters is four numbers of 64 bits, in UTF-16. They choose a place in a table, and the word that stands
there has to be the same in all four. Other words are handed back as strings.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]
_Keys = NDArray[np.uint64]

_PARTS, _LETTERS = 4, 4
"""Numbers of a word, and characters in each."""

_LONGEST = _PARTS * _LETTERS
_BYTES = 2
_BITS = 17
"""Places: eight times as many as words, of which few share one then."""

_MIXERS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


class Words(NamedTuple):
    """The words of texts, as `str.split` has them."""

    numbers: Places
    """Of the words of all texts, one behind the other; wrong at the places that are named next."""

    lengths: Places
    """Words of each text."""

    others: Places
    """Where the words stand that were not found."""

    strings: Sequence[str]
    """These words."""


class WordTable:
    """Words, each with its number."""

    def __init__(self, most_words: int) -> None:
        """An empty one, for numbers below `most_words`."""
        self._numbers = np.zeros(1 << _BITS, np.int32)
        """The number of the word at each place; at one that is free, of some other word or none, which is not the same."""

        self._keys = np.zeros((most_words, _PARTS), np.uint64)

    def add(self, words: Sequence[str], first: int) -> None:
        """Put words in.

        Args:
            words: Not empty, without white space; what cannot be found again is left out.
            first: The number of the first one; the others follow.
        """
        text = " ".join(words)
        if (data := _data_of(text)) is None:
            return
        sizes = np.fromiter(map(len, words), np.intp, len(words))
        keys = _keys(data, np.cumsum(sizes + 1) - sizes - 1, sizes)
        short = sizes <= _LONGEST
        numbers = np.arange(first, first + len(words))
        self._keys[numbers[short]] = keys[short]
        self._numbers[_places(keys[short])] = numbers[short]

    def find(self, texts: Sequence[str]) -> Words:
        """The words of texts, numbered where they were found."""
        text = " ".join(texts) + " "
        if (data := _data_of(text)) is None:
            return _unfound(texts)
        codes = np.frombuffer(data, np.uint16)
        ends = np.flatnonzero(_white_space().take(codes))
        starts = np.append(0, ends[:-1] + 1)
        some = starts < ends
        before = np.cumsum(some)
        ends_of_texts = np.cumsum(np.fromiter(map(len, texts), np.intp, len(texts)) + 1) - 1
        lengths = np.diff(before[ends.searchsorted(ends_of_texts)], prepend=0)
        starts, ends = starts[some], ends[some]
        sizes = ends - starts
        keys = _keys(data, starts, sizes)
        numbers = self._numbers.take(_places(keys).view(np.intp)).astype(np.intp)
        same = (self._keys.take(numbers, 0) == keys).view(np.uint32)[:, 0] == _ALL_SAME
        others = np.flatnonzero(~same | (sizes > _LONGEST))
        strings = [
            text[start:end]
            for start, end in zip(starts[others].tolist(), ends[others].tolist(), strict=True)
        ]
        return Words(numbers, lengths, others, strings)


_ALL_SAME = 0x01010101
"""Four truths side by side."""


def _unfound(texts: Sequence[str]) -> Words:
    words = [text.split() for text in texts]
    strings = [word for each in words for word in each]
    lengths = np.fromiter(map(len, words), np.intp, len(words))
    return Words(np.zeros(len(strings), np.intp), lengths, np.arange(len(strings)), strings)


def _data_of(text: str) -> bytes | None:
    """A text in UTF-16, two bytes a character; None where some have more, or none, or are the zeros that fill numbers up."""
    try:
        data = text.encode("utf-16-le")
    except UnicodeEncodeError:
        return None
    return None if len(data) != _BYTES * len(text) or "\0" in text else data


def _keys(data: bytes, starts: Places, sizes: Places) -> _Keys:
    """The numbers of words that start at some characters: (words, parts)."""
    filled = data + bytes(_BYTES * _LONGEST)
    # at each character the number of those from there on
    count = len(filled) // _BYTES - _LETTERS
    parts = np.ndarray(count, "<u8", filled, 0, (_BYTES,)).copy()
    keys: _Keys = parts.take(starts[:, None] + _OFFSETS)
    keys &= _masks().take(np.minimum(sizes, _LONGEST), 0)
    return keys


_OFFSETS = np.arange(0, _LONGEST, _LETTERS)


@cache
def _masks() -> _Keys:
    """(sizes, parts) what of the numbers belongs to a word of each size."""
    bits = [
        [8 * _BYTES * min(max(0, size - _LETTERS * part), _LETTERS) for part in range(_PARTS)]
        for size in range(_LONGEST + 1)
    ]
    return np.array([[(1 << each) - 1 for each in row] for row in bits], np.uint64)


def _places(keys: _Keys) -> "NDArray[np.uint64]":
    mixed = keys[:, 0] * np.uint64(_MIXERS[0])
    for part in range(1, _PARTS):
        mixed ^= keys[:, part] * np.uint64(_MIXERS[part])
    return mixed >> np.uint64(64 - _BITS)


@cache
def _white_space() -> NDArray[np.bool_]:
    return np.array([chr(code).isspace() for code in range(0x10000)], np.bool_)
