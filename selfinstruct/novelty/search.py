"""Searches a growing pool of token sequences for the nearest by ROUGE-L, in NumPy or compiled by numba; it knows no text."""

import importlib.util
from threading import Event
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq

from selfinstruct.novelty.vocabulary import DictVocabulary, Vocabulary
from xtune.text import f_measure

Ints: TypeAlias = npt.NDArray[np.int32]
Longs: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Found: TypeAlias = tuple[npt.NDArray[np.bool_], Longs, npt.NDArray[np.float64]]
"""For each text: whether it was kept, the index of the nearest in the pool or -1, its F or 0."""

SKETCH_WORDS = 2
"""64-bit words of a sketch. With one, long texts fill it and the bound lets 2 % of the pairs pass; with two,
0.01 % (measured on published Spanish instructions, 2026-11)."""


class Nearest(Protocol):
    """A pool that is offered batches of token sequences."""

    vocabulary: ClassVar[type[Vocabulary]]
    """What numbers its tokens fastest."""

    def __init__(self, threshold: float, keep_ties: bool) -> None: ...

    def __len__(self) -> int: ...

    def offer(self, tokens: Ints, lengths: Longs, vocabulary: int, on_one_thread: Event) -> Found:
        """Offer texts one after the other, each to all kept before it.

        Args:
            tokens: (sum of lengths,) all texts' tokens, one text behind the other.
            lengths: (texts,) tokens of each.
            vocabulary: Number above every token.
            on_one_thread: Set once what is left to do takes one thread only.
        """
        ...


def fastest_nearest() -> type[Nearest]:
    """The compiled search where numba is installed, the NumPy one elsewhere."""
    if importlib.util.find_spec("numba") is None:
        return NumpyNearest
    from selfinstruct.novelty.cache import prepare  # noqa: PLC0415 - numba takes 0.4 s
    from selfinstruct.novelty.compiled import CompiledNearest  # noqa: PLC0415

    prepare()
    return CompiledNearest


def limit_of(threshold: float) -> float:
    """Largest part of all tokens in which two texts with F >= threshold can differ, a rounding error added."""
    return 1 - threshold + 1e-9


def mixed(token: int, occurrence: int) -> int:
    """A well-mixed number of 64 bits for the k-th occurrence of a token (splitmix64, Steele et al. 2014)."""
    z = (token * 0x9E3779B97F4A7C15 + (occurrence + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)


class NumpyNearest:
    """The search without a compiler: popcounts of the whole pool at once, then rapidfuzz for what is left."""

    vocabulary: ClassVar[type[Vocabulary]] = DictVocabulary

    def __init__(self, threshold: float, keep_ties: bool) -> None:
        self._threshold, self._keep_ties = threshold, keep_ties
        self._limit = limit_of(threshold)
        self._texts: list[list[int]] = []
        self._sketches: Words = np.zeros((SKETCH_WORDS, 1024), np.uint64)
        self._lengths: Longs = np.zeros(1024, np.int64)
        self._bits: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def offer(self, tokens: Ints, lengths: Longs, vocabulary: int, on_one_thread: Event) -> Found:
        """Offer texts one after the other; see `Nearest.offer`."""
        del vocabulary
        on_one_thread.set()
        ends = np.cumsum(lengths)
        verdicts = [self._offer(text.tolist()) for text in np.split(tokens, ends[:-1])]
        kept, nearest, scores = zip(*verdicts, strict=True)
        return np.array(kept, np.bool_), np.array(nearest, np.int64), np.array(scores, np.float64)

    def _offer(self, text: list[int]) -> tuple[bool, int, float]:
        sketch = self._sketch(text)
        index, score = self._nearest(text, sketch)
        keep = index < 0 or (self._keep_ties and score == self._threshold)
        if keep:
            self._add(text, sketch)
        return keep, index, score

    def _nearest(self, text: list[int], sketch: Words) -> tuple[int, float]:
        size = len(self._texts)
        differing = np.bitwise_count(self._sketches[:, :size] ^ sketch[:, None]).sum(0)
        lengths = self._lengths[:size]
        allowed = self._limit * (lengths + len(text))
        both_long = abs(lengths - len(text)) <= allowed
        best, best_score = -1, 0.0
        for index in np.flatnonzero((differing <= allowed) & both_long).tolist():
            other = self._texts[index]
            score = f_measure(LCSseq.similarity(text, other), len(text), len(other))
            if score >= self._threshold and score > best_score:
                best, best_score = index, score
        return best, best_score

    def _sketch(self, text: list[int]) -> Words:
        """(words,): one bit for each token and occurrence, xored."""
        sketch = 0
        seen: dict[int, int] = {}
        for token in text:
            occurrence = seen[token] = seen.get(token, 0) + 1
            key = (token, occurrence)
            bit = self._bits.get(key)
            if bit is None:
                bit = self._bits[key] = 1 << mixed(token, occurrence) % (64 * SKETCH_WORDS)
            sketch ^= bit
        words = [sketch >> 64 * word & 0xFFFFFFFFFFFFFFFF for word in range(SKETCH_WORDS)]
        return np.array(words, np.uint64)

    def _add(self, text: list[int], sketch: Words) -> None:
        size = len(self._texts)
        if size == len(self._lengths):
            self._sketches = np.concatenate([self._sketches, np.zeros_like(self._sketches)], 1)
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._sketches[:, size] = sketch
        self._lengths[size] = len(text)
        self._texts.append(text)
