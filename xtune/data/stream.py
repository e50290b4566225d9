"""Data that is read and encoded while it is trained on, window by window, in an order of the seed; it makes no batches.

rows of each source --encode, a chunk at a time--> sequences --drawn by weight--> a window --shuffled, packed--> rows --> steps

A position is where a window begins in each source, and how many of its rows are trained on: what comes
after it is a function of the position, the files and the seed. Resuming skips raw rows and encodes one
window again. The position also holds the sums of what was read, so that a file that was changed is told.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from xtune.data.encode import Encoder
from xtune.data.formats import Row
from xtune.data.losses import check_losses
from xtune.data.mixture import Mixture
from xtune.data.packing import best_fit, length_groups
from xtune.data.problems import Problems, refuse
from xtune.data.reading import CHUNK_ROWS, collect
from xtune.data.rows import Mark, RowReader
from xtune.data.sources import SourceFile
from xtune.data.types import Sequence
from xtune.data.windows import Window
from xtune.data.workers import Recipient
from xtune.recipe import Data


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is read at a time."""

    first_rows: int = 1_000
    rows: int = 10_000
    """Sequences that are shuffled and packed together. The first window is smaller, so that training begins
    soon, and each later one twice the one before. At 10,000 packs are 99.9 % full."""

    chunk_rows: int = CHUNK_ROWS
    """Rows encoded together, at most."""


WINDOW_TOKENS = 1 << 22
"""Tokens in a window, whatever its rows: 4 million take 50 MB, and two windows exist at a time."""

_JUDGED_ROWS = 1_000
"""Rows read before it is judged how many are lost: fewer say little. A choice."""


class SourceStream:
    """The encoded sequences of one source without end: pass after pass over its files, their order by the seed."""

    def __init__(self, files: Many[SourceFile], encoder: Encoder, *, number: int, plan: "StreamPlan") -> None:  # fmt: skip
        """Stand before the first row.

        Args:
            files: The files of the source.
            encoder: Encodes its rows.
            number: The source's place in the recipe.
            plan: Says the rest: the seed decides the order of the files in each pass.
        """
        self._files = files
        self._encoder = encoder
        self._number = number
        self._seed = plan.seed
        self._max_rows = plan.max_rows(number)
        self._most = plan.amounts.chunk_rows
        self.read = self.kept = 0
        self.lost: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._sums: dict[str, str] = {}
        self._begin_pass(0)

    def position(self) -> dict[str, Any]:
        """Where the next sequence is, as plain JSON types.

        `pass`, `row`: the first row of its chunk. `used`: sequences of the chunk before it. `file`, `mark`: where
        that row is. `sums`: SHA-256 of each file that was read to its end.
        """
        file, mark = self._place
        return {
            "pass": self._pass,
            "row": self._row,
            "used": self._used,
            "file": file,
            "mark": list(mark),
            "sums": dict(self._sums),
        }

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go to a position; rows before it are neither parsed nor encoded, where the kind of file allows that.

        That the files are what they were is seen when the next sequence is read.
        """
        self._begin_pass(
            position["pass"],
            row=position["row"],
            used=position["used"],
            place=(position["file"], Mark(*position["mark"])),
        )
        self._sums = dict(position["sums"])

    def _begin_pass(
        self, number: int, *, row: int = 0, used: int = 0, place: tuple[int, Mark] = (0, Mark())
    ) -> None:
        self._pass, self._row, self._used, self._place = number, row, used, place
        self._problems = Problems()
        self._reader: RowReader | None = None
        self._rows = self._pass_rows()
        self._chunk: list[Sequence] | None = None
        self._chunk_rows = 0

    def next(self) -> Sequence:
        """The next sequence.

        Raises:
            DataError: A row is faulty, or a whole pass gave nothing.
        """
        if self._chunk is None:
            self._encode_chunk()
        empty_passes = 0
        while self._chunk is None or self._used >= len(self._chunk):
            if self._chunk_rows:
                self._row, self._used = self._row + self._chunk_rows, 0
            else:
                empty_passes = empty_passes + 1 if not self.kept else 0
                if empty_passes > 1:
                    refuse("No row of the source can be trained on", where=self._files[0].name)
                self._begin_pass(self._pass + 1)
            self._encode_chunk()
        sequence = self._chunk[self._used]
        self._used += 1
        return sequence

    def _encode_chunk(self) -> None:
        if self._reader is not None:
            self._place = (self._at, self._reader.mark())
        rows = collect(self._rows, self._most)
        self._problems.raise_any()
        encoded = self._encoder.encode_rows(rows)
        self._chunk, self._chunk_rows = encoded.sequences, len(rows)
        self.read += len(rows)
        self.kept += len(encoded.sequences)
        for reason, count in Counter(drop.reason for drop in encoded.drops).items():
            before, examples = self.lost.get(reason, (0, ()))
            examples = examples or (
                str(next(d.origin for d in encoded.drops if d.reason == reason)),
            )
            self.lost[reason] = (before + count, examples)

    def _pass_rows(self) -> Iterator[Row]:
        return islice(
            self._file_rows(), None if self._max_rows is None else self._max_rows - self._row
        )

    def _file_rows(self) -> Iterator[Row]:
        """The rows of the pass from `_place` on; `_at` is the place in the pass of the file that is read."""
        order = np.random.default_rng((self._seed, 4, self._number, self._pass))
        files = order.permutation(len(self._files))
        self._at, mark = self._place
        while self._at < len(files):
            number = int(files[self._at])
            self._reader = RowReader(self._files[number], self._problems)
            yield from self._reader.resume(mark)
            self._compare(number, self._reader.whole())
            mark, self._at = Mark(), self._at + 1

    def _compare(self, number: int, sum: str | None) -> None:
        """Note the sum of a file that was read to its end, or compare it with that of the pass before.

        Raises:
            DataError: It was changed between the passes.
        """
        if sum is not None and self._sums.setdefault(str(number), sum) != sum:
            refuse(
                "The file was changed while it was trained on: a pass before read other bytes",
                where=self._files[number].name,
                allowed="every pass reads the same rows",
                advice="bring the old file back, or start a new run with run.folder=...",
            )


class Stream:
    """Windows of rows, one after another."""

    def __init__(self, plan: "StreamPlan", sources: Many[SourceStream]) -> None:
        """Stand before the first window of some sources."""
        self._sources = sources
        self._mixture = Mixture(plan.shares, plan.draws)
        self._capacity = plan.capacity
        self._batch_size = plan.batch_size
        self._seed = plan.seed
        self._data = plan.data
        self._number = 0
        changing = any(first != last for first, last in plan.shares)
        self._amounts = plan.amounts
        self._most = max(200, min(plan.amounts.rows, plan.draws // 20)) if changing else plan.amounts.rows  # fmt: skip

    def position(self) -> dict[str, Any]:
        """Where the next window begins, as plain JSON types."""
        sources = [source.position() for source in self._sources]
        return {"window": self._number, "counts": list(self._mixture.counts), "sources": sources}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go to where a window begins."""
        self._number = position["window"]
        self._mixture.resume(position["counts"])
        for source, place in zip(self._sources, position["sources"], strict=True):
            source.seek(place)

    def window(self) -> Window:
        """Read, encode, shuffle and pack the next window.

        Raises:
            DataError: A row is faulty, or too many are lost.
        """
        before = self.position()
        most = min(self._most, self._amounts.first_rows << min(self._number, 20))
        drawn: list[int] = []
        sequences: list[list[Sequence]] = [[] for _ in self._sources]
        tokens = 0
        while len(drawn) < most and tokens < WINDOW_TOKENS:
            source = self._mixture.draw()
            sequence = self._sources[source].next()
            drawn.append(source)
            sequences[source].append(sequence)
            tokens += len(sequence)
        self._judge()
        rows = self._shuffled(drawn, sequences)
        self._number += 1
        return Window(rows=rows, before=before, after=self.position())

    def _shuffled(self, drawn: list[int], sequences: list[list[Sequence]]) -> list[list[Sequence]]:
        """Rows of a window. Each source is shuffled by itself, so that the draws keep their weights."""
        generator = np.random.default_rng((self._seed, 5, self._number))
        shuffled = [
            iter([some[int(place)] for place in generator.permutation(len(some))])
            for some in sequences
        ]
        order = [next(shuffled[source]) for source in drawn]
        lengths = np.array([len(sequence) for sequence in order], np.int64)
        if self._capacity is not None:
            packs = best_fit(np.arange(len(order)), lengths, self._capacity)
            packs = packs.take(generator.permutation(len(packs)))
            return [[order[int(index)] for index in pack] for pack in packs]
        if len(self._sources) == 1:
            groups = length_groups(lengths, self._batch_size, generator)
            order = [order[int(index)] for index in groups.rows]
        return [[sequence] for sequence in order]

    def _judge(self) -> None:
        lost: dict[str, tuple[int, tuple[str, ...]]] = {}
        for source in self._sources:
            for reason, (count, examples) in source.lost.items():
                before, first = lost.get(reason, (0, ()))
                lost[reason] = (before + count, first or examples)
        read = sum(source.read for source in self._sources)
        if read >= _JUDGED_ROWS:
            check_losses(read, sum(source.kept for source in self._sources), lost, "data.train", self._data)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """Everything a stream is made of, before any row is read."""

    files: Many[SourceFile]
    recipient: Recipient
    """What the encoder is made of."""

    shares: Many[tuple[float, float]]
    draws: int
    capacity: int | None
    batch_size: int
    seed: int
    data: Data
    amounts: Amounts = Amounts()

    def max_rows(self, number: int) -> int | None:
        """Rows of a pass over a source; None: all."""
        whole = self.data.max_rows if len(self.data.train) == 1 else None
        limits = (self.data.train[number].max_rows, whole)
        return min((rows for rows in limits if rows is not None), default=None)

    def beginning(self) -> dict[str, Any]:
        """The position before the first row, as plain JSON types."""
        source = {"pass": 0, "row": 0, "used": 0, "file": 0, "mark": list(Mark()), "sums": {}}
        count = len(self.data.train)
        return {"window": 0, "counts": [0] * count, "sources": [source] * count}

    def open(self) -> Stream:
        """A stream at its first row.

        Raises:
            DataError: The tokenizer or template is unfit.
        """
        encoder = self.recipient.make()
        sources = [
            SourceStream(
                [file for file in self.files if file.source == number],
                encoder,
                number=number,
                plan=self,
            )
            for number in range(len(self.data.train))
        ]
        return Stream(self, sources)
