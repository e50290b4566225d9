"""The compiled inverted index: sketches, posting lists and what they leave of a pool; it compares no texts in full."""

import numpy as np

from selfinstruct.novelty.bounds import (
    LONGEST,
    differing,
    longest,
    prefix,
    share_of,
    shortest,
    tightened,
)
from selfinstruct.novelty.compiling import compiled, inlined, lowest_bit, near_eight, popcount
from selfinstruct.novelty.layout import Chunk, Probes, Segment

PLACES = 8
"""Lists of a common token, by its place among the rarest of a text; the last is for all further places."""

PADDING = 8
"""Words behind the last sketch, since eight are read at a time."""

_SIDES_UP_TO = 255
"""Longer texts have no room for how many tokens stand before and after one."""

_DIGIT = 8
"""Bits sorted by at a time. With 11 the sort takes a fifth longer: so many places are written to in turn that their
pages are looked up anew."""


@inlined
def list_of(token, place, common):  # type: ignore[no-untyped-def]
    """Number of the list that holds the texts with this token in this place."""
    if token < common:
        return token * PLACES + min(place, PLACES - 1)
    return token + common * (PLACES - 1)


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

    `lowest_bit` is an np.int64: numba would compile this anew for each literal.

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


@inlined
def _sides(tokens, start, end, token):  # type: ignore[no-untyped-def]
    """How many tokens commoner than the only one of its kind stand before and after it in a text."""
    before = after = 0
    position = start
    while tokens[position] != token:
        before += tokens[position] < token
        position += 1
    for later in range(position + 1, end):
        after += tokens[later] < token
    return before, after


@inlined
def _by_length(starts):  # type: ignore[no-untyped-def]
    """The texts' numbers in their lowest 32 bits, the shortest first."""
    size = len(starts) - 1
    numbers = np.empty(size, np.int64)
    for text in range(size):
        numbers[text] = (starts[text + 1] - starts[text]) << 32 | text
    sort(numbers, np.int64(32))
    return numbers


@compiled
def rare_tokens_of(texts, ordered, limit, common):  # type: ignore[no-untyped-def]
    """The rarest tokens of texts, which are given as they stand and the rarest first, and the lists these are in."""
    tokens, starts = texts
    entries = np.empty(len(ordered), np.int64)
    details = np.empty((len(ordered), 4), np.int32)
    size = 0
    for number in _by_length(starts):
        text = number & 0xFFFFFFFF
        start, end = starts[text], starts[text + 1]
        for at in range(start, start + prefix(end - start, limit)):
            token = ordered[at]
            if at == start or token != ordered[at - 1]:
                place = at - start
                before = after = min(end - at - 1, _SIDES_UP_TO)
                if end - start < _SIDES_UP_TO and (at + 1 == end or token != ordered[at + 1]):
                    before, after = _sides(tokens, start, end, token)
                entries[size] = np.int64(list_of(np.int64(token), place, common)) << 32 | size
                details[size, 0], details[size, 1] = text, place
                details[size, 2], details[size, 3] = before, after
                size += 1
    entries = entries[:size]
    sort(entries, np.int64(32))
    return Probes(entries, details)


@compiled
def prepared(texts, seen, limit):  # type: ignore[no-untyped-def]
    """Texts as a chunk, and what they are looked up by, where each token has one list."""
    tokens, starts = texts
    ordered = rarest_first(tokens, starts)
    first, second = sketches_of(texts, seen)
    return Chunk(texts, ordered, first, second), rare_tokens_of(texts, ordered, limit, np.int64(0))


@compiled
def segment_of(texts, settings, lists, tail, first_text):  # type: ignore[no-untyped-def]
    """The texts of the tail, from `first_text` of the pool on, as a segment of so many lists."""
    tokens, text_starts = texts
    ordered = rarest_first(tokens, text_starts)
    entries, details = rare_tokens_of(texts, ordered, settings.limit, settings.common)
    starts = np.zeros(lists + 1, np.int32)
    words = np.empty(3 * len(entries) + PADDING, np.uint64)
    for entry in entries:
        starts[(entry >> 32) + 1] += 1
    for number in range(lists):
        starts[number + 1] += starts[number]
    places = (len(tail) - PADDING) // 3
    for at in range(len(entries)):
        number = entries[at] >> 32
        start, size = np.int64(starts[number]), starts[number + 1] - starts[number]
        detail = details[entries[at] & 0xFFFFFFFF]
        text = np.int64(detail[0])
        length = np.int64(min(tail[2 * places + text], np.uint64(LONGEST)))
        sides = np.int64(detail[2]) << 8 | np.int64(detail[3])
        into = 2 * start + at
        words[into] = tail[text]
        words[into + size] = tail[places + text]
        words[into + 2 * size] = length << 48 | sides << 32 | (first_text + text)
    return Segment(starts, words)


@inlined
def _copy(source, start, end, target, into):  # type: ignore[no-untyped-def]
    for word in range(end - start):
        target[into + word] = source[start + word]


@inlined
def _merge(older, old_list, newer, new_list, target, into):  # type: ignore[no-untyped-def]
    """Write two lists as one, the shortest texts first."""
    (old_at, old_end), (new_at, new_end) = old_list, new_list
    old_size, new_size = (old_end - old_at) // 3, (new_end - new_at) // 3
    size = old_size + new_size
    old = new = 0
    for place in range(into, into + size):
        old_next = old < old_size and (
            new == new_size
            or older[old_at + 2 * old_size + old] >> np.uint64(48)
            <= newer[new_at + 2 * new_size + new] >> np.uint64(48)
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
    """Both segments as one; the newer has at least as many lists."""
    old_starts, old_words = older
    new_starts, new_words = newer
    lists, old_lists = len(new_starts) - 1, len(old_starts) - 1
    starts = np.zeros(lists + 1, np.int32)
    words = np.empty(len(old_words) + len(new_words) - PADDING, np.uint64)
    for number in range(lists):
        old_at = 3 * np.int64(old_starts[min(number, old_lists)])
        old_end = 3 * np.int64(old_starts[min(number + 1, old_lists)])
        new_at, new_end = 3 * np.int64(new_starts[number]), 3 * np.int64(new_starts[number + 1])
        into = 3 * np.int64(starts[number])
        if new_at == new_end:
            _copy(old_words, old_at, old_end, words, into)
        elif old_at == old_end:
            _copy(new_words, new_at, new_end, words, into)
        else:
            _merge(old_words, (old_at, old_end), new_words, (new_at, new_end), words, into)
        starts[number + 1] = (into + old_end - old_at + new_end - new_at) // 3
    return Segment(starts, words)


@inlined
def near_among(words, at, size, offset, sketch, bound):  # type: ignore[no-untyped-def]
    """Bits of those among at most 64 sketches that differ from a query's in at most `bound` bits.

    Their first words lie from `at` on, their second ones `offset` behind these.
    """
    mask = np.uint64(0)
    for eight in range(0, size, 8):
        mask |= near_eight(words, at + eight, offset, sketch, bound) << np.uint64(eight)
    return mask if size == 64 else mask & ((np.uint64(1) << np.uint64(size)) - np.uint64(1))


@inlined
def sketches_differ(words, at, offset, sketch):  # type: ignore[no-untyped-def]
    """Bits in which a sketch differs from a query's."""
    return popcount(words[at] ^ sketch[0]) + popcount(words[at + offset] ^ sketch[1])


@inlined
def pair_of(query, share, text):  # type: ignore[no-untyped-def]
    """A query and a text near it as one number: 23 bits, 8 and 32; sorted, a query's texts are in the order of what they can reach."""
    return query << 40 | share << 32 | text


@inlined
def _read(words, begin, size, lengths, query, limit, near, found):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Append to `near` what is near a query in a list, 64 sketches at a time.

    If the list's token is the rarest in common, the others are commoner, and stand before it in both texts or after it in both.
    So c is at most 1, the fewer before and the fewer after: `common`. At least m + n - 2 `common` tokens are then not in common, and
    at least as many as bits of the sketches differ. By a token that is not the rarest in common a pair may be ruled out or put too
    far behind; by the rarest it is found, and in its place.

    Returns: its new size.
    """
    number, m, sketch, before, after = query
    least, most = lengths
    postings = begin + 2 * size
    block = last = np.int64(0)
    while block < size and last <= most:
        length = min(64, size - block)
        last = np.int64(words[postings + block + length - 1] >> np.uint64(48))
        bound = differing(m, min(last, most), limit)
        mask = np.uint64(0)
        if last >= least:
            mask = near_among(words, begin + block, length, size, sketch, bound)
        while mask:
            at = begin + block + lowest_bit(mask)
            mask &= mask - np.uint64(1)
            posting = np.int64(words[at + 2 * size])
            n = posting >> 48 & 0xFFFF
            common = min(before, posting >> 40 & 0xFF) + min(after, posting >> 32 & 0xFF) + 1
            apart = sketches_differ(words, at, size, sketch)  # tokens not in common, at least
            if n < _SIDES_UP_TO:
                apart = max(apart, m + n - 2 * common)
            near[found] = pair_of(number, share_of(apart, m, n), posting & 0xFFFFFFFF)
            found += apart <= differing(m, n, limit)
        block += 64
    return found


@compiled
def near_in(segment, probes, chunk, settings, scores, near, found):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Append a `pair_of` each query and text that no bound rules out to the first `found` of `near`.

    Sorted probes go through the lists in the order in which these lie in memory, and read each for all its queries.
    `scores` holds F with the nearest that is known of each query, or 0: texts that cannot reach it are not looked for.

    Returns: near, grown if need be, and its new size.
    """
    common = settings.common
    starts, words = segment
    query_starts, query_firsts, query_seconds = chunk.texts.starts, chunk.first, chunk.second
    for probe in probes.entries:
        token = probe >> 32
        detail = probes.details[probe & 0xFFFFFFFF]
        number, place = np.int64(detail[0]), np.int64(detail[1])
        m = query_starts[number + 1] - query_starts[number]
        sketch = query_firsts[number], query_seconds[number]
        query = number, m, sketch, np.int64(detail[2]), np.int64(detail[3])
        limit = tightened(settings.limit, scores[number])
        most = longest(m, place, limit)
        first_list = list_of(token, 0, common)
        for other_place in range(PLACES if token < common else 1):
            at = first_list + other_place
            if at >= len(starts) - 1:
                break
            start, size = np.int64(starts[at]), np.int64(starts[at + 1]) - starts[at]
            if size == 0:
                continue
            least = shortest(m, other_place, limit)
            if least > most:
                break
            while found + size > len(near):
                near = np.concatenate((near, np.empty_like(near)))
            found = _read(words, 3 * start, size, (least, most), query, limit, near, found)
    return near, found
