"""Numbers tokens in the order in which they are met, compiled: a third of a dictionary's time, nearly all of it without the interpreter's lock.

Tokens are given as `packed` has them. The table is open-addressed (Knuth 1998, 6.4, algorithm L), at most half full;
a slot holds the upper half of a token's hash and its number, and the letters decide.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from selfinstruct.novelty.compiling import compiled, inlined
from selfinstruct.novelty.cutting import cutter_for
from selfinstruct.novelty.packed import END, packed
from selfinstruct.novelty.search import Bytes, Ints, Longs, Words
from selfinstruct.novelty.vocabulary import Cutter

LEAST_SLOTS = 1 << 12
"""Slots of an empty table."""

_LEAST_LETTERS = 1 << 14


class Table(NamedTuple):
    """The tokens met so far."""

    slots: Words
    """(a power of two,) the upper 32 bits of a hash and, in the lower ones, 1 + the token's number; 0 where nothing is."""

    ends: Longs
    """(tokens + 1 or more,) where the letters of each begin, and where those of the last end."""

    letters: Bytes


class CompiledVocabulary:
    """Looks tokens up in its own table, whole batches at a time."""

    def __init__(self) -> None:
        self._size = 0
        self._table = Table(
            slots=np.zeros(LEAST_SLOTS, np.uint64),
            ends=np.zeros(LEAST_SLOTS // 2 + 1, np.int64),
            letters=np.zeros(_LEAST_LETTERS, np.uint8),
        )

    def __len__(self) -> int:
        return self._size

    @staticmethod
    def cutter(name: str) -> Cutter | None:
        """What cuts and packs texts with no string for any token; see `Vocabulary.cutter`."""
        return cutter_for(name)

    def packed(self, texts: Sequence[Sequence[str]], tokens: int) -> bytes:
        """See `packed.packed`."""
        return packed(texts, tokens)

    def taken(self, data: bytes, tokens: int) -> bytes:
        """The bytes themselves."""
        del tokens
        return data

    def numbers_of(self, pieces: Sequence[bytes], tokens: int) -> Ints:
        """The numbers of all tokens of the pieces."""
        text = np.frombuffer(b"".join(pieces), np.uint8)
        numbers = np.empty(tokens, np.int32)
        done = at = 0
        while True:
            done, at, self._size = number(text, at, self._table, self._size, numbers, done)
            if done == tokens:
                return numbers
            self._grow()

    def _grow(self) -> None:
        slots, ends, letters = self._table
        self._table = Table(
            slots=np.zeros(2 * len(slots), np.uint64),
            ends=np.concatenate([ends, np.zeros(len(slots) // 2, np.int64)]),
            letters=np.concatenate([letters, np.zeros_like(letters)]),
        )
        spread(self._table, self._size)


@inlined
def _hash(letters, start, end):  # type: ignore[no-untyped-def]
    """FNV-1a, its halves mixed (Fowler, Noll and Vo 1991)."""
    hashed = np.uint64(0xCBF29CE484222325)
    for at in range(start, end):
        hashed = (hashed ^ np.uint64(letters[at])) * np.uint64(0x100000001B3)
    return hashed ^ hashed >> np.uint64(32)


@inlined
def _same(text, start, length, table, known):  # type: ignore[no-untyped-def]
    """Whether a token of the text is the known one."""
    begin = table.ends[known]
    if table.ends[known + 1] - begin != length:
        return False
    at = 0
    while at < length and text[start + at] == table.letters[begin + at]:
        at += 1
    return at == length


@compiled
def number(text, at, table, size, numbers, done):  # type: ignore[no-untyped-def]
    """Number the tokens of a text from byte `at` on, the `done`-th, until all are numbered or the table has no room.

    Returns: how many are, where the next begins, and how many tokens the table holds.
    """
    slots, ends, letters = table
    last = np.uint64(len(slots) - 1)
    while done < len(numbers):
        end = at
        while text[end] != END:
            end += 1
        hashed = _hash(text, at, end)
        upper = hashed >> np.uint64(32)
        slot = hashed & last
        found = np.int64(-1)
        while found < 0 and slots[slot] != 0:
            known = np.int64(slots[slot] & np.uint64(0xFFFFFFFF)) - 1
            if slots[slot] >> np.uint64(32) == upper and _same(text, at, end - at, table, known):
                found = known
            slot = (slot + np.uint64(1)) & last
        if found < 0:
            start = ends[size]
            if 2 * (size + 1) > len(slots) or start + end - at > len(letters):
                break
            found, size = size, size + 1
            slots[slot] = upper << np.uint64(32) | np.uint64(size)
            for letter in range(end - at):
                letters[start + letter] = text[at + letter]
            ends[size] = start + end - at
        numbers[done] = found
        done += 1
        at = end + 1
    return done, at, size


@compiled
def spread(table, size):  # type: ignore[no-untyped-def]
    """Fill the empty slots of a table with the tokens that it holds."""
    slots, ends, letters = table
    last = np.uint64(len(slots) - 1)
    for known in range(size):
        hashed = _hash(letters, ends[known], ends[known + 1])
        slot = hashed & last
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & last
        slots[slot] = hashed >> np.uint64(32) << np.uint64(32) | np.uint64(known + 1)
