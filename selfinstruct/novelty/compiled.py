"""The search for the nearest text, compiled by numba: the verdicts of `NumpyNearest`, many times faster.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from selfinstruct.novelty.kernels import (
    TAIL_TEXTS,
    Chunk,
    Scratch,
    Segment,
    Settings,
    Texts,
    decide,
    merged,
    near_in,
    postings_of,
    probes_of,
    rarest_first,
    segment_of,
    sketches_of,
    BUCKETS,
)
from selfinstruct.novelty.search import Found, Ints, Longs, limit_of

_MERGED_UNTIL = 8
_COMMON_SHARE = 0.01


class CompiledNearest:
    """The pool's arrays, grown from outside the compiled code."""

    def __init__(self, threshold: float, keep_ties: bool) -> None:
        self._settings = Settings(threshold, limit_of(threshold), keep_ties, 0)
        self._order: Ints | None = None
        self._vocabulary = 0
        self._size = self._sealed = 0
        self._texts = Texts(np.zeros(0, np.int32), np.zeros(1, np.int64))
        places = 2 * TAIL_TEXTS
        self._tail = np.zeros(3 * places, np.uint64)
        self._segments: list[Segment] = []
        self._scratch = Scratch(
            masks=np.zeros(0, np.uint64),
            seen=np.zeros(0, np.int32),
            carries=np.zeros(0, np.uint8),
            counts=np.zeros(places, np.uint8),
        )
        self._near = np.zeros(4096, np.int64)

    def __len__(self) -> int:
        return self._size

    def offer(self, tokens: Ints, lengths: Longs, vocabulary: int) -> Found:
        """Offer texts one after the other; see `Nearest.offer`."""
        self._vocabulary = vocabulary
        size = len(lengths)
        starts = np.zeros(size + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        found = (np.zeros(size, np.bool_), np.zeros(size, np.int64), np.zeros(size, np.float64))
        self._grow(size, tokens, int(lengths.max()))
        for begin in range(0, size, TAIL_TEXTS):
            end = min(begin + TAIL_TEXTS, size)
            texts = Texts(
                self._numbered(tokens[starts[begin] : starts[end]]),
                starts[begin : end + 1] - starts[begin],
            )
            self._decide(texts, tuple(a[begin:end] for a in found))
            if self._size - self._sealed >= TAIL_TEXTS:
                self._seal()
        return found

    def _numbered(self, tokens: Ints) -> Ints:
        if self._order is None:
            return tokens
        known = tokens < len(self._order)
        return np.where(known, self._order[np.where(known, tokens, 0)], tokens)

    def _decide(self, texts: Texts, found: Found) -> None:
        chunk = Chunk(texts, *sketches_of(texts, self._scratch.seen))
        near, size = self._near, 0
        if self._segments:
            ordered = rarest_first(*texts)
            by_length = np.argsort(np.diff(texts.starts), kind="stable")
            probes, places = probes_of(ordered, texts.starts, by_length, self._settings.limit)
            probes.sort()
            for segment in self._segments:
                near, size = near_in(
                    segment, probes, places, chunk, self._settings, self._scratch.counts, near, size
                )
            self._near = near
        self._size = decide(
            chunk,
            np.sort(near[:size]),
            self._settings,
            self._texts,
            self._tail,
            self._sealed,
            self._size,
            self._scratch,
            found,
        )

    def _seal(self) -> None:
        """Put the texts of the tail into a segment."""
        first, last = self._sealed, self._size
        starts = self._texts.starts[first : last + 1]
        texts = Texts(self._texts.tokens[starts[0] : starts[-1]], starts - starts[0])
        if self._order is None:
            self._order, common = _by_frequency(texts.tokens, self._vocabulary, _COMMON_SHARE * (last - first))
            self._settings = self._settings._replace(common=common)
            texts.tokens[:] = self._numbered(texts.tokens)
            rows = self._tail.reshape(3, -1)[:2, : last - first]
            rows[:] = sketches_of(texts, self._scratch.seen)
        ordered = rarest_first(*texts)
        common = self._settings.common
        postings = np.sort(postings_of(ordered, texts.starts, self._settings.limit, common))
        keys = self._vocabulary + common * (BUCKETS - 1)
        segment = segment_of(postings, keys, self._tail, first)
        while self._segments and len(self._segments[-1].words) < _MERGED_UNTIL * len(segment.words):
            segment = merged(self._segments.pop(), segment)
        self._segments.append(segment)
        self._sealed = self._size

    def _grow(self, size: int, tokens: Ints, longest: int) -> None:
        """Make room for a batch all of whose texts are kept."""
        texts = self._texts
        used = int(texts.starts[self._size])
        self._texts = Texts(
            tokens=_room(texts.tokens, used + len(tokens)),
            starts=_room(texts.starts, self._size + size + 1),
        )
        scratch = self._scratch
        self._scratch = scratch._replace(
            masks=_room(scratch.masks, self._vocabulary),
            seen=_room(scratch.seen, self._vocabulary),
            carries=_room(scratch.carries, longest),
        )


def _by_frequency(tokens: Ints, vocabulary: int, least: float) -> tuple[Ints, int]:
    """New numbers of tokens, by falling frequency; how many are common."""
    frequencies = np.bincount(tokens, minlength=vocabulary)
    by_frequency = np.argsort(-frequencies, kind="stable")
    order = np.empty(vocabulary, np.int32)
    order[by_frequency] = np.arange(vocabulary, dtype=np.int32)
    return order, int(np.count_nonzero(frequencies >= least))


def _room(array: Any, size: int) -> Any:
    """The array, at least half as long again if it is shorter than `size`; new room is zeros."""
    length = array.shape[-1]
    if size <= length:
        return array
    larger = np.zeros((*array.shape[:-1], max(size, length + length // 2)), array.dtype)
    larger[..., :length] = array
    return larger
