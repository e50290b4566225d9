"""Rows of many files in pieces of bounded size, with what was found in each file. It encodes nothing and holds no file whole."""

from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from xtune.data.chunk import Chunk
from xtune.data.formats import Row
from xtune.data.problems import Problems, refuse
from xtune.data.rows import RowReader
from xtune.data.sources import SourceFile, find_files
from xtune.data.types import Document
from xtune.errors import DataError
from xtune.recipe import Data, Source

CHUNK_ROWS = 500
"""Rows encoded at one time: enough for the tokenizer's threads, few enough to share out evenly."""

CHUNK_CHARACTERS = 1 << 21
"""Characters encoded at one time, at least one row: some 20 MB while they are tokenised."""


@dataclass(kw_only=True)
class FileCount:
    """What was read of one file."""

    name: str
    source: int
    rows: int = 0
    formats: Counter[str]
    left_out: Counter[str]
    """What belongs to its rows and was not taken, by reason."""


class Reading:
    """One pass over files; `counts` tells what was read once it is over."""

    def __init__(
        self, files: Many[SourceFile], sources: Many[Source], *, max_rows: int | None = None
    ) -> None:
        """Prepare to read.

        Args:
            files: What to read, in this order.
            sources: What the recipe says of each source.
            max_rows: Stop after so many rows.
        """
        self._files = files
        self._sources = sources
        self._max_rows = max_rows
        self.counts = [
            FileCount(name=file.name, source=file.source, formats=Counter(), left_out=Counter())
            for file in files
        ]
        self.problems = Problems()

    def chunks(self) -> Iterator[Chunk]:
        """The rows, in order.

        Raises:
            DataError: Everything that is wrong with the files and rows, once all are read.
        """
        rows: list[Row] = []
        files: list[int] = []
        first = characters = 0
        for number, row in islice(self._rows(), self._max_rows):
            rows.append(row)
            files.append(number)
            characters += size_of(row)
            if len(rows) == CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
                yield Chunk(rows=rows, files=files, first=first, characters=characters)
                first, characters = first + len(rows), 0
                rows, files = [], []
        self.problems.raise_any()
        if rows:
            yield Chunk(rows=rows, files=files, first=first, characters=characters)

    def _rows(self) -> Iterator[tuple[int, Row]]:
        left = [source.max_rows for source in self._sources]
        for number, (file, count) in enumerate(zip(self._files, self.counts, strict=True)):
            if left[file.source] == 0:
                continue
            reader = RowReader(file, self.problems)
            try:
                for row in islice(reader, left[file.source]):
                    count.rows += 1
                    yield number, row
            except DataError as error:  # told with what is wrong with the other files
                self.problems.include(error)
            count.formats += reader.formats
            count.left_out += reader.left_out
            limit = left[file.source]
            if limit is not None:
                left[file.source] = limit - count.rows


def collect(rows: Iterator[Row], most: int) -> list[Row]:
    """The next rows, as many as are encoded together."""
    collected: list[Row] = []
    characters = 0
    while len(collected) < most and characters < CHUNK_CHARACTERS:
        row = next(rows, None)
        if row is None:
            break
        collected.append(row)
        characters += size_of(row)
    return collected


def size_of(row: Row) -> int:
    """Characters of a row."""
    if isinstance(row, Document):
        return len(row.text)
    return sum(len(message.content) for message in row.messages) + 1


def read_all(sources: Many[Source | str], data: Data) -> list[Row]:
    """All rows of some sources, for data that fits in memory.

    Raises:
        DataError: Everything that is wrong with the sources, files and rows.
    """
    return [row for chunk in _reading(sources, data).chunks() for row in chunk.rows]


def read_held_out(data: Data, fraction: float, seed: int) -> list[Row]:
    """The rows that are split off the training data for evaluation; the others are not held in memory.

    Raises:
        DataError: Everything that is wrong with the sources, files and rows, or too few rows.
    """
    count = sum(len(chunk.rows) for chunk in _reading(data.train, data).chunks())
    chosen = held_out(count, fraction, seed)
    chunks = _reading(data.train, data).chunks()
    return [
        row
        for chunk in chunks
        for place, row in enumerate(chunk.rows, chunk.first)
        if chosen[place]
    ]


def held_out(count: int, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which of so many rows are held out, at least one unless the fraction is 0, (rows,).

    Raises:
        DataError: Nothing would be left to train on.
    """
    chosen = np.zeros(count, np.bool_)
    if fraction == 0:
        return chosen
    part = max(1, round(count * fraction))
    if part >= count:
        refuse(
            f"`data.evaluate` is {fraction:g}, which takes {part} of {count} rows",
            allowed="rows must be left to train on",
        )
    chosen[np.random.default_rng(seed).permutation(count)[:part]] = True
    return chosen


def _reading(sources: Many[Source | str], data: Data) -> Reading:
    every = [Source(source=one) if isinstance(one, str) else one for one in sources]
    return Reading(find_files(every, data), every)
