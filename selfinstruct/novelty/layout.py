"""How the compiled search lays its data out in memory; it does nothing with it."""

from typing import NamedTuple

from selfinstruct.novelty.search import Bytes, Ints, Longs, Words


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
    """(keys + 1,) postings before the list of each key, and all of them."""

    words: Words
    """(3 * postings,) in each list all first words of sketches, all second words, and then for each posting reach << 48 |
    slack << 32 | index of the text in the pool. A list of one or two lies in one line of the cache."""


class Chunk(NamedTuple):
    """Texts that are offered together."""

    texts: Texts
    ordered: Ints
    """The tokens of each text, the rarest first."""

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


class Hits(NamedTuple):
    """Room for what is found among some sketches."""

    near: Bytes
    """(sketches,) 1 for each that is near."""

    near_by_eight: Words
    """The same memory, to pass over eight at a time."""

    places: Ints
    """(sketches,) the places of those that are near, in the first few."""


class Scratch(NamedTuple):
    """Room to work in; the first two are all zero between calls."""

    masks: Words
    """(vocabulary,) where a token stands among 64 tokens of the query."""

    seen: Ints
    """(vocabulary,) how often a token has been met in the text."""

    carries: Bytes
    """(tokens of the longest text,) the carry out of the 64 tokens before, for every token of a text."""

    hits: Hits
