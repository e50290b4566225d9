"""The loops of the compiled search: sketches, posting lists, the longest common subsequence; they own no memory.

All compiled code is in this one file: numba's cache looks at the file of a function, not at those it calls.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from selfinstruct.novelty.compiling import compiled, popcount
from selfinstruct.novelty.search import Bytes, Ints, Longs, Words

Shorts = npt.NDArray[np.uint16]

TAIL_TEXTS = 1024
"""Texts that are compared one by one before they are put into posting lists; reading so many sketches takes
0.4 us, and lists of fewer are not worth the calls."""

_LONGEST = 65_535
"""Lengths are cut to this where only a bound is needed."""

BUCKETS = 16
_BUCKET_OF = np.clip(np.floor(2 * np.log2(np.maximum(np.arange(1024), 1))) - 4, 0, BUCKETS - 1).astype(np.int64)
"""Length to one of 16 half octaves, from below 6 tokens to above 724. Measured: with octaves the lists of common
tokens that are read are half as long again; with quarters they are a fifth shorter, and twice as many."""

_BLOCK = 256
"""Sketches that are read before looking whether one is near; their counts stay in the first-level cache."""


class Texts(NamedTuple):
    """Texts as token numbers, one behind the other."""

    tokens: Ints
    starts: Longs
    """(texts + 1,) where each begins, and where the last ends."""


class Segment(NamedTuple):
    """Posting lists of some texts, a list behind the other.

    A token has one list, or, if it is common, one for each bucket of lengths. Each list is sorted by `reach`, the highest
    first, so that a query reads a list's beginning only.
    """

    starts: Ints
    """(keys + 1,) where the list of each key begins, and where the last ends."""

    first: Words
    """(postings,) first word of the text's sketch."""

    second: Words
    """(postings,) second word."""

    slack: Shorts
    """(postings,) in how many tokens a text may differ on account of this one's length; see `_slack`."""

    reach: Shorts
    """(postings,) tokens of the longest query that this posting can help to find; see `_reach`."""

    texts: Ints
    """(postings,) index of the text in the pool."""


class Tail(NamedTuple):
    """Sketches of the texts that are in no segment yet."""

    first: Words
    second: Words
    slack: Shorts


class Chunk(NamedTuple):
    """Texts that are offered together."""

    texts: Texts
    first: Words
    second: Words


class Settings(NamedTuple):
    """What does not change from text to text."""

    threshold: float
    limit: float
    """See `search.limit_of`."""

    keep_ties: bool
    common: int
    """Tokens below this number are common."""


class Scratch(NamedTuple):
    """Room to work in; the first two are all zero between calls."""

    masks: Words
    """(vocabulary,) where a token stands among 64 tokens of the query."""

    seen: Ints
    """(vocabulary,) how often a token has been met in the text."""

    carries: Bytes
    """(tokens of the longest text,) the carry out of the 64 tokens before, for every token of a text."""

    counts: Bytes
    """(block,) bits in which two sketches differ."""


@compiled
def _f_measure(common, m, n):  # type: ignore[no-untyped-def]
    """As `xtune.text.f_measure`, operation by operation."""
    if common == 0:
        return 0.0
    precision, recall = common / n, common / m
    return 2 * precision * recall / (precision + recall)


@compiled
def _common(query, text, masks, carries):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of two texts."""
    common = 0
    for position in range(len(text)):
        carries[position] = 0
    for start in range(0, len(query), 64):
        end = min(start + 64, len(query))
        for position in range(start, end):
            masks[query[position]] |= np.uint64(1) << np.uint64(position - start)
        state = np.uint64(0xFFFFFFFFFFFFFFFF)
        for position in range(len(text)):
            both = state & masks[text[position]]
            partial = state + both
            total = partial + np.uint64(carries[position])
            carries[position] = (partial < both) | (total < partial)
            state = total | (state - both)
        common += popcount(~state)
        for position in range(start, end):
            masks[query[position]] = 0
    return common


@compiled
def _slack(size, limit):  # type: ignore[no-untyped-def]
    """Part of the tokens that may differ, limit * (m + n), that a text of this size answers for, in 64ths.

    Two of these and 1 for what was rounded down are never below the whole. The most, 511 tokens, allows any sketch.
    """
    return np.uint16(min(64 * limit * size, 32767.0))


@compiled
def _reach(size, position, limit):  # type: ignore[no-untyped-def]
    """Longest text to reach the threshold with one of `size`, if the rarest token they share is its `position`-th rarest.

    They share at most what is not rarer, c <= size - position, and need c >= (1 - limit) (m + n) / 2.
    """
    longest = 2 * (size - position) / max(1 - limit, 1e-9) - size
    return np.int64(min(longest, float(_LONGEST)))


@compiled
def _prefix(size, limit):  # type: ignore[no-untyped-def]
    """Rarest tokens of a text that must hold one shared with any text within the limit.

    Sharing c >= (1 - limit) (m + n) / 2 tokens and c <= n give c >= m (1 - limit) / (1 + limit).
    """
    return min(size, int(2 * limit * size / (1 + limit)) + 1)


@compiled
def _bucket(size):  # type: ignore[no-untyped-def]
    return _BUCKET_OF[min(size, len(_BUCKET_OF) - 1)]


@compiled
def _key(token, bucket, common):  # type: ignore[no-untyped-def]
    """Number of the list of a token."""
    return token * BUCKETS + bucket if token < common else token + common * (BUCKETS - 1)


@compiled
def sketches_of(texts, seen):  # type: ignore[no-untyped-def]
    """Xor one bit for each token and occurrence of a text, the bits that `search.mixed` draws.

    Returns: both words of each text's sketch.
    """
    size = len(texts.starts) - 1
    first, second = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    tokens, starts = texts
    for number in range(size):
        for at in range(starts[number], starts[number + 1]):
            token = tokens[at]
            seen[token] += 1
            z = np.uint64(token) * np.uint64(0x9E3779B97F4A7C15)
            z += np.uint64(seen[token] + 1) * np.uint64(0xD1B54A32D192ED03)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bit = (z ^ (z >> np.uint64(31))) & np.uint64(127)
            if bit < 64:
                first[number] ^= np.uint64(1) << bit
            else:
                second[number] ^= np.uint64(1) << (bit - np.uint64(64))
        for at in range(starts[number], starts[number + 1]):
            seen[tokens[at]] = 0
    return first, second


@compiled
def probes_of(ordered, starts, limit):  # type: ignore[no-untyped-def]
    """For each text and each of its rarest tokens, token << 32 | place in `ordered`; to be sorted."""
    probes = np.empty(len(ordered), np.int64)
    size = 0
    for number in range(len(starts) - 1):
        start, end = starts[number], starts[number + 1]
        for at in range(start, start + _prefix(end - start, limit)):
            if at == start or ordered[at] != ordered[at - 1]:
                probes[size] = np.int64(ordered[at]) << 32 | at
                size += 1
    return probes[:size]


@compiled
def postings_of(ordered, starts, limit, common):  # type: ignore[no-untyped-def]
    """For each text and each of its rarest tokens, key << 32 | (65535 - reach) << 16 | text; to be sorted."""
    postings = np.empty(len(ordered), np.int64)
    size = 0
    for number in range(len(starts) - 1):
        start, end = starts[number], starts[number + 1]
        bucket = _bucket(end - start)
        for at in range(start, start + _prefix(end - start, limit)):
            if at == start or ordered[at] != ordered[at - 1]:
                key = _key(np.int64(ordered[at]), bucket, common)
                reach = _reach(end - start, at - start, limit)
                postings[size] = key << 32 | (_LONGEST - reach) << 16 | number
                size += 1
    return postings[:size]


@compiled
def _empty_segment(keys, size):  # type: ignore[no-untyped-def]
    return Segment(
        np.zeros(keys + 1, np.int32),
        np.empty(size, np.uint64),
        np.empty(size, np.uint64),
        np.empty(size, np.uint16),
        np.empty(size, np.uint16),
        np.empty(size, np.int32),
    )


@compiled
def segment_of(postings, keys, tail, first_text):  # type: ignore[no-untyped-def]
    """The texts of the tail, from `first_text` of the pool on, as a segment; from sorted postings."""
    segment = _empty_segment(keys, len(postings))
    for place in range(len(postings)):
        posting = postings[place]
        number = posting & 0xFFFF
        segment.starts[(posting >> 32) + 1] += 1
        segment.first[place] = tail.first[number]
        segment.second[place] = tail.second[number]
        segment.slack[place] = tail.slack[number]
        segment.reach[place] = _LONGEST - (posting >> 16 & 0xFFFF)
        segment.texts[place] = first_text + number
    for key in range(keys):
        segment.starts[key + 1] += segment.starts[key]
    return segment


@compiled
def _copy(source, place, target, into):  # type: ignore[no-untyped-def]
    target.first[into] = source.first[place]
    target.second[into] = source.second[place]
    target.slack[into] = source.slack[place]
    target.reach[into] = source.reach[place]
    target.texts[into] = source.texts[place]


@compiled
def merged(older, newer):  # type: ignore[no-untyped-def]
    """Both segments as one; the newer has at least as many keys."""
    keys = len(newer.starts) - 1
    segment = _empty_segment(keys, len(older.texts) + len(newer.texts))
    into = 0
    for key in range(keys):
        segment.starts[key] = into
        old = old_end = 0
        if key < len(older.starts) - 1:
            old, old_end = older.starts[key], older.starts[key + 1]
        new, new_end = newer.starts[key], newer.starts[key + 1]
        while old < old_end or new < new_end:
            if new == new_end or (old < old_end and older.reach[old] >= newer.reach[new]):
                _copy(older, old, segment, into)
                old += 1
            else:
                _copy(newer, new, segment, into)
                new += 1
            into += 1
    segment.starts[keys] = into
    return segment


@compiled
def _any_near(lists, start, end, sketch, near):  # type: ignore[no-untyped-def]
    """Whether each of the sketches from start to end is near enough to a query's, in `near`; True if one is.

    Indices are unsigned, since LLVM cannot vectorise those that might be negative.
    """
    firsts, seconds, slacks = lists
    first, second, allowed = sketch
    begin = np.uint64(start)
    some = np.uint8(0)
    for i in range(np.uint64(end - start)):
        differing = popcount(firsts[begin + i] ^ first) + popcount(seconds[begin + i] ^ second)
        passes = np.uint8(np.uint16(differing) << np.uint16(6) <= slacks[begin + i] + allowed)
        near[i] = passes
        some |= passes
    return some > 0


@compiled
def _readable(reach, start, end, size):  # type: ignore[no-untyped-def]
    """The end of that part of a list that can hold something for a query of `size`."""
    while start < end:
        middle = (start + end) >> 1
        if reach[middle] >= size:
            start = middle + 1
        else:
            end = middle
    return start


@compiled
def near_in(segment, probes, owners, chunk, settings, counts, near, size):  # type: ignore[no-untyped-def] # noqa: PLR0913, PLR0917
    """Append query << 32 | text for each pair that the sketches do not rule out to the first `size` of `near`.

    Sorted probes go through the lists in the order in which these lie in memory, and read each for all its queries.

    Returns: near, grown if need be, and its new size.
    """
    limit, common = settings.limit, settings.common
    starts, firsts, seconds, slacks, reaches, texts = segment
    query_starts, query_firsts, query_seconds = chunk.texts.starts, chunk.first, chunk.second
    lists = (firsts, seconds, slacks)
    keys = len(starts) - 1
    for probe in probes:
        token, at = probe >> 32, probe & 0xFFFFFFFF
        query = owners[at]
        query_start = query_starts[query]
        m = query_starts[query + 1] - query_start
        if token < common:
            lowest = _key(token, _bucket(int(m * (1 - limit) / (1 + limit))), common)
            highest = _key(token, _bucket(_reach(m, at - query_start, limit)), common)
        else:
            lowest = highest = _key(token, 0, common)
        sketch = query_firsts[query], query_seconds[query], np.uint16(_slack(m, limit) + 1)
        m = min(m, _LONGEST)
        for key in range(lowest, min(highest, keys - 1) + 1):
            start, end = np.int64(starts[key]), np.int64(starts[key + 1])
            if start == end or reaches[start] < m:
                continue
            end = _readable(reaches, start, end, m)
            for block in range(start, end, _BLOCK):
                block_end = min(block + _BLOCK, end)
                if not _any_near(lists, block, block_end, sketch, counts):
                    continue
                for place in range(block, block_end):
                    if counts[place - block]:
                        if size == len(near):
                            near = np.concatenate((near, np.empty_like(near)))
                        near[size] = np.int64(query) << 32 | texts[place]
                        size += 1
    return near, size


@compiled
def _better(query, index, best, rule, tokens, starts, masks, carries):  # type: ignore[no-untyped-def] # noqa: PLR0913, PLR0917
    """The better of `best`, an index and its F, and the text of this higher index."""
    threshold, limit = rule
    start = starts[index]
    m, n = len(query), starts[index + 1] - start
    if abs(m - n) > limit * (m + n):
        return best
    score = _f_measure(_common(query, tokens[start : start + n], masks, carries), m, n)
    if score >= threshold and score > best[1]:
        return np.int64(index), score
    return best


@compiled
def decide(chunk, near, settings, pool, tail, sealed, size, scratch, found):  # type: ignore[no-untyped-def] # noqa: PLR0913, PLR0917
    """Decide on each text of a chunk in turn and add to the pool and the tail what is kept.

    Args:
        near: Sorted query << 32 | text of the first `sealed` texts of the pool.
        size: Texts in the pool; those from `sealed` on are in the tail.

    Returns: the new size.
    """
    kept, nearest, scores = found
    tokens, starts = pool
    firsts, seconds, slacks = tail
    masks, carries, counts = scratch.masks, scratch.carries, scratch.counts
    rule = settings.threshold, settings.limit
    query_tokens, query_starts = chunk.texts
    query_firsts, query_seconds = chunk.first, chunk.second
    at = 0
    for number in range(len(query_firsts)):
        query = query_tokens[query_starts[number] : query_starts[number + 1]]
        best = (np.int64(-1), 0.0)
        while at < len(near) and near[at] >> 32 == number:
            if at == 0 or near[at] != near[at - 1]:
                index = near[at] & 0xFFFFFFFF
                best = _better(query, index, best, rule, tokens, starts, masks, carries)
            at += 1
        m = len(query)
        slack = _slack(m, settings.limit)
        sketch = query_firsts[number], query_seconds[number], np.uint16(slack + 1)
        if _any_near(tail, 0, size - sealed, sketch, counts):
            for place in range(size - sealed):
                if counts[place]:
                    best = _better(query, sealed + place, best, rule, tokens, starts, masks, carries)
        nearest[number], scores[number] = best
        kept[number] = best[0] < 0 or (settings.keep_ties and best[1] == settings.threshold)
        if kept[number]:
            firsts[size - sealed] = query_firsts[number]
            seconds[size - sealed] = query_seconds[number]
            slacks[size - sealed] = slack
            start = starts[size]
            for position in range(m):
                tokens[start + position] = query[position]
            size += 1
            starts[size] = start + m
    return size
