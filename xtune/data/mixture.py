"""Which source the next row comes from, when sources have weights: exact at every row, and seeded only in which row it is."""

import math
from collections.abc import Iterator
from collections.abc import Sequence as Many

import numpy as np
import numpy.typing as npt

from xtune.data.packing import Indices

_NEAR = 1e-9
"""Below it two quotas are the same number: sums of a million shares in doubles are off by less."""


class Mixture:
    """Draws sources so that after every draw each source's count is within one of its quota.

    The share of a source goes in a straight line from its first value to its last over `total` draws,
    and stays there. Its quota is the sum of its shares so far. The k-th row of a source may come once the
    quota is above k - 1, and must have come when the quota reaches k; taking what is most urgent
    among what may come keeps all of these (Steiner and Yeomans 1993, "Level schedules for mixed-model,
    just-in-time processes"; earliest deadline first).
    """

    def __init__(self, shares: Many[tuple[float, float]], total: int) -> None:
        """Begin at the first draw.

        Args:
            shares: First and last weight of every source; each side is divided by its sum.
            total: Draws of the whole training.
        """
        sums = [math.fsum(share[side] for share in shares) for side in (0, 1)]
        self._shares = [(first / sums[0], last / sums[1]) for first, last in shares]
        self.total = max(total, 1)
        self.draws = 0
        self.counts = [0] * len(shares)
        self._next = [self._times(source) for source in range(len(shares))]

    def resume(self, counts: Many[int]) -> None:
        """Stand where so many rows of each source were drawn."""
        self.counts = list(counts)
        self.draws = sum(counts)
        self._next = [self._times(source) for source in range(len(counts))]

    def quota(self, source: int, draws: int) -> float:
        """How many rows a source should have given after so many draws."""
        first, last = self._shares[source]
        inside = min(draws, self.total)
        quota = first * inside + (last - first) * inside * inside / (2 * self.total)
        return quota + last * (draws - inside)

    def draw(self) -> int:
        """The source of the next row."""
        self.draws += 1
        may = [source for source, (release, _) in enumerate(self._next) if release <= self.draws]
        chosen = min(
            may or range(len(self._next)),
            key=lambda source: (self._next[source][1], self._next[source][0]),
        )
        self.counts[chosen] += 1
        self._next[chosen] = self._times(chosen)
        return chosen

    def _times(self, source: int) -> tuple[float, float]:
        """The draws at which the source's next row may come and must have come."""
        done = self.counts[source]
        release = self._reached(source, done)
        while release < math.inf and self.quota(source, int(release)) <= done + _NEAR:
            ended = release >= self.total and self._shares[source][1] <= _NEAR
            release = math.inf if ended else release + 1
        return release, self._reached(source, done + 1)

    def _reached(self, source: int, amount: float) -> float:
        """The first draw after which the quota is at least `amount`; infinite if it never is."""
        guess = self._root(source, amount)
        if guess == math.inf:
            return guess
        draw = max(0, math.ceil(guess - 1))
        while self.quota(source, draw) < amount - _NEAR:
            draw += 1
        return float(draw)

    def _root(self, source: int, amount: float) -> float:
        first, last = self._shares[source]
        if amount <= self.quota(source, self.total):
            slope = (last - first) / (2 * self.total)
            root = math.sqrt(max(first * first + 4 * slope * amount, 0.0))
            return 2 * amount / (first + root) if first + root > 0 else 0.0
        if last <= _NEAR:
            return math.inf
        return self.total + (amount - self.quota(source, self.total)) / last


class Draws:
    """Which row of its source each draw takes: every row once, in an order of the seed, then again in another."""

    def __init__(self, members: Many[Indices], seed: int) -> None:
        """Begin at each source's first row.

        Args:
            members: The sequences of each source.
            seed: Decides the orders.
        """
        self._members = members
        self._seed = seed

    def rows(self, sources: npt.NDArray[np.int64], counts: Many[int]) -> Indices:
        """The sequence of each draw, (draws,).

        Args:
            sources: Source of each draw, (draws,).
            counts: How many each source gave before.
        """
        rows = np.empty(len(sources), np.int64)
        for source, members in enumerate(self._members):
            places = np.flatnonzero(sources == source)
            rows[places] = self._from(source, members, counts[source], len(places))
        return rows

    def _from(self, source: int, members: Indices, first: int, count: int) -> Indices:
        parts = [np.zeros(0, np.int64)]
        for start, stop, round_ in _rounds(first, first + count, len(members)):
            order = np.random.default_rng((self._seed, 2, source, round_)).permutation(len(members))
            parts.append(members[order[start:stop]])
        return np.concatenate(parts)


def _rounds(first: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The range from `first` to `stop` as parts of rounds of `size`: start, stop, round."""
    while first < stop:
        round_, start = divmod(first, size)
        end = min(size, start + stop - first)
        yield start, end, round_
        first += end - start
