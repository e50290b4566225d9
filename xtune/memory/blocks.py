"""Into what blocks attention is cut, for the kernels that cut it and for the formulas; attends nothing, and knows no torch."""

from dataclasses import dataclass

SCORE_BYTES = 2**26
"""Scores of a softcapped block that exist at one time, in float32: 64 MiB."""

FEWEST_QUERIES, MOST_QUERIES = 128, 4096
"""Queries of a block, however small or large the window and the scores."""

ALIGNED = 16
"""CUDA's fused kernels read masks and heads in pieces of 8 numbers of 16 bits; masks are cut at multiples of twice that."""


@dataclass(frozen=True)
class Block:
    """Queries of a sample that are attended together, and the keys that they see."""

    first: int
    """The first key; the last is that of the last query."""

    start: int
    """The first query."""

    end: int
    """One behind the last query."""


def aligned(count: int) -> int:
    """The next multiple of `ALIGNED`."""
    return -(-count // ALIGNED) * ALIGNED


def window_block(window: int) -> int:
    """Queries of a block of a sliding window: about a window's worth."""
    return aligned(min(MOST_QUERIES, max(FEWEST_QUERIES, window)))


def keys_before(window: int) -> int:
    """Keys before a block's own that it is given: those that its first query sees, filled up."""
    return aligned(window - 1)


def window_blocks(tokens: int, window: int, *, last: int | None = None) -> list[Block]:
    """The blocks of a sample of more tokens than the window; `last`: only so many at its end."""
    size, before = window_block(window), keys_before(window)
    return [
        Block(max(0, start - before), start, min(start + size, tokens))
        for start in _starts(tokens, size, last)
    ]


def capped_blocks(
    tokens: int, window: int | None, heads: int, *, last: int | None = None
) -> list[Block]:
    """The blocks of a sample whose scores are capped, so that there are `SCORE_BYTES` of them at one time.

    Args:
        tokens: Of a sample.
        window: Tokens that a query sees; None: all before it.
        heads: Query heads that are attended together, of all rows.
        last: Only so many at its end; None: all.
    """
    keys = tokens if window is None else min(tokens, 2 * window)
    room = SCORE_BYTES // (4 * heads * keys)
    size = max(FEWEST_QUERIES, min(tokens if window is None else window, room))
    return [
        Block(0 if window is None else max(0, start - window + 1), start, min(start + size, tokens))
        for start in _starts(tokens, size, last)
    ]


def _starts(tokens: int, size: int, last: int | None) -> range:
    starts = range(0, tokens, size)
    return starts if last is None else starts[-last:]
