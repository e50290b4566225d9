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

from xtune.data.layout import Layout
from xtune.data.packing import Indices, cut
from xtune.data.store import lengths_of
from xtune.data.types import IGNORED, Batch, Origin, Sequence, Step

_Samples = Many[Sequence]
"""The samples that share one row of a batch; one alone unless rows are packed."""

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
    """All optimizer steps of a training set, with random access."""

    def __init__(self, sequences: Many[Sequence], layout: Layout, assembly: Assembly) -> None:
        """Join what is known.

        Args:
            sequences: The training set.
            layout: Which of them are in which step.
            assembly: What becomes of the rows of a step.
        """
        self._sequences = sequences
        self._layout = layout
        self._assembly = assembly

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the data; the last may be smaller than the others."""
        return self._layout.steps_per_epoch

    def epoch(self, step: int) -> float:
        """Passes over the data after so many steps."""
        return step / self._layout.steps_per_epoch

    def position(self) -> None:
        """Nothing: a step is a function of its number."""

    def resume(self, step: int, position: object) -> None:
        """Nothing is to be done before any step."""

    def step(self, index: int) -> Step:
        """The micro-batches of step `index`, counted over all epochs from 0."""
        return self._assembly.step([self._samples(int(row)) for row in self._layout.step(index)])

    def _samples(self, row: int) -> _Samples:
        return [self._sequences[int(index)] for index in self._layout.members(row)]


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
