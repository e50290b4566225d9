"""What became of the data: counts, reasons, lengths and fingerprints, for people and as JSON; it decides nothing."""

from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from xtune.data.encode import Encoded
from xtune.data.types import Origin, Sequence

EXAMPLES = 3
"""Rows named for each reason."""

_PERCENTILES = (0, 50, 90, 99, 100)


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """One file that was read."""

    name: str
    format: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many rows something happened to, and some of them."""

    rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SetReport:
    """The training set or the evaluation set."""

    rows_read: int
    rows_kept: int
    sequences: int
    tokens: int
    trained_tokens: int
    """Tokens with a weight in the loss; the first of a row has none."""

    loss_weight: float
    """Sum of those weights."""

    lengths: dict[str, int]
    """Tokens of a sequence: shortest, median, 90 %, 99 %, longest."""

    dropped: dict[str, Count] = field(default_factory=dict)
    """Rows that are not trained on, by reason."""

    notes: dict[str, Count] = field(default_factory=dict)
    """Rows that were changed or are remarkable, by what happened."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """All that is worth knowing about the data of a run."""

    files: tuple[FileReport, ...]
    train: SetReport
    evaluate: SetReport | None
    packing: bool
    efficiency: float
    """Real tokens over all positions of the training batches; the rest is padding."""

    batch_rows: int
    """Rows of batches in an epoch: sequences, or packs of them."""

    evaluation_rows_also_trained: int
    """Evaluation sequences whose very tokens are in the training set too."""

    template: str
    """The chat template's text; empty if no conversation was rendered."""

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"{file.name}: {_rows(file.rows)}, format {file.format}" for file in self.files]
        lines += _set_lines("train", self.train)
        if self.packing:
            filled = f"{self.efficiency:.1%} full"
            lines.append(
                f"packed: {self.train.sequences:,} sequences in {self.batch_rows:,} packs, {filled}"
            )
        else:
            lines.append(f"padding: {1 - self.efficiency:.1%} of all positions")
        if self.evaluate is not None:
            lines += _set_lines("evaluate", self.evaluate)
        if self.evaluation_rows_also_trained:
            rows = self.evaluation_rows_also_trained
            lines.append(
                f"warning: {rows:,} evaluation rows are in the training set too, word for word"
            )
        return lines


def set_report(rows_read: int, encoded: Encoded) -> SetReport:
    """Count what `encoded` holds."""
    sequences = encoded.sequences
    lengths = np.array([len(sequence) for sequence in sequences] or [0])
    found = np.percentile(lengths, _PERCENTILES, method="lower")
    names = ("shortest", "median", "90 %", "99 %", "longest")
    dropped: dict[str, list[Origin]] = {}
    for drop in encoded.drops:
        dropped.setdefault(drop.reason, []).append(drop.origin)
    return SetReport(
        rows_read=rows_read,
        rows_kept=rows_read - len(encoded.drops),
        sequences=len(sequences),
        tokens=int(lengths.sum()),
        trained_tokens=sum(int(np.count_nonzero(sequence.weights[1:])) for sequence in sequences),
        loss_weight=sum(sequence.loss_weight for sequence in sequences),
        lengths={name: int(value) for name, value in zip(names, found, strict=True)},
        dropped=_counts(dropped),
        notes=_counts(encoded.notes),
    )


def overlap(train: Many[Sequence], evaluate: Many[Sequence]) -> int:
    """Evaluation sequences whose tokens are a training sequence's too."""
    trained = {sequence.input_ids.tobytes() for sequence in train} if evaluate else set()
    return sum(sequence.input_ids.tobytes() in trained for sequence in evaluate)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _counts(origins: dict[str, list[Origin]]) -> dict[str, Count]:
    return {
        what: Count(rows=len(rows), examples=tuple(str(origin) for origin in rows[:EXAMPLES]))
        for what, rows in sorted(origins.items())
    }


def _set_lines(name: str, part: SetReport) -> list[str]:
    lengths = part.lengths
    lines = [
        f"{name}: {part.rows_kept:,} of {part.rows_read:,} rows, {part.tokens:,} tokens, {part.trained_tokens:,} trained on; "
        f"lengths {lengths['shortest']:,} to {lengths['longest']:,}, median {lengths['median']:,}, 99 % up to {lengths['99 %']:,}"
    ]
    for heading, counts in (("dropped", part.dropped), ("note", part.notes)):
        for what, count in counts.items():
            lines.append(
                f"  {heading}: {what}: {_rows(count.rows)} (such as {', '.join(count.examples)})"
            )
    return lines
