"""Makes batches of encoded rows in a seeded order with random access; it neither reads nor encodes.

A step is a pure function of the arguments and its index, so resuming needs no replay, and the rows of
a step over all ranks are those of a single process with the same `batch_size`.
"""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch

from xtune.data.packing import Groups, Indices, cut, length_groups, pack
from xtune.data.store import lengths_of
from xtune.data.types import IGNORED, Batch, Origin, Sequence, Step

_Samples = Many[Sequence]
"""The samples that share one row of a batch; one alone unless rows are packed."""

_STEPS_MEASURED = 1000
"""Steps of an epoch whose padding is measured: the share is known to a per mille, within a second."""

_FILLER_TOKENS = 2
"""Length of the batch of a rank without rows: the shortest in which a token has a successor."""


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """How the rows of a step become batches of this process."""

    micro_batch_size: int
    """Sequences (rows, or packs of rows) in a forward pass on one rank."""

    pad_token_id: int
    """Fills rows up to the longest of their micro-batch."""

    packed: bool
    """Whether a row may hold several samples."""

    rank: int = 0
    world_size: int = 1

    def step(self, rows: Many[_Samples]) -> Step:
        """The micro-batches of a step's rows, sorted by length: as many on every rank, some empty if rows are few."""
        sizes = np.array([sum(map(len, row)) for row in rows], np.int64)
        micro = [[rows[index] for index in part] for part in self.micro_batches(sizes)]
        every = [sample for part in micro for row in part for sample in row]
        return Step(
            batches=tuple(
                collate(part, pad_token_id=self.pad_token_id, packed=self.packed)
                for part in micro[self.rank :: self.world_size]
            ),
            loss_weight=math.fsum(sample.loss_weight for sample in every),
            tokens=int(sizes.sum()),
            origins=tuple(sample.origin for sample in every),
        )

    def micro_batches(self, sizes: Indices) -> list[Indices]:
        """Cut rows of these sizes into micro-batches; returns places in `sizes`."""
        order = np.argsort(sizes, kind="stable")
        rounds = math.ceil(len(order) / (self.micro_batch_size * self.world_size))
        return list(np.array_split(order, rounds * self.world_size))


class Batches:
    """All optimizer steps of a training set, each row once an epoch."""

    def __init__(
        self,
        sequences: Many[Sequence],
        assembly: Assembly,
        *,
        batch_size: int,
        max_tokens: int,
        seed: int,
    ) -> None:
        """Prepare the order of rows.

        Args:
            sequences: The training set.
            assembly: What becomes of the rows of a step.
            batch_size: Sequences (rows, or packs of rows) in a step, over all ranks.
            max_tokens: Tokens in a pack.
            seed: Decides packs and order.

        Raises:
            ValueError: There are no sequences, or one does not fit into a pack.
        """
        if not sequences:
            raise ValueError("there are no sequences to make batches of")
        self._sequences = sequences
        self._lengths = lengths_of(sequences)
        if assembly.packed and self._lengths.max() > max_tokens:
            raise ValueError(
                f"a sequence of {self._lengths.max()} tokens does not fit into a pack of {max_tokens}"
            )
        self._assembly = assembly
        self._batch_size = batch_size
        self._max_tokens = max_tokens
        self._seed = seed
        self._bins = pack(self._lengths, max_tokens, _generator(seed, 0)) if self.packed else None
        self._row_lengths = self._bins.sums(self._lengths) if self._bins else self._lengths
        self._rows = len(self._row_lengths)
        self._epoch: tuple[int, Groups] | None = None

    @property
    def packed(self) -> bool:
        """Whether several rows share one sequence."""
        return self._assembly.packed

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the data; the last may be smaller than the others."""
        return math.ceil(self._rows / self._batch_size)

    @property
    def rows(self) -> int:
        """Rows of batches in one epoch: sequences, or packs of them."""
        return self._rows

    def epoch(self, step: int) -> float:
        """Passes over the data after so many steps."""
        return step / self.steps_per_epoch

    def step(self, index: int) -> Step:
        """The micro-batches of step `index`, counted over all epochs from 0."""
        return self._assembly.step([self._samples(row) for row in self._rows_of(index)])

    def efficiency(self) -> float:
        """Real tokens over all positions of an epoch's batches; of many steps, some are looked at."""
        steps = np.unique(
            np.linspace(0, self.steps_per_epoch - 1, min(self.steps_per_epoch, _STEPS_MEASURED)).astype(int)
        )  # fmt: skip
        tokens = positions = 0
        for step in steps:
            sizes = self._row_lengths[self._rows_of(int(step))]
            tokens += int(sizes.sum())
            for part in self._assembly.micro_batches(sizes):
                positions += len(part) * int(sizes[part].max(initial=0))
        return tokens / positions

    def _rows_of(self, index: int) -> Indices:
        epoch, position = divmod(index, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._order(_generator(self._seed, 1, epoch)))
        return self._epoch[1][position]

    def _order(self, generator: np.random.Generator) -> Groups:
        """The rows of each step of an epoch."""
        if self._bins is None:
            return length_groups(self._lengths, self._batch_size, generator)
        return cut(generator.permutation(self._rows), self._batch_size)

    def _samples(self, row: int) -> _Samples:
        if self._bins is None:
            return [self._sequences[row]]
        return [self._sequences[int(index)] for index in self._bins[row]]


def _generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


class EvaluationBatches(Many[Batch]):
    """This rank's batches of an evaluation set: sorted by length, not packed, as many on every rank; made when asked for."""

    def __init__(
        self,
        sequences: Many[Sequence],
        *,
        micro_batch_size: int,
        pad_token_id: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._sequences = sequences
        self._pad = pad_token_id
        parts = list(cut(np.argsort(lengths_of(sequences), kind="stable"), micro_batch_size))
        parts += [np.zeros(0, np.int64)] * (-len(parts) % world_size)
        self._parts = parts[rank::world_size]

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        rows = [[self._sequences[int(row)]] for row in self._parts[index]]
        return collate(rows, pad_token_id=self._pad, packed=False)


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
