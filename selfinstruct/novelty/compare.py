"""The compiled comparison in full: the longest common subsequence of pairs that no bound rules out, and the verdict."""

import numpy as np

from selfinstruct.novelty.bounds import differing, f_measure, half, longest, tightened
from selfinstruct.novelty.compiling import compiled, inlined, lowest_bit, popcount
from selfinstruct.novelty.lists import PADDING, near_among, sketches_differ, sort

_READ_TOGETHER = 8
"""Texts whose first tokens are read together."""


@inlined
def _mark(query, start, masks):  # type: ignore[no-untyped-def]
    """Set, for each token, the bits of its places among the 64 tokens of the query from `start` on."""
    for position in range(start, min(start + 64, len(query))):
        masks[query[position]] |= np.uint64(1) << np.uint64(position - start)


@inlined
def _unmark(query, start, masks):  # type: ignore[no-untyped-def]
    for position in range(start, min(start + 64, len(query))):
        masks[query[position]] = 0


@inlined
def _common_with_marked(tokens, start, end, masks):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of a text and a query of at most 64 tokens, which are marked."""
    state = np.uint64(0xFFFFFFFFFFFFFFFF)
    for position in range(start, end):
        both = state & masks[tokens[position]]
        state = (state + both) | (state - both)
    return popcount(~state)


@inlined
def _common(query, tokens, start, end, masks, carries):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of a query and a text, bit-parallel (Hyyro 2004)."""
    common = np.int64(0)
    for position in range(end - start):
        carries[position] = 0
    for word in range(0, len(query), 64):
        _mark(query, word, masks)
        state = np.uint64(0xFFFFFFFFFFFFFFFF)
        for position in range(end - start):
            both = state & masks[tokens[start + position]]
            partial = state + both
            total = partial + np.uint64(carries[position])
            carries[position] = (partial < both) | (total < partial)
            state = total | (state - both)
        common += popcount(~state)
        _unmark(query, word, masks)
    return common


@inlined
def _better(query, index, best, rule, tokens, starts, masks, carries):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """The better of `best`, an index and its F, and the text of this index; a short query is marked."""
    threshold, limit = rule
    start, end = starts[index], starts[index + 1]
    m, n = len(query), end - start
    common = np.int64(0)
    # loops, not branches: where arrays are used in one branch only, numba counts references, and threads wait for these
    for _ in range(np.int64(m <= 64)):
        common = _common_with_marked(tokens, start, end, masks)
    for _ in range(np.int64(m > 64)):
        common = _common(query, tokens, start, end, masks, carries)
    if common >= half(tightened(limit, best[1])) * (m + n):  # else three divisions are saved
        score = f_measure(common, m, n)
        if score >= threshold and (score > best[1] or (score == best[1] and index < best[0])):
            best = np.int64(index), score
    return best


@inlined
def _best_of(near, at, number, query, best, rule, tokens, starts, masks, carries):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """The better of `best` and the texts near the query, which stand in `near` from `at` on.

    Those that may be the nearest come first; when one cannot reach the best, none after it can. One that shares several rare
    tokens with the query stands there several times, mostly side by side.

    Returns: where those of the next query stand, and the best.
    """
    _, limit = rule
    read, end, compared = np.int64(0), at, np.int64(-1)
    while end < len(near) and near[end] >> 40 == number:
        end += 1
    while at < end and (near[at] >> 32 & 0xFF) <= 256 * tightened(limit, best[1]):
        # texts lie all over the memory; where several are read together, the processor does not wait for each
        ahead = min(at + _READ_TOGETHER, end)
        for pair in near[at:ahead]:
            read += tokens[starts[pair & 0xFFFFFFFF]]
        for pair in near[at:ahead]:
            if pair != compared:
                index = pair & 0xFFFFFFFF
                best = _better(query, index, best, rule, tokens, starts, masks, carries)
                compared = pair
        at = ahead
    if read < 0:  # never, but the compiler leaves out what is not used
        best = best[0], 0.0
    return end, best


@compiled
def best_among(chunk, near, settings, pool, scratch, found):  # type: ignore[no-untyped-def]
    """Write the index of the nearest text of each query, and its F, into `found`.

    `near` holds a `lists.pair_of` each query and text near it, and is sorted here. Queries without one keep what they have.
    """
    sort(near, np.int64(0))
    _, nearest, scores = found
    tokens, starts = pool
    masks, carries = scratch.masks, scratch.carries
    rule = settings.threshold, settings.limit
    query_tokens, query_starts = chunk.texts
    at = 0
    while at < len(near):
        number = near[at] >> 40
        query = query_tokens[query_starts[number] : query_starts[number + 1]]
        best = nearest[number], scores[number]
        short = len(query) <= 64
        if short:
            _mark(query, 0, masks)
        at, best = _best_of(near, at, number, query, best, rule, tokens, starts, masks, carries)
        if short:
            _unmark(query, 0, masks)
        nearest[number], scores[number] = best


@compiled
def decide(chunk, near, settings, pool, tail, sealed, size, scratch, found):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Decide on each text of a chunk in turn and add to the pool and the tail what is kept.

    What is nearest among the older texts stands in `found`. `near` holds a `lists.pair_of` each query and a younger text
    near it among the first `sealed` of the `size` texts of the pool, and is sorted here; the others are in the tail.

    Returns: the new size.
    """
    sort(near, np.int64(0))
    kept, nearest, scores = found
    tokens, starts = pool
    places = (len(tail) - PADDING) // 3
    masks, carries = scratch.masks, scratch.carries
    rule = settings.threshold, settings.limit
    query_tokens, query_starts = chunk.texts
    query_firsts, query_seconds = chunk.first, chunk.second
    at = 0
    for number in range(len(query_firsts)):
        query = query_tokens[query_starts[number] : query_starts[number + 1]]
        best = nearest[number], scores[number]
        short = len(query) <= 64
        if short:
            _mark(query, 0, masks)
        at, best = _best_of(near, at, number, query, best, rule, tokens, starts, masks, carries)
        m = len(query)
        sketch = query_firsts[number], query_seconds[number]
        limit = tightened(settings.limit, best[1])
        bound = differing(m, longest(m, 0, limit), limit)
        for block in range(0, size - sealed, 64):
            mask = near_among(tail, block, min(64, size - sealed - block), places, sketch, bound)
            while mask:
                place = block + lowest_bit(mask)
                mask &= mask - np.uint64(1)
                allowed = differing(m, np.int64(tail[2 * places + place]), limit)
                if sketches_differ(tail, place, places, sketch) <= allowed:
                    best = _better(
                        query, sealed + place, best, rule, tokens, starts, masks, carries
                    )
        if short:
            _unmark(query, 0, masks)
        nearest[number], scores[number] = best
        kept[number] = best[0] < 0 or (settings.keep_ties and best[1] == settings.threshold)
        if kept[number]:
            place = size - sealed
            tail[place], tail[places + place] = sketch
            tail[2 * places + place] = m
            start = starts[size]
            for position in range(m):
                tokens[start + position] = query[position]
            size += 1
            starts[size] = start + m
    return size
