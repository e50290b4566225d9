"""Makes batches of encoded rows in a seeded order with random access; it neither reads nor encodes.

A step is a pure function of the arguments and its index, so resuming needs no replay, and the rows of
a step over all ranks are those of a single process with the same `batch_size`.
"""

import math
from collections.abc import Sequence as Many

import numpy as np
import numpy.typing as npt
import torch

from xtune.data.packing import length_groups, pack
from xtune.data.types import IGNORED, Batch, Origin, Sequence, Step

_Samples = Many[Sequence]
"""The samples that share one row of a batch; one alone unless rows are packed."""

_FILLER_TOKENS = 2
"""Length of the batch of a rank without rows: the shortest in which a token has a successor."""


class Batches:
    """All optimizer steps of a training set."""

    def __init__(  # noqa: PLR0913 - the plan's decisions, one by one
        self,
        sequences: Many[Sequence],
        *,
        batch_size: int,
        micro_batch_size: int,
        max_tokens: int,
        packing: bool,
        seed: int,
        pad_token_id: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare the order of rows.

        Args:
            sequences: The training set.
            batch_size: Sequences (rows, or packs of rows) in a step, over all ranks.
            micro_batch_size: Sequences in a forward pass on one rank.
            max_tokens: Tokens in a pack.
            packing: Whether several rows share one sequence.
            seed: Decides packs and order.
            pad_token_id: Fills rows up to the longest of their micro-batch.
            rank: This process.
            world_size: Number of processes.

        Raises:
            ValueError: There are no sequences, or one does not fit into a pack.
        """
        if not sequences:
            raise ValueError("there are no sequences to make batches of")
        self._sequences = sequences
        self._lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        if packing and self._lengths.max() > max_tokens:
            raise ValueError(
                f"a sequence of {self._lengths.max()} tokens does not fit into a pack of {max_tokens}"
            )
        self._batch_size = batch_size
        self._micro_batch_size = micro_batch_size
        self._seed = seed
        self._pad = pad_token_id
        self._rank = rank
        self._world_size = world_size
        self.packed = packing
        self._bins = (
            pack(self._lengths, max_tokens, np.random.default_rng((seed, 0))) if packing else None
        )
        self._rows = len(self._bins) if self._bins is not None else len(sequences)
        self._epoch: tuple[int, list[npt.NDArray[np.int64]]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the data; the last may be smaller than the others."""
        return math.ceil(self._rows / self._batch_size)

    @property
    def rows(self) -> int:
        """Rows of batches in one epoch: sequences, or packs of them."""
        return self._rows

    def step(self, index: int) -> Step:
        """The micro-batches of step `index`, counted over all epochs from 0."""
        epoch, position = divmod(index, self.steps_per_epoch)
        rows = self._order(epoch)[position]
        micro = [[self._samples(row) for row in part] for part in self._micro_batches(rows)]
        mine = micro[self._rank :: self._world_size]
        every = [sample for part in micro for row in part for sample in row]
        return Step(
            batches=tuple(
                collate(part, pad_token_id=self._pad, packed=self.packed) for part in mine
            ),
            loss_weight=math.fsum(sample.loss_weight for sample in every),
            tokens=sum(len(sample) for sample in every),
            origins=tuple(sample.origin for sample in every),
        )

    def efficiency(self, epoch: int = 0) -> float:
        """Real tokens over all positions of an epoch's batches; the rest is padding."""
        positions = 0
        for rows in self._order(epoch):
            for part in self._micro_batches(rows):
                positions += len(part) * int(self._row_lengths(part).max(initial=0))
        return float(self._lengths.sum() / positions)

    def _order(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """The rows of each step of an epoch."""
        if self._epoch is None or self._epoch[0] != epoch:
            generator = np.random.default_rng((self._seed, 1, epoch))
            if self._bins is None:
                groups = length_groups(self._lengths, self._batch_size, generator)
            else:
                order = generator.permutation(self._rows)
                groups = [
                    order[start : start + self._batch_size]
                    for start in range(0, self._rows, self._batch_size)
                ]
            self._epoch = (epoch, groups)
        return self._epoch[1]

    def _micro_batches(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """A step's rows, sorted by length, cut into as many parts for every rank; some are empty if rows are few."""
        rows = rows[np.argsort(self._row_lengths(rows), kind="stable")]
        rounds = math.ceil(len(rows) / (self._micro_batch_size * self._world_size))
        return list(np.array_split(rows, rounds * self._world_size))

    def _row_lengths(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self._bins is None:
            return self._lengths[rows]
        return np.array([self._lengths[self._bins[row]].sum() for row in rows], np.int64)

    def _samples(self, row: int) -> _Samples:
        if self._bins is None:
            return [self._sequences[row]]
        return [self._sequences[index] for index in self._bins[row]]


def evaluation_batches(
    sequences: Many[Sequence],
    *,
    micro_batch_size: int,
    pad_token_id: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[Batch]:
    """This rank's batches of an evaluation set: sorted by length, not packed, as many on every rank."""
    order = sorted(sequences, key=len)
    parts = [
        order[start : start + micro_batch_size] for start in range(0, len(order), micro_batch_size)
    ]
    parts += [[]] * (-len(parts) % world_size)
    return [
        collate([[sample] for sample in part], pad_token_id=pad_token_id, packed=False)
        for part in parts[rank::world_size]
    ]


def collate(rows: Many[_Samples], *, pad_token_id: int, packed: bool) -> Batch:
    """Make one batch of rows of samples, right-padded to the longest row.

    The first label of every sample is ignored, since what stands before it is another sample. Padding
    behind packed samples is a segment of its own; behind a single sample positions run on, so that
    attention takes its plain causal path.

    Returns:
        The batch, (rows, tokens); of one row of padding, without loss, if there are no rows.
    """
    sizes = [sum(len(sample) for sample in row) for row in rows] or [_FILLER_TOKENS]
    shape = (len(sizes), max(sizes))
    input_ids = np.full(shape, pad_token_id, np.int64)  # (rows, tokens)
    labels = np.full(shape, IGNORED, np.int64)
    weights = np.zeros(shape, np.float32)
    positions = np.tile(np.arange(shape[1], dtype=np.int64), (shape[0], 1))
    origins: list[Origin] = []
    for index, row in enumerate(rows):
        at = 0
        for sample in row:
            stop = at + len(sample)
            input_ids[index, at:stop] = sample.input_ids
            labels[index, at + 1 : stop] = sample.labels[1:]
            weights[index, at + 1 : stop] = sample.weights[1:]
            positions[index, at:stop] = np.arange(stop - at)
            origins.append(sample.origin)
            at = stop
        if packed:
            positions[index, at:] = np.arange(shape[1] - at)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        labels=torch.from_numpy(labels),
        weights=torch.from_numpy(weights),
        position_ids=torch.from_numpy(positions),
        tokens=sum(sizes) if rows else 0,
        origins=tuple(origins),
    )
