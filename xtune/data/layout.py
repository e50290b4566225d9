"""Decides which sequences share a row and which rows a step, from lengths and the seed alone; it never sees a token."""

import math
from collections.abc import Sequence as Many
from typing import Protocol

import numpy as np

from xtune.data.mixture import Draws, Mixture
from xtune.data.packing import Groups, Indices, best_fit, cut, length_groups, pack

_STEPS_MEASURED = 1000
"""Steps of an epoch whose padding is measured: the share is known to a per mille, within a second."""

_WINDOW_DRAWS = (200, 20_000)
"""Fewest and most draws of a mixture that are packed together; a twentieth of the run between them, so that
weights that change over the run still do. At 20,000 packs are 99.9 % full."""


class Layout(Protocol):
    """The rows of every step of a training, with random access."""

    lengths: Indices
    """Tokens of every row, (rows,): a sequence, or a pack of them."""

    steps_per_epoch: int
    """Optimizer steps in one pass over the data; the last may be smaller than the others."""

    rows: int
    """Rows of an epoch."""

    def step(self, index: int) -> Indices:
        """The rows of step `index`, counted from 0 over the whole training."""

    def members(self, row: int) -> Indices:
        """The sequences in a row."""


class EpochLayout:
    """Every sequence once an epoch, in another order each."""

    def __init__(
        self, lengths: Indices, *, batch_size: int, capacity: int | None, seed: int
    ) -> None:
        """Pack, if a capacity is given.

        Args:
            lengths: Tokens of every sequence.
            batch_size: Rows of a step.
            capacity: Tokens in a pack; None for a sequence in each row.
            seed: Decides packs and order.

        Raises:
            ValueError: There are no sequences, or one does not fit into a pack.
        """
        _check(lengths, capacity)
        self._packs = pack(lengths, capacity, _generator(seed, 0)) if capacity else None
        self.lengths = lengths if self._packs is None else self._packs.sums(lengths)
        self.rows = len(self.lengths)
        self.steps_per_epoch = math.ceil(self.rows / batch_size)
        self.batch_size = batch_size
        self.seed = seed
        self._epoch: tuple[int, Groups] | None = None

    def step(self, index: int) -> Indices:
        """The rows of a step."""
        epoch, position = divmod(index, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._order(_generator(self.seed, 1, epoch)))
        return self._epoch[1][position]

    def members(self, row: int) -> Indices:
        """The sequences in a row."""
        return np.array([row]) if self._packs is None else self._packs[row]

    def _order(self, generator: np.random.Generator) -> Groups:
        if self._packs is None:
            return length_groups(self.lengths, self.batch_size, generator)
        return cut(generator.permutation(self.rows), self.batch_size)


class MixedLayout:
    """Rows of several sources by their weights: the order of draws, in packs where a capacity is given.

    Steps follow the draws, so that the weights hold at every step; rows of similar length meet in the
    micro-batches of a step alone.
    """

    def __init__(
        self,
        lengths: Indices,
        epoch: EpochLayout,
        *,
        members: Many[Indices],
        shares: Many[tuple[float, float]],
        steps: int,
        capacity: int | None,
    ) -> None:
        """Draw the whole training.

        Args:
            lengths: Tokens of every sequence.
            epoch: The same sequences without weights: what an epoch and a step are.
            members: The sequences of each source.
            shares: First and last weight of each source.
            steps: Optimizer steps of the training.
            capacity: Tokens in a pack; None for a sequence in each row.
        """
        self.steps_per_epoch, self.rows = epoch.steps_per_epoch, epoch.rows
        self._batch_size, seed = epoch.batch_size, epoch.seed
        wanted = steps * self._batch_size
        means = [lengths[rows].mean() for rows in members]
        draws = wanted if capacity is None else draws_for(wanted * capacity, shares, means)
        self._mixture = Mixture(shares, draws)
        self._rows_of = Draws(members, seed)
        if capacity is None:
            order = self._draw(wanted)
            self._packs = cut(order, 1)
        else:
            self._packs = self._packed(lengths, wanted, capacity, seed)
        self.lengths = self._packs.sums(lengths)
        self.drawn = self._packs.rows
        """The sequence of every draw, in order."""

    def step(self, index: int) -> Indices:
        """The rows of a step."""
        return np.arange(index * self._batch_size, (index + 1) * self._batch_size)

    def members(self, row: int) -> Indices:
        """The sequences in a row."""
        return self._packs[row]

    def _draw(self, count: int) -> Indices:
        before = list(self._mixture.counts)
        sources = np.fromiter((self._mixture.draw() for _ in range(count)), np.int64, count)
        return self._rows_of.rows(sources, before)

    def _packed(self, lengths: Indices, wanted: int, capacity: int, seed: int) -> Groups:
        fewest, most = _WINDOW_DRAWS
        window = max(fewest, min(most, self._mixture.total // 20))
        parts: list[Groups] = []
        packs = 0
        while packs < wanted:
            drawn = self._draw(window)
            groups = best_fit(np.arange(window), lengths[drawn], capacity)
            order = _generator(seed, 3, len(parts)).permutation(len(groups))[: wanted - packs]
            chosen = groups.take(order)
            parts.append(Groups(drawn[chosen.rows], chosen.starts))
            packs += len(order)
        return Groups.join(parts)


def efficiency(layout: Layout, steps: int, micro_batches: "MicroBatches") -> float:
    """Real tokens over all positions of the first `steps` steps; of many, some are looked at."""
    tokens = positions = 0
    for step in np.unique(np.linspace(0, steps - 1, min(steps, _STEPS_MEASURED)).astype(np.int64)):
        sizes = layout.lengths[layout.step(int(step))]
        tokens += int(sizes.sum())
        for part in micro_batches(sizes):
            positions += len(part) * int(sizes[part].max(initial=0))
    return tokens / positions


class MicroBatches(Protocol):
    """Cuts the rows of a step into what is computed at one time."""

    def __call__(self, sizes: Indices, /) -> list[Indices]:
        """Places in `sizes`, tokens of each row."""


def draws_for(tokens: int, shares: Many[tuple[float, float]], means: Many[float]) -> int:
    """Draws that come to so many tokens: the mean over the run of a share is that of its ends."""
    sums = [math.fsum(share[side] for share in shares) for side in (0, 1)]
    mean = math.fsum(
        (first / sums[0] + last / sums[1]) / 2 * length
        for (first, last), length in zip(shares, means, strict=True)
    )
    return math.ceil(tokens / mean)


def _check(lengths: Indices, capacity: int | None) -> None:
    if not len(lengths):
        raise ValueError("there are no sequences to make batches of")
    if capacity is not None and lengths.max() > capacity:
        raise ValueError(
            f"a sequence of {lengths.max()} tokens does not fit into a pack of {capacity}"
        )


def _generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
