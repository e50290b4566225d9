"""The loops of the compiled search: sketches, posting lists, the longest common subsequence; they own no memory.

All compiled code is in this one file: numba's cache looks at the file of a function, not at those it calls.
"""

import numpy as np

from selfinstruct.novelty.compiling import compiled, popcount
from selfinstruct.novelty.layout import Segment

_LONGEST = 65_535
"""Lengths are cut to this where only a bound is needed."""

BUCKETS = 16
_BUCKET_OF = np.clip(
    np.floor(2 * np.log2(np.maximum(np.arange(1024), 1))) - 4, 0, BUCKETS - 1
).astype(np.int64)
"""Length to one of 16 half octaves, from below 6 tokens to above 724. Measured: with octaves the lists of common
tokens that are read are half as long again; with quarters they are a fifth shorter, and twice as many."""

BLOCK = 256
"""Sketches that are read before looking whether one is near; what is found stays in the first-level cache."""


_DIGIT = 8
"""Bits sorted by at a time. With 11 the sort takes a fifth longer: so many places are written to in turn that their
pages are looked up anew."""


@compiled
def _f_measure(common, m, n):  # type: ignore[no-untyped-def]
    """As `xtune.text.f_measure`, operation by operation."""
    if common == 0:
        return 0.0
    precision, recall = common / n, common / m
    return 2 * precision * recall / (precision + recall)


@compiled
def _mark(query, start, masks):  # type: ignore[no-untyped-def]
    """Set, for each token, the bits of its places among the 64 tokens of the query from `start` on."""
    for position in range(start, min(start + 64, len(query))):
        masks[query[position]] |= np.uint64(1) << np.uint64(position - start)


@compiled
def _unmark(query, start, masks):  # type: ignore[no-untyped-def]
    for position in range(start, min(start + 64, len(query))):
        masks[query[position]] = 0


@compiled
def _common_with_marked(text, masks):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of a text and a query of at most 64 tokens, which are marked."""
    state = np.uint64(0xFFFFFFFFFFFFFFFF)
    for token in text:
        both = state & masks[token]
        state = (state + both) | (state - both)
    return np.int64(popcount(~state))


@compiled
def _common(query, text, masks, carries):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of two texts, bit-parallel (Hyyro 2004)."""
    common = np.int64(0)
    for position in range(len(text)):
        carries[position] = 0
    for start in range(0, len(query), 64):
        _mark(query, start, masks)
        state = np.uint64(0xFFFFFFFFFFFFFFFF)
        for position in range(len(text)):
            both = state & masks[text[position]]
            partial = state + both
            total = partial + np.uint64(carries[position])
            carries[position] = (partial < both) | (total < partial)
            state = total | (state - both)
        common += popcount(~state)
        _unmark(query, start, masks)
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
def sort(numbers, lowest_bit):  # type: ignore[no-untyped-def]
    """Sort numbers, not negative, in place; those that are equal from `lowest_bit` on keep their order.

    A few bits at a time, the lowest first (Knuth 1998, 5.2.5): a third of the time of NumPy's sort on 64-bit numbers
    (measured on two AMD EPYC cores, 2026-11).
    """
    varying = np.int64(0)
    for number in numbers:
        varying |= number ^ numbers[0]
    source, target = numbers, np.empty_like(numbers)
    counts = np.empty(1 << _DIGIT, np.int64)
    for shift in range(lowest_bit, 63, _DIGIT):
        if (varying >> shift) & ((1 << _DIGIT) - 1) == 0:
            continue
        counts[:] = 0
        for number in source:
            counts[number >> shift & ((1 << _DIGIT) - 1)] += 1
        start = 0
        for digit in range(1 << _DIGIT):
            start, counts[digit] = start + counts[digit], start
        for number in source:
            digit = number >> shift & ((1 << _DIGIT) - 1)
            target[counts[digit]] = number
            counts[digit] += 1
        source, target = target, source
    if source is not numbers:
        numbers[:] = source


@compiled
def rarest_first(tokens, starts):  # type: ignore[no-untyped-def]
    """The tokens of each text sorted by their numbers, the highest, which is the rarest, in front (Shell 1959)."""
    ordered = tokens.copy()
    for number in range(len(starts) - 1):
        start, end = starts[number], starts[number + 1]
        gap = 1
        while 9 * gap < end - start:
            gap = 3 * gap + 1
        while gap > 0:
            for at in range(start + gap, end):
                token, place = ordered[at], at
                while place >= start + gap and ordered[place - gap] < token:
                    ordered[place] = ordered[place - gap]
                    place -= gap
                ordered[place] = token
            gap //= 3
    return ordered


@compiled
def probes_of(ordered, starts, by_length, limit):  # type: ignore[no-untyped-def]
    """For each text, the shortest first, and each of its rarest tokens, token << 32 | number; to be sorted.

    Texts of one length read the same parts of lists, so that these stay in the first-level cache.

    Returns: the probes, and for each number the text and the place of the token in it.
    """
    probes = np.empty(len(ordered), np.int64)
    places = np.empty((len(ordered), 2), np.int32)
    size = 0
    for number in by_length:
        start, end = starts[number], starts[number + 1]
        for at in range(start, start + _prefix(end - start, limit)):
            if at == start or ordered[at] != ordered[at - 1]:
                probes[size] = np.int64(ordered[at]) << 32 | size
                places[size, 0], places[size, 1] = number, at - start
                size += 1
    return probes[:size], places


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
def segment_of(postings, keys, tail, first_text):  # type: ignore[no-untyped-def]
    """The texts of the tail, from `first_text` of the pool on, as a segment; from sorted postings."""
    starts = np.zeros(keys + 1, np.int32)
    words = np.empty(3 * len(postings), np.uint64)
    for posting in postings:
        starts[(posting >> 32) + 1] += 1
    for key in range(keys):
        starts[key + 1] += starts[key]
    size = len(tail) // 3
    for place in range(len(postings)):
        key, number = postings[place] >> 32, postings[place] & 0xFFFF
        start, length = np.int64(starts[key]), starts[key + 1] - starts[key]
        at = 2 * start + place
        reach = np.uint64(_LONGEST - (postings[place] >> 16 & 0xFFFF))
        words[at] = tail[number]
        words[at + length] = tail[size + number]
        words[at + 2 * length] = (
            reach << np.uint64(48) | tail[2 * size + number] | np.uint64(first_text + number)
        )
    return Segment(starts, words)


@compiled
def _copy(source, start, end, target, into):  # type: ignore[no-untyped-def]
    for word in range(end - start):
        target[into + word] = source[start + word]


@compiled
def _merge(older, old_list, newer, new_list, target, into):  # type: ignore[no-untyped-def]
    """Write two lists as one, sorted by reach, the highest first."""
    (old_at, old_end), (new_at, new_end) = old_list, new_list
    old_size, new_size = (old_end - old_at) // 3, (new_end - new_at) // 3
    size = old_size + new_size
    old = new = 0
    for place in range(into, into + size):
        old_next = old < old_size and (
            new == new_size
            or older[old_at + 2 * old_size + old] >> np.uint64(48)
            >= newer[new_at + 2 * new_size + new] >> np.uint64(48)
        )
        for word in range(3):
            if old_next:
                target[place + word * size] = older[old_at + word * old_size + old]
            else:
                target[place + word * size] = newer[new_at + word * new_size + new]
        if old_next:
            old += 1
        else:
            new += 1


@compiled
def merged(older, newer):  # type: ignore[no-untyped-def]
    """Both segments as one; the newer has at least as many keys."""
    old_starts, old_words = older
    new_starts, new_words = newer
    keys, old_keys = len(new_starts) - 1, len(old_starts) - 1
    starts = np.zeros(keys + 1, np.int32)
    words = np.empty(len(old_words) + len(new_words), np.uint64)
    for key in range(keys):
        old_at = 3 * np.int64(old_starts[min(key, old_keys)])
        old_end = 3 * np.int64(old_starts[min(key + 1, old_keys)])
        new_at, new_end = 3 * np.int64(new_starts[key]), 3 * np.int64(new_starts[key + 1])
        into = 3 * np.int64(starts[key])
        if new_at == new_end:
            _copy(old_words, old_at, old_end, words, into)
        elif old_at == old_end:
            _copy(new_words, new_at, new_end, words, into)
        else:
            _merge(old_words, (old_at, old_end), new_words, (new_at, new_end), words, into)
        starts[key + 1] = (into + old_end - old_at + new_end - new_at) // 3
    return Segment(starts, words)


@compiled
def _places_near(words, begin, size, offsets, sketch, found):  # type: ignore[no-untyped-def]
    """Which of `size` sketches are near enough to a query's; writes their places into `found.places`.

    Their first words lie at `begin`, their second ones and their slacks, at bit 32, by `offsets` further on.
    Indices are unsigned, since LLVM cannot vectorise those that might be negative.

    Returns: how many there are.
    """
    first, second, allowed = sketch
    first_at = np.uint64(begin)
    second_at, slack_at = first_at + np.uint64(offsets[0]), first_at + np.uint64(offsets[1])
    near = found.near
    some = np.uint8(0)
    for i in range(np.uint64(size)):
        differing = popcount(words[first_at + i] ^ first) + popcount(words[second_at + i] ^ second)
        slack = np.uint16(words[slack_at + i] >> np.uint64(32))
        passes = np.uint8(np.uint16(differing) << np.uint16(6) <= slack + allowed)
        near[i] = passes
        some |= passes
    count = 0
    if some:
        for eight in range((size + 7) >> 3):
            if found.near_by_eight[eight]:
                for place in range(8 * eight, min(8 * eight + 8, size)):
                    found.places[count] = place
                    count += near[place]
    return count


@compiled
def near_in(segment, probes, places, chunk, settings, hits, near, found):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Append query << 32 | text for each pair that the sketches do not rule out to the first `found` of `near`.

    Sorted probes go through the lists in the order in which these lie in memory, and read each for all its queries.

    Returns: near, grown if need be, and its new size.
    """
    limit, common = settings.limit, settings.common
    starts, words = segment
    query_starts, query_firsts, query_seconds = chunk.texts.starts, chunk.first, chunk.second
    keys = len(starts) - 1
    for probe in probes:
        token, number = probe >> 32, probe & 0xFFFFFFFF
        query, position = places[number, 0], places[number, 1]
        m = query_starts[query + 1] - query_starts[query]
        if token < common:
            lowest = _key(token, _bucket(int(m * (1 - limit) / (1 + limit))), common)
            highest = _key(token, _bucket(_reach(m, position, limit)), common)
        else:
            lowest = highest = _key(token, 0, common)
        sketch = query_firsts[query], query_seconds[query], np.uint16(_slack(m, limit) + 1)
        bound = np.uint64(min(m, _LONGEST))
        for key in range(lowest, min(highest, keys - 1) + 1):
            size = np.int64(starts[key + 1]) - starts[key]
            if size == 0:
                continue
            start = 3 * np.int64(starts[key])
            postings = start + 2 * size
            for block in range(0, size, BLOCK):
                if words[postings + block] >> np.uint64(48) < bound:
                    break
                length = min(BLOCK, size - block)
                count = _places_near(words, start + block, length, (size, 2 * size), sketch, hits)
                if found + count > len(near):
                    near = np.concatenate((near, np.empty_like(near)))
                for hit in range(count):
                    posting = words[postings + block + hits.places[hit]]
                    near[found] = np.int64(query) << 32 | np.int64(posting & np.uint64(0xFFFFFFFF))
                    found += 1
    return near, found


@compiled
def _better(query, index, best, rule, tokens, starts, masks, carries):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """The better of `best`, an index and its F, and the text of this higher index; a short query is marked."""
    threshold, limit = rule
    start = starts[index]
    m, n = len(query), starts[index + 1] - start
    if abs(m - n) > limit * (m + n):
        return best
    text = tokens[start : start + n]
    common = _common_with_marked(text, masks) if m <= 64 else _common(query, text, masks, carries)
    score = _f_measure(common, m, n)
    if score >= threshold and score > best[1]:
        return np.int64(index), score
    return best


@compiled
def _best_of(near, at, number, query, best, rule, tokens, starts, masks, carries):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """The better of `best` and the texts near the query, which stand in `near` from `at` on.

    Returns: where those of the next query stand, and the best.
    """
    # the texts lie all over the memory; read together, the processor does not wait for each (a third of the time)
    ahead, read = at, np.int64(0)
    while ahead < len(near) and near[ahead] >> 32 == number:
        read += tokens[starts[near[ahead] & 0xFFFFFFFF]]
        ahead += 1
    if read < 0:  # never, but the compiler leaves out what is not used
        return ahead, best
    while at < len(near) and near[at] >> 32 == number:
        if at == 0 or near[at] != near[at - 1]:
            index = near[at] & 0xFFFFFFFF
            best = _better(query, index, best, rule, tokens, starts, masks, carries)
        at += 1
    return at, best


@compiled
def best_among(chunk, near, settings, pool, scratch, found):  # type: ignore[no-untyped-def]
    """Write the index of the nearest text of each query, and its F, into `found`.

    `near` holds query << 32 | text, sorted. Queries without a near text keep what they have.
    """
    _, nearest, scores = found
    tokens, starts = pool
    masks, carries = scratch.masks, scratch.carries
    rule = settings.threshold, settings.limit
    query_tokens, query_starts = chunk.texts
    at = 0
    while at < len(near):
        number = near[at] >> 32
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

    What is nearest among the older texts stands in `found`. `near` holds query << 32 | text, sorted, for younger ones
    among the first `sealed` of the `size` texts of the pool; the others are in the tail.

    Returns: the new size.
    """
    kept, nearest, scores = found
    tokens, starts = pool
    places = len(tail) // 3
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
        slack = _slack(m, settings.limit)
        sketch = query_firsts[number], query_seconds[number], np.uint16(slack + 1)
        for hit in range(
            _places_near(tail, 0, size - sealed, (places, 2 * places), sketch, scratch.hits)
        ):
            index = sealed + scratch.hits.places[hit]
            best = _better(query, index, best, rule, tokens, starts, masks, carries)
        if short:
            _unmark(query, 0, masks)
        nearest[number], scores[number] = best
        kept[number] = best[0] < 0 or (settings.keep_ties and best[1] == settings.threshold)
        if kept[number]:
            place = size - sealed
            tail[place] = query_firsts[number]
            tail[places + place] = query_seconds[number]
            tail[2 * places + place] = np.uint64(slack) << np.uint64(32)
            start = starts[size]
            for position in range(m):
                tokens[start + position] = query[position]
            size += 1
            starts[size] = start + m
    return size
