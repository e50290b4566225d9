"""What two texts must have in common to reach the threshold: the bounds of the compiled search, which reads no list.

Texts of m and n tokens with c in common (an ordered part of both) reach it only if c >= (1 - limit) (m + n) / 2, where
`limit` is `search.limit_of`. All bounds follow from that, and are generous by the 1e-9 in the limit. They hold for any
threshold, so also for the score of a text already found, which another must reach to matter: `tightened`.

"Rarest first" is one fixed order of all tokens. Of the tokens in common take the rarest; if it is in place i of the one
text and in place j of the other (from 0), then c <= m - i and c <= n - j, since no rarer one is in common.
"""

import numpy as np

from selfinstruct.novelty.compiling import inlined

LONGEST = 65_535
"""Lengths are cut to this where only a bound is needed."""


@inlined
def f_measure(common, m, n):  # type: ignore[no-untyped-def]
    """As `xtune.text.f_measure`, operation by operation."""
    if common == 0:
        return 0.0
    precision, recall = common / n, common / m
    return 2 * precision * recall / (precision + recall)


@inlined
def tightened(limit, score):  # type: ignore[no-untyped-def]
    """The limit for texts as near as one that was found with F = `score`, or as the threshold asks if that is more.

    It is `search.limit_of` the larger of the two, as that falls when its argument rises. With a score of 0, nothing having
    been found, it is `limit` itself.
    """
    return min(limit, 1 - score + 1e-9)


@inlined
def half(limit):  # type: ignore[no-untyped-def]
    """Least c for each token of the two texts."""
    return max(1 - limit, 1e-9) / 2


@inlined
def prefix(size, limit):  # type: ignore[no-untyped-def]
    """Rarest tokens of a text among which the rarest common one must be, whatever the other text.

    From c >= half (m + n) and n >= c follows c >= m half / (1 - half), and i <= m - c.
    """
    return min(size, int(2 * limit * size / (1 + limit)) + 1)


@inlined
def longest(size, place, limit):  # type: ignore[no-untyped-def]
    """Longest text to reach the threshold with one of `size`, whose `place`-th rarest token is the rarest common one."""
    return np.int64(min((size - place) / half(limit) - size, float(LONGEST)))


@inlined
def shortest(size, place, limit):  # type: ignore[no-untyped-def]
    """Shortest text to reach the threshold with one of `size`, if the rarest common token is its own `place`-th rarest."""
    least = half(limit)
    return np.int64(min(np.ceil((least * size + place) / (1 - least)), float(LONGEST)))


@inlined
def differing(m, n, limit):  # type: ignore[no-untyped-def]
    """Most tokens, m + n - 2c, that are not in common; as many bits of the sketches may differ.

    128, all that a sketch has, for a length that may have been cut.
    """
    if n >= LONGEST:
        return np.int64(128)
    return np.int64(limit * (m + n))


@inlined
def share_of(apart, m, n):  # type: ignore[no-untyped-def]
    """256ths of the tokens of two texts that are not in common, if at least `apart` are not; rounded down, at most 255.

    As m + n - 2c >= apart, the pair reaches a threshold only if apart <= limit (m + n), hence only if its share is at most
    256 limit. 0, which rules nothing out, for a length that may have been cut.
    """
    if n >= LONGEST:
        return np.int64(0)
    return np.int64(min(np.uint64(256 * apart) // np.uint64(m + n), np.uint64(255)))
