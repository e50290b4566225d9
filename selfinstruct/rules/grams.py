"""In which of many texts one of many patterns matches, by one look at all letters of all texts and few matches; it judges nothing.

Every match of a pattern holds one text of each of a few lists (`stems.needs_of`). Of each of these texts a run of one, two,
four or eight letters is looked for, all runs of all patterns at once: the runs that begin at each place of the texts are
hashed to numbers, and a table says which lists a number may stand for. Where every list of a pattern is met, it is tried.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from selfinstruct.rules.stems import alternatives_of, needs_of, search_of

Truths = NDArray[np.bool_]
Words = NDArray[np.uint64]

_LENGTHS = (1, 2, 4, 8)
"""Letters of a run; each is two of the one before."""

_MIXER = np.uint32(0x9E3779B1)
"""An odd number that spreads bits well (xxHash's first prime)."""

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
        self._patterns = patterns
        needs = [needs_of(one) for one in patterns]
        self._needs = [sorted(each, key=len) for each in needs]
        # a list with two letters of ASCII in it, or one of Latin, is met by nearly every text
        tests = [
            [test for stems in each if _is_telling(stems) for test in _tests(stems)]
            for each in needs
        ]
        numbers = {test: number for number, test in enumerate(dict.fromkeys(chain(*tests)))}
        self._wanted: Words = np.zeros((len(needs), -(-max(1, len(numbers)) // 64)), np.uint64)
        for row, each in zip(self._wanted, tests, strict=True):
            for test in each:
                row[numbers[test] // 64] |= _bit(numbers[test])
        runs: dict[str, list[int]] = {}
        for test, number in numbers.items():
            for run in test:
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
                found[at] = search_of(self._patterns[number])(texts[at]) is not None
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
    found, values = [_placed(codes)], codes
    for step in _LENGTHS[:-1]:
        values = _doubled(values, step)
        found.append(_placed(values))
    return found


def _doubled(values: NDArray[np.uint32], step: int) -> NDArray[np.uint32]:
    """One number for each two neighbouring runs of `step` letters, from a number for each run."""
    return (values[:-step] ^ (values[:-step] >> np.uint32(15))) * _MIXER + values[step:]


def _placed(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return (values * _MIXER) >> np.uint32(32 - _BITS)


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _is_telling(stems: Sequence[str]) -> bool:
    return all(len(stem.encode()) > 2 for stem in stems)


def _tests(stems: Sequence[str]) -> set[frozenset[str]]:
    """Runs of letters of which a text has one that has one of the stems: their last ones, and their first ones."""
    return {
        frozenset(_run(stem) for stem in stems),
        frozenset(_run(stem[::-1])[::-1] for stem in stems),
    }


def _run(stem: str) -> str:
    """The last letters of a text, as many as can be."""
    return stem[-max(length for length in _LENGTHS if length <= len(stem)) :]


def _bit(number: int) -> np.uint64:
    return np.uint64(1 << number % 64)


def _alternatives(pattern: str) -> Sequence[str]:
    return alternatives_of(pattern) if pattern else ()


_kinds = np.zeros(0x110000, np.uint8)
"""What each character is: 2 a letter, 1 none, 0 was not met yet."""


def places_of_windows_again(text: str, size: int, distance: int) -> NDArray[np.intp]:
    """Where letters begin that come again soon; among the letters alone, whatever stands between them.

    Of all runs of `size` letters each `size`-th is looked for, and it surely is found where it comes again.

    Args:
        text: Its letters are those of `str.isalpha`.
        size: Letters of a run, a power of two.
        distance: Most letters between the beginnings.
    """
    codes = _codes(text)
    kinds = _kinds.take(codes)
    if not kinds.all():
        for code in np.unique(codes[kinds == 0]).tolist():
            _kinds[code] = 1 + chr(code).isalpha()
        kinds = _kinds.take(codes)
    places = np.flatnonzero(kinds == 2)
    runs, step = codes[places], 1
    while step < size:
        runs, step = _doubled(runs, step), 2 * step
    if not len(runs):
        return places[:0]
    # behind the last run none comes again: zeros, which hardly any run is
    after = np.lib.stride_tricks.sliding_window_view(
        np.append(runs, np.zeros(distance, np.uint32)), distance + 1
    )[::size]
    again = np.flatnonzero((after[:, 1:] == after[:, :1]).any(axis=1))
    return places[again * size]
