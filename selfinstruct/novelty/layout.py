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

    A token has one list, or, if it is common, one for each place that it can have among the rarest of a text. The texts of
    a list are sorted by length, so that a query reads those lengths only that are possible.
    """

    starts: Ints
    """(lists + 1,) postings before each list, and all of them."""

    words: Words
    """(3 * postings + PADDING,) in each list all first words of sketches, all second ones, and then for each posting, from the
    highest bit: 16 for the length of the text, 8 and 8 for how many commoner tokens stand before and after this one (if the
    text has fewer than 255), 32 for its index in the pool."""


class Chunk(NamedTuple):
    """Texts that are offered together."""

    texts: Texts
    ordered: Ints
    """The tokens of each text, the rarest first."""

    first: Words
    second: Words


class Probes(NamedTuple):
    """The rarest tokens of some texts, each once: by these a text is looked up, and by these it is listed."""

    entries: Longs
    """List << 32 | row of `details`; sorted, so by list and then by the length of the text."""

    details: Ints
    """(entries, 4) the text, the place of the token among its rarest, and how many commoner tokens stand before and after it,
    which is at most all of them where it stands twice or the text is long."""


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
