"""The search for the nearest text, compiled by numba: the verdicts of `NumpyNearest`, many times faster.

Two filters stand before the longest common subsequence. The first is an inverted index of rare tokens (prefix
filtering, Chaudhuri et al. 2006): put the tokens of every text into one order, here the latest met first, since
those tend to be rare. Two texts that share c tokens share one among the first m - c + 1 of the one and the
first n - c + 1 of the other, so only these are indexed, each token's list split by the length of the texts.
The second is the sketch of `selfinstruct.novelty.pool`, held in the lists themselves, so that one vectorised
loop reads it. What is left is decided by bit-parallel arithmetic (Hyyro 2004), 64 tokens a word.
"""

from typing import Any, NamedTuple

import numpy as np

from selfinstruct.novelty.compiling import compiled, popcount
from selfinstruct.novelty.search import SKETCH_WORDS, Bytes, Found, Ints, Longs, Words, limit_of

_FIRST_BLOCK, _GROWTH, _LARGEST_BLOCK = 2, 4, 512
"""Places in the first and the largest block of a list; each has four times the places of the one before. Most lists
hold one or two texts; 512 sketches are 8 KiB, which the first-level cache holds."""


_GROUP = np.dtype(
    [("shortest", np.int32), ("longest", np.int32), ("next", np.int32), ("block", np.int32)]
)
_BLOCK = np.dtype([("start", np.int64), ("size", np.int32), ("fill", np.int32), ("next", np.int64)])


class Lists(NamedTuple):
    """For each token, the texts that have it among their rarest.

    A token leads to a chain of groups, one per octave of lengths, and a group to a chain of blocks, the newest
    first. Octaves: narrower groups hold fewer texts that are out of reach, but to fetch a block costs as much as
    to read fifty sketches.
    Links are 1 + an index, and 0 at the end, so that new room is zeros.
    """

    newest_group: Ints
    """(vocabulary,) link to a token's groups."""

    groups: Any
    """Records: the shortest and longest length that belong here, the token's next group, the newest block."""

    blocks: Any
    """Records: first place, places, places taken, the next block of the same group."""

    sketches: Words
    """(places * sketch words,) in each block all first words, then all second words."""

    texts: Ints
    """(places,) index of the text in the pool."""


class Texts(NamedTuple):
    """Texts as token numbers, one behind the other."""

    tokens: Ints
    starts: Longs
    """(texts + 1,) where each begins, and where the last ends."""


class Sizes(NamedTuple):
    """How much of the growing arrays is in use, each an array of one number that compiled code can change."""

    offered: Longs
    texts: Longs
    groups: Longs
    blocks: Longs
    places: Longs


class Scratch(NamedTuple):
    """Room to work in; the first two are all zero between calls."""

    masks: Words
    """(vocabulary,) where a token stands among 64 tokens of the query."""

    seen: Ints
    """(vocabulary,) how often a token has been met in the text."""

    carries: Bytes
    """(tokens of the longest text,) the carry out of the 64 tokens before, for every token of a text."""

    counts: Bytes
    """(places of a block,) bits in which two sketches differ."""

    groups: Ints
    """(tokens of the longest text,) for each of a text's rarest tokens, the group of its octave, or -1."""

    compared: Longs
    """(texts,) number of the last query that a text was compared with; they may share many rare tokens."""


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
def _sketch(text, seen, sketch):  # type: ignore[no-untyped-def]
    """Xor one bit for each token and occurrence into `sketch`, the bits that `search.mixed` draws."""
    sketch[:] = 0
    for token in text:
        seen[token] += 1
        z = np.uint64(token) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(seen[token] + 1) * np.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bit = (z ^ (z >> np.uint64(31))) % np.uint64(64 * len(sketch))
        sketch[bit >> np.uint64(6)] ^= np.uint64(1) << (bit & np.uint64(63))
    for token in text:
        seen[token] = 0


@compiled
def _prefix(m, limit):  # type: ignore[no-untyped-def]
    """Rarest tokens of a text of `m` that must hold one shared with any text within the limit.

    Sharing c >= (1 - limit) (m + n) / 2 tokens and c <= n give c >= m (1 - limit) / (1 + limit).
    """
    return min(m, int(2 * limit * m / (1 + limit)) + 1)


@compiled
def _differing(words, size, fill, sketch, counts):  # type: ignore[no-untyped-def]
    """Write the bits in which each sketch of a block differs from `sketch` into `counts`; returns the fewest."""
    first, second = sketch[0], sketch[1]
    fewest = np.int64(255)
    for i in range(fill):
        count = popcount(words[i] ^ first) + popcount(words[size + i] ^ second)
        counts[i] = count
        fewest = min(fewest, np.int64(count))
    return fewest


@compiled
def _nearest(query, ordered, sketch, number, settings, pool, lists, scratch):  # type: ignore[no-untyped-def] # noqa: C901, PLR0913 - compiled as one piece
    """Index and F of the first text with the highest F that reaches the threshold, or (-1, 0).

    Leaves the query's own groups in `scratch.groups`, or -1 where there is none yet.
    """
    threshold, limit = settings
    newest_group, groups, blocks, sketches, texts = lists
    m = len(query)
    best, best_score = np.int64(-1), 0.0
    for position in range(_prefix(m, limit)):
        scratch.groups[position] = -1
        token = ordered[position]
        if position > 0 and token == ordered[position - 1]:
            continue
        link = newest_group[token]
        while link > 0:
            group = groups[link - 1]
            if group.shortest <= m <= group.longest:
                scratch.groups[position] = link - 1
            link = group.next
            # the length of the group that is closest to the query's, and what the sketch allows at most
            closest = min(max(m, group.shortest), group.longest)
            allowed = np.int64(limit * (m + group.longest))
            # if this is the rarest token they share, they share no more than what follows it
            following = (1 - limit) * (m + group.shortest) / 2
            if abs(m - closest) > limit * (m + closest) or m - position < following:
                continue
            block_link = group.block
            while block_link > 0:
                block = blocks[block_link - 1]
                block_link = block.next
                words = sketches[SKETCH_WORDS * block.start :]
                if _differing(words, block.size, block.fill, sketch, scratch.counts) > allowed:
                    continue
                for i in range(block.fill):
                    if scratch.counts[i] > allowed:
                        continue
                    index = texts[block.start + i]
                    text = pool.tokens[pool.starts[index] : pool.starts[index + 1]]
                    n = len(text)
                    if scratch.counts[i] > limit * (m + n) or scratch.compared[index] == number:
                        continue
                    scratch.compared[index] = number
                    score = _f_measure(_common(query, text, scratch.masks, scratch.carries), m, n)
                    if score >= threshold and (
                        score > best_score or (score == best_score and index < best)
                    ):
                        best, best_score = index, score
    return best, best_score


@compiled
def _new_block_size(group, lists):  # type: ignore[no-untyped-def]
    """Places of the block that a group, -1 for a new one, needs to take one more text; 0 if it needs none."""
    if group < 0:
        return _FIRST_BLOCK
    block = lists.blocks[lists.groups[group].block - 1]
    return min(_GROWTH * block.size, _LARGEST_BLOCK) if block.fill == block.size else 0


@compiled
def _list(index, sketch, token, m, group, lists, sizes):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Put a text into the list of a token and its octave, `group` or a new one."""
    size = _new_block_size(group, lists)
    if group < 0:
        group = sizes.groups[0]
        sizes.groups[0] += 1
        shortest = 1
        while 2 * shortest <= m:
            shortest *= 2
        lists.groups[group].shortest = shortest
        lists.groups[group].longest = 2 * shortest - 1
        lists.groups[group].next = lists.newest_group[token]
        lists.newest_group[token] = group + 1
    if size > 0:
        block = lists.blocks[sizes.blocks[0]]
        sizes.blocks[0] += 1
        block.start = sizes.places[0]
        block.size = size
        block.next = lists.groups[group].block
        lists.groups[group].block = sizes.blocks[0]
        sizes.places[0] += size
    block = lists.blocks[lists.groups[group].block - 1]
    lists.texts[block.start + block.fill] = index
    for word in range(SKETCH_WORDS):
        lists.sketches[SKETCH_WORDS * block.start + word * block.size + block.fill] = sketch[word]
    block.fill += 1


@compiled
def _keep(query, ordered, sketch, limit, pool, lists, sizes, groups):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Add a text to the pool; False, and nothing added, if the lists have no room for it."""
    m = len(query)
    needed = 0
    for position in range(_prefix(m, limit)):
        if position == 0 or ordered[position] != ordered[position - 1]:
            needed += _new_block_size(groups[position], lists)
    if sizes.places[0] + needed > len(lists.texts):
        return False
    index = sizes.texts[0]
    for position in range(_prefix(m, limit)):
        if position == 0 or ordered[position] != ordered[position - 1]:
            _list(index, sketch, ordered[position], m, groups[position], lists, sizes)
    start = pool.starts[index]
    for position in range(m):
        pool.tokens[start + position] = query[position]
    pool.starts[index + 1] = start + m
    sizes.texts[0] += 1
    return True


@compiled
def _offer(batch, ordered, number, settings, pool, lists, sizes, scratch, found):  # type: ignore[no-untyped-def] # noqa: PLR0913
    """Offer the texts of the batch from `number` on; returns the first for which the lists have no room."""
    threshold, limit, keep_ties = settings
    kept, nearest, scores = found
    sketch = np.zeros(SKETCH_WORDS, np.uint64)
    while number < len(batch.starts) - 1:
        start, end = batch.starts[number], batch.starts[number + 1]
        query, by_rarity = batch.tokens[start:end], ordered[start:end]
        sizes.offered[0] += 1
        _sketch(query, scratch.seen, sketch)
        index, score = _nearest(
            query, by_rarity, sketch, sizes.offered[0], (threshold, limit), pool, lists, scratch
        )
        keep = index < 0 or (keep_ties and score == threshold)
        if keep and not _keep(query, by_rarity, sketch, limit, pool, lists, sizes, scratch.groups):
            break
        kept[number], nearest[number], scores[number] = keep, index, score
        number += 1
    return number


class CompiledNearest:
    """The pool's arrays, grown from outside the compiled code."""

    def __init__(self, threshold: float, keep_ties: bool) -> None:
        self._settings = (threshold, limit_of(threshold), keep_ties)
        ints = np.zeros(0, np.int32)
        self._lists = Lists(
            newest_group=ints,
            groups=np.zeros(0, _GROUP),
            blocks=np.zeros(0, _BLOCK),
            sketches=np.zeros(0, np.uint64),
            texts=ints,
        )
        self._texts = Texts(tokens=ints, starts=np.zeros(1, np.int64))
        self._sizes = Sizes(*(np.zeros(1, np.int64) for _ in Sizes._fields))
        self._scratch = Scratch(
            masks=np.zeros(0, np.uint64),
            seen=ints,
            carries=np.zeros(0, np.uint8),
            counts=np.zeros(_LARGEST_BLOCK, np.uint8),
            groups=ints,
            compared=np.zeros(0, np.int64),
        )

    def __len__(self) -> int:
        return int(self._sizes.texts[0])

    def offer(self, tokens: Ints, lengths: Longs, vocabulary: int) -> Found:
        """Offer texts one after the other; see `Nearest.offer`."""
        size = len(lengths)
        starts = np.zeros(size + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        batch = Texts(tokens=tokens, starts=starts)
        ordered = _latest_first(tokens, lengths)
        found = (np.zeros(size, np.bool_), np.zeros(size, np.int64), np.zeros(size, np.float64))
        self._grow(tokens, lengths, vocabulary)
        number = 0
        while True:
            number = _offer(
                batch,
                ordered,
                number,
                self._settings,
                self._texts,
                self._lists,
                self._sizes,
                self._scratch,
                found,
            )
            if number == size:
                return found
            places = len(self._lists.texts) + _LARGEST_BLOCK
            self._lists = self._lists._replace(
                sketches=_room(self._lists.sketches, SKETCH_WORDS * places),
                texts=_room(self._lists.texts, places),
            )

    def _grow(self, tokens: Ints, lengths: Longs, vocabulary: int) -> None:
        """Make room for a batch all of whose texts are kept, but for the places of the lists."""
        lists, texts, sizes = self._lists, self._texts, self._sizes
        groups = int(sizes.groups[0]) + len(tokens)
        blocks = int(sizes.blocks[0]) + len(tokens)
        self._lists = lists._replace(
            newest_group=_room(lists.newest_group, vocabulary),
            groups=_room(lists.groups, groups),
            blocks=_room(lists.blocks, blocks),
        )
        used = int(texts.starts[len(self)])
        self._texts = Texts(
            tokens=_room(texts.tokens, used + len(tokens)),
            starts=_room(texts.starts, len(self) + len(lengths) + 1),
        )
        scratch = self._scratch
        self._scratch = scratch._replace(
            masks=_room(scratch.masks, vocabulary),
            seen=_room(scratch.seen, vocabulary),
            carries=_room(scratch.carries, int(lengths.max())),
            groups=_room(scratch.groups, int(lengths.max())),
            compared=_room(scratch.compared, len(self) + len(lengths)),
        )


def _latest_first(tokens: Ints, lengths: Longs) -> Ints:
    """The tokens of each text sorted by their numbers, the highest, met last, in front."""
    numbers = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths) << 32
    return (
        np.int64(0x7FFFFFFF) - np.sort(numbers + (np.int64(0x7FFFFFFF) - tokens)) % (1 << 32)
    ).astype(np.int32)


def _room(array: Any, size: int) -> Any:
    """The array, at least half as long again if it is shorter than `size`; new room is zeros."""
    length = array.shape[-1]
    if size <= length:
        return array
    larger = np.zeros((*array.shape[:-1], max(size, length + length // 2)), array.dtype)
    larger[..., :length] = array
    return larger
