"""Cuts texts into morphemes as MeCab does, compiled: the cheapest path through all words that stand in a text (Viterbi 1967).

The rules of MeCab 0.996 in its own order, so that of two paths of one cost the same one is taken. MeCab spends its time
on going from word to word by pointers and on looking the cost of each pair up, all over a table of megabytes. Here what ends at a
place is gathered once; of those with the same right context only the cheapest can be on the path; the cheapest before a
left context is looked up once for all words with it.
"""

from typing import NamedTuple

from selfinstruct.novelty.compiling import compiled, inlined
from selfinstruct.novelty.pointers import (
    byte_at,
    int_at,
    set_byte,
    set_int,
    short_at,
    word_at,
)

_END = 10
"""Stands behind each token, as in `words`."""

_BLANK = 0x20
_MOST_GROUPED = 24
"""Characters behind the first of an unknown word; MeCab's own default."""

_BEYOND = 2**31 - 1
"""What no path costs."""

_ENTRY, _LEFT, _RIGHT, _COST = 8, 0, 1, 3
"""Numbers of an entry of the dictionary, and which of them are the contexts and the cost."""

FOUND = 4
"""Numbers of a word found: its contexts, cost, and where it stops."""

NODE, _NEXT, _BEFORE, _TOTAL, _CONTEXT, _BEGIN, _STOP = 6, 0, 1, 2, 3, 4, 5
"""Numbers of a node: the next that ends there, the one before on the cheapest path, what that costs, its right
context, and where the word begins and stops."""

ENDING = 3
"""Numbers of what ends at a place: node, right context, and cost."""


class Tables(NamedTuple):
    """Addresses of the arrays of a `morphemes.Lexicon`, and the number of its right contexts."""

    units: int
    entries: int
    unknown: int
    unknown_of: int
    costs: int
    kinds: int
    rights: int


class Room(NamedTuple):
    """Addresses of what is worked in, int32 all of it, and for how many nodes and words found it is."""

    nodes: int
    found: int
    ends: int
    path: int
    heads: int
    """(bytes of the longest text + 1,) the first node that ends there, or -1."""

    seen: int
    """(right contexts, 2) in which turn this one was gathered last, and the cost."""

    cheapest: int
    """(left contexts, 3) in which turn the node before this one was looked for last, the node and its cost."""

    most: int


@inlined
def _width_of(lead):  # type: ignore[no-untyped-def]
    """Bytes of a character in UTF-8, by its first."""
    return 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)


@inlined
def _code_at(text, at, width):  # type: ignore[no-untyped-def]
    """The code point of a character of so many bytes; 0 beyond the Basic Multilingual Plane, as for MeCab."""
    first = byte_at(text, at)
    if width == 1:
        return first
    if width == 2:
        return (first & 0x1F) << 6 | (byte_at(text, at + 1) & 0x3F)
    if width == 3:
        later = (byte_at(text, at + 1) & 0x3F) << 6 | (byte_at(text, at + 2) & 0x3F)
        return (first & 0xF) << 12 | later
    return 0


@inlined
def _kind_at(text, at, kinds):  # type: ignore[no-untyped-def]
    """What kind of character stands there, and its bytes."""
    width = _width_of(byte_at(text, at))
    return int_at(kinds, _code_at(text, at, width)), width


@inlined
def _same_kind(a, b):  # type: ignore[no-untyped-def]
    return a & b & 0x3FFFF != 0


@inlined
def _add(entries, first, count, stop, found, size):  # type: ignore[no-untyped-def]
    """Append what a word can be to those found."""
    for entry in range(_ENTRY * first, _ENTRY * (first + count), _ENTRY):
        row = FOUND * size
        set_int(found, row, word_at(entries, entry + _LEFT))
        set_int(found, row + 1, word_at(entries, entry + _RIGHT))
        set_int(found, row + 2, short_at(entries, entry + _COST))
        set_int(found, row + 3, stop)
        size += 1
    return size


@inlined
def _known(text, begin, end, lexicon, room):  # type: ignore[no-untyped-def]
    """Find all words that begin at a place, the shortest first.

    Returns: how many entries these have; more than there is room for if so.
    """
    units = lexicon.units
    size, at, base = 0, begin, int_at(units, 0)
    while True:
        value = -int_at(units, 2 * base) - 1
        if value >= 0 and int_at(units, 2 * base + 1) == base:
            count = value & 0xFF
            if size + count > room.most:
                return size + count
            size = _add(lexicon.entries, value >> 8, count, at, room.found, size)
        if at == end:
            return size
        unit = base + byte_at(text, at) + 1
        if int_at(units, 2 * unit + 1) != base:
            return size
        base = int_at(units, 2 * unit)
        at += 1


@inlined
def _group(text, at, end, kind, kinds):  # type: ignore[no-untyped-def]
    """Where characters of a kind, each of one with that before, stop, and how many these are."""
    count = 0
    while at != end:
        other, width = _kind_at(text, at, kinds)
        if not _same_kind(kind, other):
            break
        kind = other
        at += width
        count += 1
    return at, count


@inlined
def _unknown(text, begin, end, lexicon, found, size):  # type: ignore[no-untyped-def]
    """Add the unknown words that begin at a place: a run of one kind of characters, and the first few of these."""
    kind, width = _kind_at(text, begin, lexicon.kinds)
    named = kind >> 18 & 0xFF
    first, count = int_at(lexicon.unknown_of, 2 * named), int_at(lexicon.unknown_of, 2 * named + 1)
    stop, group, left = begin + width, -1, kind >> 26 & 0xF
    if kind >> 30 & 1:
        group, more = _group(text, stop, end, kind, lexicon.kinds)
        if more <= _MOST_GROUPED:
            size = _add(lexicon.unknown, first, count, group, found, size)
    while left > 0 and stop != group:
        size = _add(lexicon.unknown, first, count, stop, found, size)
        left -= 1
        if stop == end:
            break
        other, wide = _kind_at(text, stop, lexicon.kinds)
        if not _same_kind(kind, other):
            break
        stop += wide
    if size == 0:
        size = _add(lexicon.unknown, first, count, stop, found, size)
    return size


@inlined
def _words_at(text, at, end, lexicon, room):  # type: ignore[no-untyped-def]
    """Find what can begin at a place, in MeCab's order; more than there is room for if so.

    Returns: how many entries.
    """
    size = _known(text, at, end, lexicon, room)
    kind, _ = _kind_at(text, at, lexicon.kinds)
    if size == 0 or kind >> 31 & 1:
        named = kind >> 18 & 0xFF
        most = size + 17 * int_at(lexicon.unknown_of, 2 * named + 1)
        if most > room.most:
            return most
        size = _unknown(text, at, end, lexicon, room.found, size)
    return size


@inlined
def _gathered(node, turn, room):  # type: ignore[no-untyped-def]
    """Write the nodes that end at a place into `room.ends`, in their order, of each right context the first of the cheapest.

    Returns: how many these are; of one context there are several where one behind is cheaper.
    """
    nodes, ends, seen = room.nodes, room.ends, room.seen
    size = 0
    while node >= 0:
        context, cost = int_at(nodes, node + _CONTEXT), int_at(nodes, node + _TOTAL)
        if int_at(seen, 2 * context) != turn or cost < int_at(seen, 2 * context + 1):
            set_int(seen, 2 * context, turn)
            set_int(seen, 2 * context + 1, cost)
            row = ENDING * size
            set_int(ends, row, node)
            set_int(ends, row + 1, context)
            set_int(ends, row + 2, cost)
            size += 1
        node = int_at(nodes, node + _NEXT)
    return size


@inlined
def _cheapest(left, size, lexicon, ends):  # type: ignore[no-untyped-def]
    """The first of the cheapest nodes before a left context, and what it costs up to there."""
    costs = lexicon.costs + 2 * lexicon.rights * left
    best, best_cost = 0, _BEYOND
    for row in range(0, ENDING * size, ENDING):
        cost = int_at(ends, row + 2) + short_at(costs, int_at(ends, row + 1))
        if cost < best_cost:
            best, best_cost = row, cost
    return int_at(ends, best), best_cost


@inlined
def _connected(begin, origin, size, ending, last, turn, lexicon, room):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Make nodes of the words found, which begin at a place, in MeCab's order: the last found is the first."""
    nodes, found, heads, cheapest = room.nodes, room.found, room.heads, room.cheapest
    for row in range(FOUND * (size - 1), -1, -FOUND):
        left, stop = int_at(found, row), int_at(found, row + 3)
        if int_at(cheapest, 3 * left) != turn:
            before, cost = _cheapest(left, ending, lexicon, room.ends)
            set_int(cheapest, 3 * left, turn)
            set_int(cheapest, 3 * left + 1, before)
            set_int(cheapest, 3 * left + 2, cost)
        set_int(nodes, last + _NEXT, int_at(heads, stop - origin))
        set_int(nodes, last + _BEFORE, int_at(cheapest, 3 * left + 1))
        set_int(nodes, last + _TOTAL, int_at(cheapest, 3 * left + 2) + int_at(found, row + 2))
        set_int(nodes, last + _CONTEXT, int_at(found, row + 1))
        set_int(nodes, last + _BEGIN, begin)
        set_int(nodes, last + _STOP, stop)
        set_int(heads, stop - origin, last)
        last += NODE
    return last


@inlined
def _path(text, start, end, turn, lexicon, room):  # type: ignore[no-untyped-def]
    """Find the cheapest path through a text.

    Returns: its last node, 0 for none and -1 where there was no room; and the next turn.
    """
    for place in range(end - start + 1):
        set_int(room.heads, place, -1)
    for what, number in ((_NEXT, -1), (_TOTAL, 0), (_CONTEXT, 0)):
        set_int(room.nodes, what, number)
    set_int(room.heads, 0, 0)
    last, reached, place = NODE, 0, 0
    while place < end - start:
        head = int_at(room.heads, place)
        if head >= 0:
            reached = place
            begin, _ = _group(
                text, start + place, end, int_at(lexicon.kinds, _BLANK), lexicon.kinds
            )
            if begin != end:
                size = _words_at(text, begin, end, lexicon, room)
                if last // NODE + size > room.most:
                    return -1, turn
                turn += 1
                ending = _gathered(head, turn, room)
                last = _connected(begin, start, size, ending, last, turn, lexicon, room)
        place += 1
    if int_at(room.heads, end - start) >= 0:
        reached = end - start
    turn += 1
    ending = _gathered(int_at(room.heads, reached), turn, room)
    node, _ = _cheapest(0, ending, lexicon, room.ends)
    return node, turn


@inlined
def _written(text, begin, stop, spaces, tokens, into):  # type: ignore[no-untyped-def]
    """Write a word as tokens, none with white space in it, as MeCab's output is split there.

    Returns: where the next goes, and how many tokens these are.
    """
    count, at, within = 0, begin, 0
    while at < stop:
        width = _width_of(byte_at(text, at))
        if byte_at(spaces, _code_at(text, at, width)):
            for _ in range(within):
                set_byte(tokens, into, _END)
                into += 1
                count += 1
            within = 0
        else:
            for byte in range(width):
                set_byte(tokens, into + byte, byte_at(text, at + byte))
            into += width
            within = 1
        at += width
    for _ in range(within):
        set_byte(tokens, into, _END)
        into += 1
        count += 1
    return into, count


@compiled
def cut_morphemes(text, sizes, texts, lexicon, room, spaces, tokens, counts):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Write the tokens of texts in UTF-8, a line feed behind each, and how many each text has. All arrays are given by address.

    Args:
        text: (bytes,) the texts in UTF-8, one behind the other.
        sizes: (texts,) int32, characters of each.
        texts: How many these are.
        lexicon: The dictionary, as `Tables`.
        room: Room, `seen` and `cheapest` all zero.
        spaces: (65,536,) bytes, whether a character is white space.
        tokens: Room for twice as many bytes.
        counts: (texts,) int32, room.

    Returns: bytes written; -1 where `room` is too small.
    """
    start = into = turn = 0
    for number in range(texts):
        end = start
        for _ in range(int_at(sizes, number)):
            end += _width_of(byte_at(text, end))
        node, turn = _path(text, start, end, turn, lexicon, room)
        if node < 0:
            return -1
        steps = count = 0
        while node > 0:
            set_int(room.path, steps, node)
            node = int_at(room.nodes, node + _BEFORE)
            steps += 1
        while steps > 0:
            steps -= 1
            node = int_at(room.path, steps)
            begin, stop = int_at(room.nodes, node + _BEGIN), int_at(room.nodes, node + _STOP)
            into, more = _written(text, begin, stop, spaces, tokens, into)
            count += more
        set_int(counts, number, count)
        start = end
    return into
