"""Windows of a stream, as rows of sequences and as a few flat arrays on their way between processes; it makes none."""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xtune.data.types import IGNORED, Origin, Sequence

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Rows of samples that were shuffled together, and where the stream stood before and after."""

    rows: Many[Many[Sequence]]
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FlatWindow:
    """A window without an object a sequence: ten thousand of those take longer to send than all their numbers."""

    tokens: Array
    """(tokens,) int32: the ids of every sequence, end to end."""

    weights: Array
    """(tokens,) float32"""

    lengths: Array
    """(sequences,) int64: tokens of each."""

    counts: Array
    """(rows,) int64: sequences of each row."""

    origins: Array
    """(sequences, 3) int64: number of the source's name, row, line; 0 where there are no lines."""

    names: tuple[str, ...]
    before: dict[str, Any]
    after: dict[str, Any]

    @classmethod
    def of(cls, window: Window) -> "FlatWindow":
        """The arrays of a window."""
        every = [sequence for row in window.rows for sequence in row]
        names: dict[str, int] = {}
        origins = [
            (names.setdefault(one.origin.source, len(names)), one.origin.row, one.origin.line or 0)
            for one in every
        ]
        return cls(
            tokens=np.concatenate([one.input_ids for one in every]),
            weights=np.concatenate([one.weights for one in every]),
            lengths=np.array([len(one) for one in every], np.int64),
            counts=np.array([len(row) for row in window.rows], np.int64),
            origins=np.array(origins, np.int64),
            names=tuple(names),
            before=window.before,
            after=window.after,
        )

    def window(self) -> Window:
        """The window; its sequences share the arrays."""
        labels = np.where(self.weights > 0, self.tokens, np.int32(IGNORED))
        stops = np.cumsum(self.lengths).tolist()
        sequences = [
            Sequence(
                input_ids=self.tokens[stop - length : stop],
                labels=labels[stop - length : stop],
                weights=self.weights[stop - length : stop],
                origin=Origin(source=self.names[name], row=row, line=line or None),
            )
            for stop, length, (name, row, line) in zip(
                stops, self.lengths.tolist(), self.origins.tolist(), strict=True
            )
        ]
        ends = np.cumsum(self.counts).tolist()
        rows = [
            sequences[end - count : end]
            for end, count in zip(ends, self.counts.tolist(), strict=True)
        ]
        return Window(rows=rows, before=self.before, after=self.after)
