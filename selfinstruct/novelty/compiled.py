"""The search for the nearest text, compiled by numba; the same verdicts as `NumpyNearest`, tens of times faster.

The pool is kept in blocks of texts of one length. A query skips the lengths that cannot reach the threshold,
takes the popcounts of a block in one vectorised loop, and computes the longest common subsequence of what is
left with bit-parallel arithmetic (Hyyro 2004), 64 query tokens a word.
"""

from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from selfinstruct.novelty.search import SKETCH_WORDS, Found, Ints, Longs, limit_of

_BLOCK = 256
"""Texts in a block: 2 KiB of each sketch word, which stays in the first-level cache while it is read."""


@intrinsic  # type: ignore[untyped-decorator]
def _popcount(typing: Any, word: Any) -> Any:  # noqa: ARG001 - numba hands over its typing context
    """Bits set in a 64-bit word, as a byte, so that LLVM can use its vector instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = builder.ctpop(arguments[0])
        return builder.trunc(count, context.get_value_type(signature.return_type))

    return numba.uint8(numba.uint64), generate


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _f_measure(common: int, m: int, n: int) -> float:
    if common == 0:
        return 0.0
    precision, recall = common / n, common / m
    return 2 * precision * recall / (precision + recall)


@numba.njit(cache=True)
def _common(masks, rows, words, text):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of the query, given as position masks, and a text."""
    state = np.full(words, np.uint64(0xFFFFFFFFFFFFFFFF))
    for token in text:
        row = rows[token]
        if row > 0:
            carry = np.uint64(0)
            for word in range(words):
                both = state[word] & masks[row, word]
                partial = state[word] + both
                total = partial + carry
                carry = np.uint64((partial < both) | (total < carry))
                state[word] = total | (state[word] - both)
    common = 0
    for word in range(words):
        common += _popcount(~state[word])
    return common


@numba.njit(cache=True)
def _mask(query, rows, masks):  # type: ignore[no-untyped-def]
    """Write the positions of every token of the query into `masks`, and its row there into `rows`."""
    used = 0
    for position in range(len(query)):
        token = query[position]
        if rows[token] == 0:
            used += 1
            rows[token] = used
            masks[used, :] = 0
        masks[rows[token], position >> 6] |= np.uint64(1) << np.uint64(position & 63)


@numba.njit(cache=True)
def _sketch(query, seen, sketch):  # type: ignore[no-untyped-def]
    """Xor one bit for each token and occurrence into `sketch`; `seen` is all zero before and after."""
    sketch[:] = 0
    for token in query:
        seen[token] += 1
        z = np.uint64(token) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(seen[token] + 1) * np.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bit = (z ^ (z >> np.uint64(31))) % np.uint64(64 * len(sketch))
        sketch[bit >> np.uint64(6)] ^= np.uint64(1) << (bit & np.uint64(63))
    for token in query:
        seen[token] = 0


@numba.njit(cache=True, nogil=True)
def _nearest(query, sketch, threshold, limit, pool, scratch):  # type: ignore[no-untyped-def]  # noqa: C901 - compiled as one piece
    """Index and F of the first text of the pool with the highest F that reaches the threshold, or (-1, 0)."""
    sketches, indices, fill, last, before, texts, starts, ends = pool
    masks, rows, counts = scratch
    m = len(query)
    words = (m + 63) >> 6
    best, best_score, masked = np.int64(-1), 0.0, False
    first, second = sketch[0], sketch[1]
    for n in range(len(last)):
        block = last[n]
        if block < 0 or abs(m - n) > limit * (m + n):
            continue
        allowed = np.int64(limit * (m + n))
        while block >= 0:
            nearest = np.int64(255)
            for i in range(_BLOCK):
                count = _popcount(sketches[block, 0, i] ^ first) + _popcount(
                    sketches[block, 1, i] ^ second
                )
                counts[i] = count
                nearest = min(nearest, count)
            if nearest <= allowed:
                for i in range(fill[block]):
                    if counts[i] > allowed:
                        continue
                    if not masked:
                        _mask(query, rows, masks)
                        masked = True
                    index = indices[block, i]
                    common = _common(masks, rows, words, texts[starts[index] : ends[index]])
                    score = _f_measure(common, m, n)
                    if score >= threshold and (
                        score > best_score or (score == best_score and index < best)
                    ):
                        best, best_score = index, score
            block = before[block]
    if masked:
        for token in query:
            rows[token] = 0
    return best, best_score


@numba.njit(cache=True, nogil=True)
def _offer(tokens, lengths, settings, pool, size, blocks, scratch, found):  # type: ignore[no-untyped-def]  # noqa: PLR0913 - compiled code has no objects
    """Offer each text to the pool; returns the pool's new size and number of blocks."""
    sketches, indices, fill, last, before, texts, starts, ends = pool
    threshold, limit, keep_ties = settings
    kept, nearest, scores = found
    sketch = np.zeros(sketches.shape[1], np.uint64)
    start = 0
    for number in range(len(lengths)):
        m = lengths[number]
        query = tokens[start : start + m]
        start += m
        _sketch(query, scratch[1], sketch)
        index, score = np.int64(-1), 0.0
        if m > 0:
            index, score = _nearest(query, sketch, threshold, limit, pool, scratch)
        nearest[number], scores[number] = index, score
        kept[number] = index < 0 or (keep_ties and score == threshold)
        if not kept[number]:
            continue
        block = last[m]
        if block < 0 or fill[block] == _BLOCK:
            before[blocks] = block
            last[m] = block = blocks
            fill[block] = 0
            blocks += 1
        place = fill[block]
        for word in range(sketches.shape[1]):
            sketches[block, word, place] = sketch[word]
        indices[block, place] = size
        fill[block] += 1
        starts[size] = ends[size - 1] if size > 0 else 0
        ends[size] = starts[size] + m
        texts[starts[size] : ends[size]] = query
        size += 1
    return size, blocks


class CompiledNearest:
    """The pool's arrays, grown ahead of every batch so that the compiled code never has to."""

    def __init__(self, threshold: float, keep_ties: bool) -> None:
        self._settings = (threshold, limit_of(threshold), keep_ties)
        self._size = self._blocks = 0
        self._sketches = np.zeros((0, SKETCH_WORDS, _BLOCK), np.uint64)
        self._indices = np.zeros((0, _BLOCK), np.int32)
        self._fill = np.zeros(0, np.int32)
        self._before = np.zeros(0, np.int32)
        self._last = np.zeros(0, np.int32)
        """(lengths,) newest block of each length, or -1; `_before` leads from it to the others."""

        self._texts = np.zeros(0, np.int32)
        self._starts = np.zeros(0, np.int64)
        self._ends = np.zeros(0, np.int64)
        self._rows = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return self._size

    def offer(self, tokens: Ints, lengths: Longs, vocabulary: int) -> Found:
        """Offer texts one after the other; see `Nearest.offer`."""
        self._grow(tokens, lengths, vocabulary)
        longest = int(lengths.max())
        masks = np.zeros((longest + 1, (longest + 63) >> 6), np.uint64)
        scratch = (masks, self._rows, np.zeros(_BLOCK, np.uint8))
        size = len(lengths)
        found = (np.zeros(size, np.bool_), np.zeros(size, np.int64), np.zeros(size, np.float64))
        pool = (
            self._sketches,
            self._indices,
            self._fill,
            self._last,
            self._before,
            self._texts,
            self._starts,
            self._ends,
        )
        self._size, self._blocks = _offer(
            tokens, lengths, self._settings, pool, self._size, self._blocks, scratch, found
        )
        return found

    def _grow(self, tokens: Ints, lengths: Longs, vocabulary: int) -> None:
        """Make room for a batch all of whose texts are kept."""
        texts = self._size + len(lengths)
        used = int(self._ends[self._size - 1]) if self._size else 0
        # a new block for every length of the batch, and one for every _BLOCK texts
        blocks = self._blocks + len(np.unique(lengths)) + len(lengths) // _BLOCK
        self._sketches = _room(self._sketches, blocks)
        self._indices = _room(self._indices, blocks)
        self._fill = _room(self._fill, blocks)
        self._before = _room(self._before, blocks)
        self._last = _room(self._last, int(lengths.max()) + 1, -1)
        self._texts = _room(self._texts, used + len(tokens))
        self._starts = _room(self._starts, texts)
        self._ends = _room(self._ends, texts)
        self._rows = _room(self._rows, vocabulary)


def _room(array: Any, size: int, filler: int = 0) -> Any:
    """The array, at least half as long again if it is shorter than `size`."""
    if size <= len(array):
        return array
    more = max(size - len(array), len(array) // 2)
    return np.concatenate([array, np.full((more, *array.shape[1:]), filler, array.dtype)])
