"""In which of many texts one of many patterns matches, by one look at all letters of all texts and few matches; it judges nothing.

Every match of a pattern holds one text of each of a few lists (`stems.needs_of`). Of each of these texts a run of one, two,
four or eight letters is looked for, all runs of all patterns at once: the runs that begin at each place of the texts are
hashed to numbers, and a table says which lists a number may stand for. Where every list of a pattern is met, it is tried.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import regex
from numpy.typing import NDArray

from selfinstruct.rules.stems import alternatives_of, needs_of

Truths = NDArray[np.bool_]
Words = NDArray[np.uint64]

_LENGTHS = (1, 2, 4, 8)
"""Letters of a run; each is two of the one before."""

_MIXERS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
"""Odd numbers that spread bits well (xxHash's primes)."""

_BITS = 16
"""Of a hash: 65,536 places for some hundred runs, so that one text in a hundred has one by chance."""

_BETWEEN = "\n"


class Patterns:
    """Patterns in two groups: those that are looked for in every text, and those looked for in texts in ASCII alone."""

    def __init__(self, everywhere: str, in_ascii: str) -> None:
        """Take the patterns' alternatives apart.

        Raises:
            ValueError: One is not read here, or has nothing that every match holds; see `stems`.
        """
        patterns = _alternatives(everywhere)
        self._first_ascii = len(patterns)
        patterns = [*patterns, *_alternatives(in_ascii)]
        self._searches = [regex.compile(one, flags=regex.IGNORECASE).search for one in patterns]
        needs = [needs_of(one) for one in patterns]
        self._needs = [sorted(each, key=len) for each in needs]
        # one with two letters of ASCII in it, or one of Latin, is met by nearly every text
        needs = [tuple(filter(_is_telling, each)) for each in needs]
        lists = {stems: number for number, stems in enumerate(dict.fromkeys(_flat(needs)))}
        self._wanted: Words = np.zeros((len(needs), -(-max(1, len(lists)) // 64)), np.uint64)
        for number, each in enumerate(needs):
            for stems in each:
                self._wanted[number, lists[stems] // 64] |= _bit(lists[stems])
        runs: dict[str, list[int]] = {}
        for stems, number in lists.items():
            for run in set(map(_run, stems)):
                runs.setdefault(run, []).append(number)
        rows = [np.zeros(self._wanted.shape[1], np.uint64)]
        self._tables = [self._table(length, runs, rows) for length in _LENGTHS]
        """For each length of a run, hash to the place in `_lists`, 0 for no run; None where there is no run of it."""

        self._lists: Words = np.array(rows)
        """(places, words of 64 lists): the lists that a run is in."""

    def _table(
        self, length: int, runs: dict[str, list[int]], rows: list[Words]
    ) -> "NDArray[np.uint16] | None":
        numbers = np.zeros(1 << _BITS, np.uint16)
        for run, lists in runs.items():
            if len(run) != length:
                continue
            (at,) = _hashes(_codes(run))[_LENGTHS.index(length)][:1].tolist()
            if not numbers[at]:
                numbers[at] = len(rows)
                rows.append(np.zeros(self._wanted.shape[1], np.uint64))
            for number in lists:
                rows[numbers[at]][number // 64] |= _bit(number)
        return numbers if numbers.any() else None

    def match(self, texts: Sequence[str]) -> list[bool]:
        """In which texts one of the patterns matches without regard to case."""
        folded = [text.casefold() for text in texts]
        met = self._lists_in(folded)
        lacking = np.zeros((len(texts), len(self._wanted)), np.bool_)
        for word in range(met.shape[1]):
            wanted = self._wanted[:, word]
            lacking |= (met[:, word, None] & wanted) != wanted
        lacking[[not text.isascii() for text in texts], self._first_ascii :] = True
        found = [False] * len(texts)
        for at, number in np.argwhere(~lacking).tolist():
            if not found[at] and self._holds(folded[at], number):
                found[at] = self._searches[number](texts[at]) is not None
        return found

    def _holds(self, folded: str, number: int) -> bool:
        """Whether a text holds what a pattern cannot match without."""
        has = folded.__contains__
        return all(any(map(has, stems)) for stems in self._needs[number])

    def _lists_in(self, folded: Sequence[str]) -> Words:
        """The lists that each text meets: (texts, words of 64 lists)."""
        lengths = np.fromiter(map(len, folded), np.intp, len(folded)) + 1
        ends = np.cumsum(lengths)
        met = np.zeros((len(folded), self._wanted.shape[1]), np.uint64)
        hashes = _hashes(_codes(_BETWEEN.join(folded) + _BETWEEN))
        found = [
            (places, numbers[places])
            for table, each in zip(self._tables, hashes, strict=True)
            if table is not None
            for numbers in [table.take(each)]
            for places in [numbers.nonzero()[0]]
        ]
        if not found:
            return met
        owners = ends.searchsorted(np.concatenate([places for places, _ in found]), side="right")
        if not len(owners):
            return met
        order = owners.argsort(kind="stable")
        owners = owners[order]
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        numbers = np.concatenate([numbers for _, numbers in found])[order]
        met[owners[firsts]] = np.bitwise_or.reduceat(self._lists.take(numbers, 0), firsts)
        return met


def _hashes(codes: NDArray[np.uint32]) -> list[NDArray[np.uint32]]:
    """The hashes of the runs of each length that begin at each letter, as far as there are so many."""
    found, step, values = [_placed(codes)], 1, codes
    for mixer in _MIXERS:
        mixed = (values[:-step] ^ (values[:-step] >> np.uint32(15))) * np.uint32(mixer)
        values = mixed + values[step:]
        found.append(_placed(values))
        step *= 2
    return found


def _placed(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return (values * np.uint32(_MIXERS[0])) >> np.uint32(32 - _BITS)


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _is_telling(stems: Sequence[str]) -> bool:
    return all(len(stem.encode()) > 2 for stem in stems)


def _run(stem: str) -> str:
    """The letters of a text that are looked for: the last ones, since many words begin alike."""
    return stem[-max(length for length in _LENGTHS if length <= len(stem)) :]


def _bit(number: int) -> np.uint64:
    return np.uint64(1 << number % 64)


def _alternatives(pattern: str) -> Sequence[str]:
    return alternatives_of(pattern) if pattern else ()


def _flat(needs: Iterable[Iterable[tuple[str, ...]]]) -> Iterable[tuple[str, ...]]:
    for each in needs:
        yield from each
