"""The search for the nearest text, compiled by numba: the verdicts of `NumpyNearest`, many times faster.

Three filters stand before the longest common subsequence (`bounds` has the inequalities). The first is an inverted index of
rare tokens (prefix and position filtering, Chaudhuri et al. 2006, Xiao et al. 2008): put the tokens of every text into
one order, by frequency. Two texts that share c tokens share one among the first m - c + 1 of the one and the first
n - c + 1 of the other, so only these are indexed; a common token has a list for each place it can take among them, and a
list is sorted by length, so that a query reads those lengths only that can reach the threshold.
The second is the sketch of `selfinstruct.novelty.pool`, held in the lists themselves and read eight at a time. The third
is how many commoner tokens stand before and after the shared one in both. What is left is decided by bit-parallel
arithmetic, 64 tokens a word (`compare`), in the order of what it can reach at most: the score of the nearest text found so
far takes the threshold's place in all bounds, here as there.

The index is a few sealed segments, each at least eight times as large as the next, as in a log-structured merge tree
(O'Neil et al. 1996); the newest texts are compared one by one until there are enough for another.

Many texts are first looked up in the pool as it stood before them, on several threads, none of which writes what another
reads; then each is compared in turn, on one thread, with those of them that were kept.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event
from typing import Any, ClassVar

import numpy as np

from selfinstruct.novelty.compare import best_among, decide
from selfinstruct.novelty.layout import Chunk, Probes, Scratch, Segment, Settings, Texts
from selfinstruct.novelty.lists import (
    PADDING,
    PLACES,
    merged,
    near_in,
    prepared,
    rare_tokens_of,
    segment_of,
    sketches_of,
)
from selfinstruct.novelty.search import Found, Ints, Longs, limit_of
from selfinstruct.novelty.vocabulary import Vocabulary
from selfinstruct.novelty.words import CompiledVocabulary
from xtune.hardware import core_count

_TAIL_TEXTS = 2048
"""Texts that are compared one by one before they are put into posting lists, and texts that are offered to these
together. From 1,024 to 4,096 the whole search takes the same, within 5 %
(measured on two AMD EPYC cores, 2026-11)."""

_MERGED_BELOW = 8
"""A segment is merged with a new one unless it is so many times larger. With 4 or 16 the whole search takes the same,
within 3 % (measured on two AMD EPYC cores, 2026-11)."""

_MOST_TOGETHER = 16_384
"""Texts that are looked up together: what their lists hold is then read from memory once for all of them."""

_MOST_NEAR = 1 << 21
"""Pairs left by the sketches before fewer texts are offered together; 16 MiB."""

_COMMON_SHARE = 0.01
"""Tokens met at least once in so many texts have a list for each place. Against a pool of 980,000 texts, looking up takes 8 %
longer with 0.003 and 15 % with 0.02 (measured on two AMD EPYC cores, under load, 2026-11)."""

_LEAST_IN_PARTS = 64
"""Texts that are looked up by rare tokens before they are by common ones: calling compiled code twice as often takes
some 20 us (measured on two AMD EPYC cores, under load, 2026-11)."""

_MOST_THREADS = 8
"""More would have little to do: a third of the search stays on one thread (400,000 texts, measured on two AMD EPYC cores,
2026-11)."""

_LEAST_PER_THREAD = 256
"""Texts for which another thread is worth starting: that takes about 0.1 ms, looking so many up in a pool of 100,000 some
20 times as long (counted from the above)."""


class CompiledNearest:
    """The pool's arrays, grown from outside the compiled code."""

    vocabulary: ClassVar[type[Vocabulary]] = CompiledVocabulary
    least_in_parts = _LEAST_IN_PARTS
    least_per_thread = _LEAST_PER_THREAD
    tail_texts = _TAIL_TEXTS
    most_together = _MOST_TOGETHER
    most_near = _MOST_NEAR

    def __init__(self, threshold: float, keep_ties: bool) -> None:
        self._settings = Settings(threshold, limit_of(threshold), keep_ties, 0)
        self._texts = Texts(np.zeros(0, np.int32), np.zeros(1, np.int64))
        self._size = 0
        self._sealed = 0
        """Texts in segments; the others are in the tail."""

        self._segments: list[Segment] = []
        self._tail = np.zeros(3 * 2 * self.tail_texts + PADDING, np.uint64)
        """(3 * places + PADDING,) all first words of sketches, all second ones, all lengths."""

        self._order = np.zeros(0, np.int32)
        """The numbers of the tokens met before the first segment, by frequency there. Later ones, rarer, keep theirs."""

        self._together = self.most_together
        """Texts offered together to the segments; fewer where these find much, so that memory is bounded."""

        self._vocabulary = 0
        self._longest = 0
        self.threads = min(core_count(), _MOST_THREADS)
        self._rooms = [self._room()]
        """One for each thread."""

    def __len__(self) -> int:
        return self._size

    def offer(self, tokens: Ints, lengths: Longs, vocabulary: int, on_one_thread: Event) -> Found:
        """Offer texts one after the other; see `Nearest.offer`."""
        size = len(lengths)
        starts = np.zeros(size + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        found = np.zeros(size, np.bool_), np.full(size, -1, np.int64), np.zeros(size, np.float64)
        self._vocabulary = max(self._vocabulary, vocabulary)
        self._longest = max(self._longest, int(lengths.max()))
        self._grow(size, len(tokens))
        start = end = 0
        while end < size:
            together = self._together if len(self._order) else self.tail_texts
            start, end = end, min(end + together, size)
            part, part_starts = _texts(Texts(tokens, starts), start, end)
            part_found = _found(found, start, end)
            chunk = self._looked_up(Texts(self._renumbered(part), part_starts), part_found)
            if end == size:
                on_one_thread.set()
            self._decide(chunk, part_found)
        return found

    def _decide(self, chunk: Chunk, found: Found) -> None:
        """Look texts up in what is added meanwhile, fewer at a time, and keep those that are new."""
        size, start = len(chunk.first), 0
        young: list[Segment] = []
        while start < size:
            end = min(start + self.tail_texts, size)
            part, part_found = _part(chunk, start, end), _found(found, start, end)
            self._size = decide(
                part,
                self._near_young(young, part, part_found),
                self._settings,
                self._texts,
                self._tail,
                self._sealed,
                self._size,
                self._rooms[0].scratch,
                part_found,
            )
            if self._size - self._sealed >= self.tail_texts:
                self._seal(young)
            start = end
        for segment in young:
            _append(self._segments, segment)

    def _looked_up(self, texts: Texts, found: Found) -> Chunk:
        """Find the nearest text in the segments of each, on as many threads as are worth it."""
        size = len(texts.starts) - 1
        threads = min(self.threads, size // self.least_per_thread)
        if threads <= 1:
            chunk, pairs = self._look_up(texts, found, self._rooms[0])
            self._bound(pairs)
            return chunk
        ends = [size * thread // threads for thread in range(threads + 1)]
        slices = [(_texts(texts, *of), _found(found, *of)) for of in pairwise(ends)]
        self._rooms += [self._room() for _ in range(threads - len(self._rooms))]
        with ThreadPoolExecutor(threads) as executor:
            done = list(executor.map(self._look_up, *zip(*slices, strict=True), self._rooms))
        self._bound(sum(pairs for _, pairs in done))
        _, *arrays = zip(*(chunk for chunk, _ in done), strict=True)
        return Chunk(texts, *map(np.concatenate, arrays))

    def _bound(self, pairs: int) -> None:
        """Offer fewer texts together where these left many pairs."""
        if pairs > self.most_near:
            self._together = max(1, self._together // 2)
        else:
            self._together = min(2 * self._together, self.most_together)

    def _look_up(self, texts: Texts, found: Found, room: _Room) -> tuple[Chunk, int]:
        """Find the nearest text in the segments of each; nothing else is written to than `found` and `room`.

        Returns: the texts as a chunk, and how many pairs the sketches did not rule out.
        """
        chunk, probes = prepared(texts, room.scratch.seen, self._settings.limit)
        pairs = 0
        if self._segments:
            for some in self._parts(probes, len(chunk.first)):
                near = self._near_in(self._segments, some, chunk, found, room)
                best_among(chunk, near, self._settings, self._texts, room.scratch, found)
                pairs += len(near)
        return chunk, pairs

    def _parts(self, probes: Probes, texts: int) -> list[Probes]:
        """What is looked up first, and what after that.

        A text near another mostly shares a rare token with it. Once it is known, the long lists of the common tokens are
        read for nearer ones only.
        """
        if texts < self.least_in_parts:
            return [probes]
        first_rare = np.searchsorted(probes.entries, self._settings.common << 32)
        entries = probes.entries
        return [probes._replace(entries=of) for of in (entries[first_rare:], entries[:first_rare])]

    def _near_in(
        self, segments: list[Segment], probes: Probes, chunk: Chunk, found: Found, room: _Room
    ) -> Longs:
        """A `lists.pair_of` each query and text in the segments that no bound rules out."""
        size = 0
        for segment in segments:
            room.near, size = near_in(
                segment, probes, chunk, self._settings, found[2], room.near, size
            )
        return room.near[:size]

    def _near_young(self, young: list[Segment], chunk: Chunk, found: Found) -> Longs:
        """The same for all tokens of the texts and the segments made since these were looked up."""
        room = self._rooms[0]
        if not young:
            return room.near[:0]
        probes = rare_tokens_of(chunk.texts, chunk.ordered, self._settings.limit, 0)
        return self._near_in(young, probes, chunk, found, room)

    def _seal(self, segments: list[Segment]) -> None:
        """Put the texts of the tail into a segment, which joins those given."""
        size = self._size - self._sealed
        starts = self._texts.starts[self._sealed : self._size + 1]
        texts = Texts(self._texts.tokens[starts[0] : starts[-1]], starts - starts[0])
        if not len(self._order):
            self._order, common = _by_frequency(
                texts.tokens, self._vocabulary, _COMMON_SHARE * size
            )
            self._settings = self._settings._replace(common=common)
            texts.tokens[:] = self._renumbered(texts.tokens)
            rows = self._tail[:-PADDING].reshape(3, -1)
            rows[:2, :size] = sketches_of(texts, self._rooms[0].scratch.seen)
        lists = self._vocabulary + self._settings.common * (PLACES - 1)
        _append(segments, segment_of(texts, self._settings, lists, self._tail, self._sealed))
        self._sealed = self._size

    def _renumbered(self, tokens: Ints) -> Ints:
        if not len(self._order):
            return tokens
        known = tokens < len(self._order)
        return np.where(known, self._order[np.where(known, tokens, 0)], tokens)

    def _grow(self, size: int, tokens: int) -> None:
        """Make room for a batch all of whose texts are kept."""
        texts = self._texts
        self._texts = Texts(
            tokens=_longer(texts.tokens, int(texts.starts[self._size]) + tokens),
            starts=_longer(texts.starts, self._size + size + 1),
        )
        for room in self._rooms:
            room.grow(self._vocabulary, self._longest)

    def _room(self) -> _Room:
        room = _Room()
        room.grow(self._vocabulary, self._longest)
        return room


class _Room:
    """What one thread works in."""

    def __init__(self) -> None:
        self.near = np.zeros(4096, np.int64)
        self.scratch = Scratch(
            masks=np.zeros(0, np.uint64), seen=np.zeros(0, np.int32), carries=np.zeros(0, np.uint8)
        )

    def grow(self, vocabulary: int, longest: int) -> None:
        """Make room for more tokens and longer texts."""
        self.scratch = self.scratch._replace(
            masks=_longer(self.scratch.masks, vocabulary),
            seen=_longer(self.scratch.seen, vocabulary),
            carries=_longer(self.scratch.carries, longest),
        )


def _part(chunk: Chunk, start: int, end: int) -> Chunk:
    """Some texts of a chunk."""
    if end - start == len(chunk.first):
        return chunk
    starts = chunk.texts.starts
    return Chunk(
        texts=_texts(chunk.texts, start, end),
        ordered=chunk.ordered[starts[start] : starts[end]],
        first=chunk.first[start:end],
        second=chunk.second[start:end],
    )


def _texts(texts: Texts, start: int, end: int) -> Texts:
    """Some of the texts."""
    if end - start == len(texts.starts) - 1:
        return texts
    tokens, starts = texts
    return Texts(tokens[starts[start] : starts[end]], starts[start : end + 1] - starts[start])


def _found(found: Found, start: int, end: int) -> Found:
    if end - start == len(found[0]):
        return found
    kept, nearest, scores = found
    return kept[start:end], nearest[start:end], scores[start:end]


def _append(segments: list[Segment], segment: Segment) -> None:
    """Add a newer segment, merged with those that are not many times as large."""
    while segments and len(segments[-1].words) < _MERGED_BELOW * len(segment.words):
        segment = merged(segments.pop(), segment)
    segments.append(segment)


def _by_frequency(tokens: Ints, vocabulary: int, least: float) -> tuple[Ints, int]:
    """New numbers of the tokens, the most frequent first, and how many of them were met `least` times."""
    frequencies = np.bincount(tokens, minlength=vocabulary)
    order = np.empty(vocabulary, np.int32)
    order[np.argsort(-frequencies, kind="stable")] = np.arange(vocabulary, dtype=np.int32)
    return order, int(np.count_nonzero(frequencies >= least))


def _longer(array: Any, size: int) -> Any:
    """The array, at least half as long again if it is shorter than `size`; new room is zeros."""
    length = len(array)
    if size <= length:
        return array
    larger = np.zeros(max(size, length + length // 2), array.dtype)
    larger[:length] = array
    return larger
