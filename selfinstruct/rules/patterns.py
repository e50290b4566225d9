"""Finds the alternatives of a pattern in many texts, by one look at all their letters and few matches; it judges nothing.

Every match of an alternative holds one text of each of a few lists (`stems.needs_of`). All these texts are looked for at
once, by one automaton (Aho and Corasick, 1975), and an alternative is tried where all its lists are met. A regular
expression is compiled when it is first tried, which most never are.
"""

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cache, cached_property
from itertools import accumulate, chain, pairwise
from typing import TypeVar

import numpy as np
import regex
from ahocorasick_rs import BytesAhoCorasick
from numpy.typing import NDArray

from selfinstruct.rules.stems import Need, alternatives_of, commonness, fold, needs_of, search_of

Words = NDArray[np.uint64]
_One = TypeVar("_One", bound=Hashable)

_MOST_LISTS = 2
"""Of each alternative that the automaton looks for; the others are looked for where these are met."""

_RARE = 0.001
"""Commonness up to which the second list pays: with 0.01 twice as many stems are met. Chosen by counts over replies in 11 languages (2026-11-29)."""

_MOST_NUMBERS = 255
"""Of letters in a byte, beside 0 for those in no stem; several share one where there are more."""


class Texts:
    """Some texts, and their letters folded, with a space before each text and behind the last."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.codes = _codes(f" {' '.join(texts)} ")
        self.ends = np.cumsum(np.fromiter(map(len, texts), np.intp, len(texts)) + 1)
        """(texts): where the space behind each is."""

    @cached_property
    def folded(self) -> Sequence[str]:
        """Each text and the spaces around it, folded."""
        folded = self.codes.tobytes().decode("utf-16-le", "surrogatepass")
        return [folded[begin : end + 1] for begin, end in pairwise((0, *self.ends.tolist()))]


class Patterns:
    """The alternatives of one pattern."""

    def __init__(self, pattern: str) -> None:
        """Take the alternatives apart.

        Raises:
            ValueError: One is not read here, or has nothing that every match holds; see `stems`.
        """
        self._alternatives = alternatives_of(pattern)
        needs = list(map(needs_of, self._alternatives))
        rarest = list(map(_rarest, needs))
        self._needs = [
            [
                (_by_length(one.stems), one.before + max(map(len, one.stems)), one.stems in met)
                for one in sorted(each, key=lambda need: len(need.stems))
            ]
            for each, met in zip(needs, rarest, strict=True)
        ]
        """Of each alternative: stems, how far they reach from a match's beginning at most, and whether the automaton looks for them."""

        lists = _numbers(chain.from_iterable(rarest))
        stems = _numbers(chain.from_iterable(lists))
        codes = _codes("".join(stems))
        self._numbers = np.zeros(0x10000, np.uint8)
        """By the code of a letter."""

        letters = np.unique(codes)
        self._numbers[letters] = 1 + np.arange(len(letters)) % _MOST_NUMBERS
        self._automaton = BytesAhoCorasick(_cut(self._numbers.take(codes).tobytes(), stems))
        self._lists = _bits(
            (len(stems), len(lists)),
            ((stems[one], number) for each, number in lists.items() for one in each),
        )
        """(stems, words of 64 lists): the lists that a stem is in."""

        self._wanted = _bits(
            (len(needs), len(lists)),
            ((at, lists[each]) for at, own in enumerate(rarest) for each in own),
        )
        """(alternatives, words of 64 lists): the lists that an alternative needs."""

    def find(self, texts: Texts) -> "Iterator[regex.Match[str]]":
        """The first match of each alternative in the only text, without regard to case."""
        for _, number in self._candidates(texts):
            if self._may_match(number, texts.folded[0], sys.maxsize):
                found = search_of(self._alternatives[number])(texts.texts[0])
                if found:
                    yield found

    def match(self, texts: Texts, last_start: Callable[[int], int] | None = None) -> list[bool]:
        """In which texts the first match of an alternative is.

        Args:
            texts: Any number of them.
            last_start: Where it begins at most, by the text's number; anywhere if this is not given.
        """
        found = [False] * len(texts.texts)
        last_of = cache(last_start) if last_start else None
        for at, number in self._candidates(texts):
            last = last_of(at) if last_of else sys.maxsize
            if not found[at] and self._may_match(number, texts.folded[at], last):
                one = search_of(self._alternatives[number])(texts.texts[at])
                found[at] = one is not None and one.start() <= last
        return found

    def _may_match(self, number: int, folded: str, last: int) -> bool:
        """Whether a text, folded, that the automaton met an alternative in has all that a match needs that begins at a place at most."""
        for stems, reach, is_met in self._needs[number]:
            is_within = last + reach < len(folded)
            if is_met and not is_within:
                continue
            part = folded[: 1 + int(last + reach)] if is_within else folded
            if not any(map(part.__contains__, stems)):
                return False
        return True

    def _candidates(self, texts: Texts) -> Iterable[tuple[int, int]]:
        """Texts and alternatives that may match in them, in order."""
        data = self._numbers.take(texts.codes).tobytes()
        hits = self._automaton.find_matches_as_indexes(data, overlapping=True)
        if not hits:
            return ()
        stems, _, ends = np.fromiter(chain.from_iterable(hits), np.intp).reshape(-1, 3).T
        owners = texts.ends.searchsorted(ends - 1)  # in order, as the automaton meets them
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        met = np.bitwise_or.reduceat(self._lists.take(stems, 0), firsts)  # (texts, words)
        may = np.ones((len(met), len(self._wanted)), np.bool_)
        for have, want in zip(met.T, self._wanted.T, strict=True):
            may &= (have[:, None] & want) == want
        rows, numbers = may.nonzero()
        return zip(owners[firsts][rows].tolist(), numbers.tolist(), strict=True)


_folded = np.zeros(0x110000, np.uint16)
"""The code of the letter that each character is folded to, 0 for one that was not met yet."""

_LONG = 1
"""Stands for all letters beyond 16 bits; as a character it is none of a word, and so it is folded to a space."""


def _codes(text: str) -> NDArray[np.uint16]:
    """The codes of a text's letters, folded."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = _folded.take(characters)
    if not codes.all():
        for code in np.unique(characters[codes == 0]).tolist():
            letter = ord(fold(chr(code)))
            _folded[code] = letter if letter <= 0xFFFF else _LONG
        codes = _folded.take(characters)
    return codes


def _rarest(needs: Sequence[Need]) -> Sequence[frozenset[str]]:
    """What the automaton looks for of what each match holds."""
    rarest, *others = sorted({need.stems for need in needs}, key=commonness)
    return [rarest, *(stems for stems in others[: _MOST_LISTS - 1] if commonness(stems) < _RARE)]


def _by_length(stems: Iterable[str]) -> Sequence[str]:
    """Stems, the short ones first, which are there more often."""
    return sorted(stems, key=lambda stem: (len(stem), stem))


def _numbers(things: Iterable[_One]) -> dict[_One, int]:
    """Things and their numbers, by first mention."""
    return {thing: number for number, thing in enumerate(dict.fromkeys(things))}


def _cut(data: bytes, texts: Iterable[str]) -> list[bytes]:
    """Pieces as long as some texts."""
    ends = list(accumulate(map(len, texts), initial=0))
    return [data[begin:end] for begin, end in pairwise(ends)]


def _bits(shape: tuple[int, int], pairs: Iterable[tuple[int, int]]) -> Words:
    """For each row a set of numbers, a bit for each: (rows, words of 64 numbers)."""
    rows, most = shape
    bits = np.zeros((rows, -(-most // 64) * 64), np.bool_)
    bits[tuple(np.array(list(pairs), np.intp).reshape(-1, 2).T)] = True
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
