"""What became of the data: counts, reasons, lengths and fingerprints, for people and as JSON; it decides nothing."""

import math
from collections import Counter
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from xtune.data.choosing import TokenizerReport
from xtune.data.identity import Identified
from xtune.data.layout import Layout, MixedLayout
from xtune.data.losses import Losses
from xtune.data.packing import Indices
from xtune.data.sources import LeftOut
from xtune.data.store import Stored
from xtune.recipe import Data

_EXAMPLES = 3
"""Rows named of those that are repeated."""

_FILE_LINES = 8
"""Files named in a report for people; a folder may hold thousands."""

_PERCENTILES = (0, 50, 90, 99, 100)


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """One file that was read."""

    name: str
    format: str
    """Format of most of its rows; empty if none was read."""

    formats: dict[str, int]
    """Rows of each format that was found."""

    rows: int
    """Rows read."""

    bytes: int
    sha256: str
    """Of all its bytes; of a streamed file of more than 1 MiB, of its size and sampled blocks (`files.sampled_fingerprint`)."""

    written_ns: int | None = None
    """When a file was last written that was sampled: nanoseconds since 1970; None: its fingerprint says all."""

    left_out: dict[str, int] = field(default_factory=dict)
    """What belongs to its rows and is not taken, by reason: replies of message trees."""


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

    histogram: tuple[tuple[int, int], ...] = ()
    """Sequences of up to so many tokens and more than the step before: (tokens, sequences), in powers of two."""

    duplicates: Count = Count(rows=0, examples=())
    """Sequences whose very tokens came before in the same set."""

    dropped: dict[str, Count] = field(default_factory=dict)
    """Rows that are not trained on, by reason."""

    notes: dict[str, Count] = field(default_factory=dict)
    """Rows that were changed or are remarkable, by what happened."""


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """One source of the training set, as the recipe names it."""

    name: str
    rows_read: int
    sequences: int
    tokens: int
    trained_tokens: int
    weight: tuple[float, float] | None
    """Its weight at the beginning and at the end; None: all its rows, once an epoch."""

    drawn: int | None
    """Sequences of it in the whole training; None without weights."""

    @property
    def repeats(self) -> float | None:
        """How often each of its sequences comes, on average; None without weights."""
        return None if self.drawn is None else self.drawn / max(self.sequences, 1)


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """All that is worth knowing about the data of a run."""

    files: tuple[FileReport, ...]
    train: SetReport
    evaluate: SetReport | None
    sources: tuple[SourceReport, ...]
    packing: bool
    efficiency: float
    """Real tokens over all positions of the training batches; the rest is padding."""

    batch_rows: int
    """Rows of batches in an epoch: sequences, or packs of them; 0 where it is not known."""

    evaluation_rows_also_trained: int
    """Evaluation sequences whose very tokens are in the training set too."""

    evaluation_prompts_also_trained: int = 0
    """Evaluation sequences that begin, up to the first trained token, as a training sequence does."""

    streaming: bool = False
    """Whether rows are read while they are trained on; the numbers are then those of the first rows."""

    from_cache: bool = False
    """Whether the training rows had been encoded before."""

    template: str = ""
    """The chat template's text; empty if no conversation was rendered."""

    left_out: LeftOut = field(default_factory=dict)
    """Files that folders and hubs hold besides those that are read: their number by source and reason."""

    tokenizer: TokenizerReport = field(default_factory=lambda: TokenizerReport(name=""))
    """Which tokenizer library encoded the training rows."""

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people."""
        files = few_files(self.files)
        lines = [line for file in files for line in (_file_line(file), *left_out_lines(file))]
        if self.streaming:
            lines.append(
                "streamed while training; what follows is of the first rows of each source"
            )
        lines += self.tokenizer.lines()
        lines += _set_lines("train", self.train)
        if len(self.sources) > 1:
            lines += [_source_line(source) for source in self.sources]
        if self.packing:
            filled = f"{self.efficiency:.1%} full"
            packs = f" in {self.batch_rows:,} packs" if self.batch_rows else ""
            lines.append(f"packed: {self.train.sequences:,} sequences{packs}, {filled}")
        else:
            lines.append(f"padding: {1 - self.efficiency:.1%} of all positions")
        if self.evaluate is not None:
            lines += _set_lines("evaluate", self.evaluate)
        if self.evaluation_rows_also_trained:
            rows = _rows(self.evaluation_rows_also_trained)
            lines.append(
                f"warning: in the training set too, word for word: {rows} of the evaluation set"
            )
        same = self.evaluation_prompts_also_trained - self.evaluation_rows_also_trained
        if same > 0:
            lines.append(
                f"warning: what a training row asks too, with another answer: {_rows(same)} of the evaluation set"
            )
        return lines


def set_report(rows_read: int, stored: Stored, dropped: Losses, notes: Losses) -> SetReport:
    """Count what became of a set's rows."""
    lengths = stored.lengths if len(stored) else np.zeros(1, np.int64)
    found = np.percentile(lengths, _PERCENTILES, method="lower")
    names = ("shortest", "median", "90 %", "99 %", "longest")
    return SetReport(
        rows_read=rows_read,
        rows_kept=rows_read - sum(count for count, _ in dropped.values()),
        sequences=len(stored),
        tokens=int(lengths.sum()),
        trained_tokens=int(stored.field("trained").sum(dtype=np.int64)),
        loss_weight=math.fsum(stored.loss_weights),
        lengths={name: int(value) for name, value in zip(names, found, strict=True)},
        histogram=_histogram(stored.lengths),
        duplicates=_duplicates(stored),
        dropped=_counts(dropped),
        notes=_counts(notes),
    )


def _histogram(lengths: Indices) -> tuple[tuple[int, int], ...]:
    if not len(lengths):
        return ()
    powers = np.ceil(np.log2(lengths)).astype(np.int64)  # exact for every length below 2 to the 48
    first, last = int(powers.min()), int(powers.max())
    counts = np.bincount(powers - first)
    return tuple((2**power, int(counts[power - first])) for power in range(first, last + 1))


def _duplicates(stored: Stored) -> Count:
    digests = stored.field("digest")
    _, first = np.unique(digests, return_index=True)
    again = np.ones(len(digests), np.bool_)
    again[first] = False
    places = np.flatnonzero(again)
    examples = tuple(str(stored[int(place)].origin) for place in places[:_EXAMPLES])
    return Count(rows=len(places), examples=examples)


def overlap(train: Stored, evaluate: Stored, part: str) -> int:
    """Evaluation sequences that share something with a training sequence: all tokens ("digest"), or the prompt ("prompt")."""
    if not len(evaluate):
        return 0
    asked = evaluate.field(part)
    return int(np.count_nonzero(np.isin(asked, train.field(part)) & (asked != 0)))


def file_reports(stored: Stored, files: Many[Identified]) -> list[FileReport]:
    """What was read of each file."""
    reports = []
    for found, one in zip(stored.about.files, files, strict=True):
        formats = Counter(found["formats"])
        reports.append(
            FileReport(
                name=one.file.name,
                format=formats.most_common(1)[0][0] if formats else "",
                formats=dict(formats),
                rows=int(found["rows"]),
                bytes=one.bytes,
                sha256=one.sha256,
                written_ns=one.written_ns,
                left_out=dict(found["left_out"]),
            )
        )
    return reports


def source_reports(data: Data, stored: Stored, layout: Layout | None) -> tuple[SourceReport, ...]:
    """What each source of the training set gives."""
    count = len(data.train)
    of = stored.sources
    drawn = None
    if isinstance(layout, MixedLayout):
        drawn = np.bincount(of[layout.drawn], minlength=count)
    rows = np.zeros(count, np.int64)
    for file in stored.about.files:
        rows[file["source"]] += file["rows"]
    sums = {
        name: np.bincount(of, stored.field(name), minlength=count) for name in ("length", "trained")
    }
    sequences = np.bincount(of, minlength=count)
    return tuple(
        SourceReport(
            name=source.source,
            rows_read=int(rows[number]),
            sequences=int(sequences[number]),
            tokens=int(sums["length"][number]),
            trained_tokens=int(sums["trained"][number]),
            weight=source.weight,
            drawn=None if drawn is None else int(drawn[number]),
        )
        for number, source in enumerate(data.train)
    )


def _source_line(source: SourceReport) -> str:
    line = f"  {source.name}: {source.sequences:,} sequences, {source.tokens:,} tokens"
    if source.weight is None or source.drawn is None:
        return line
    first, last = source.weight
    weight = f"{first:g}" if first == last else f"{first:g} to {last:g}"
    return f"{line}; weight {weight}: {source.drawn:,} drawn, each {source.repeats:.2f} times"


def few_files(files: Many[FileReport], most: int = _FILE_LINES) -> Many[FileReport]:
    """Files to name to people: all, or the first ones and one that stands for all others together."""
    if len(files) <= most:
        return files
    others = files[most - 1 :]
    formats = sum((Counter(file.formats) for file in others), Counter[str]())
    together = replace(
        others[0],
        name=f"{len(others):,} other files",
        format=next(iter(formats), ""),
        formats=dict(formats),
        rows=sum(file.rows for file in others),
        bytes=sum(file.bytes for file in others),
        left_out=dict(sum((Counter(file.left_out) for file in others), Counter[str]())),
    )
    return [*files[: most - 1], together]


def _file_line(file: FileReport) -> str:
    if not file.rows:
        return f"{file.name}: not read yet, or the rows before it are enough"
    if len(file.formats) == 1:
        return f"{file.name}: {_rows(file.rows)}, format {file.format}"
    mixed = ", ".join(f"{count:,} {name}" for name, count in Counter(file.formats).most_common())
    return f"{file.name}: {_rows(file.rows)}, formats {mixed}"


def left_out_lines(file: FileReport) -> list[str]:
    """What of a file is not taken, for people."""
    return [
        f"{file.name}: left out: {reason}: {count:,}" for reason, count in file.left_out.items()
    ]


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _counts(losses: Losses) -> dict[str, Count]:
    return {
        what: Count(rows=count, examples=examples)
        for what, (count, examples) in sorted(losses.items())
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
    if part.duplicates.rows:
        lines.append(
            f"  note: exact repeats of an earlier row: {part.duplicates.rows:,} (such as {', '.join(part.duplicates.examples)})"
        )
    return lines
