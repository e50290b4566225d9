"""What is known of a recipe's data as one report, for a terminal, a program and a notebook, with the verdict."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from xtune.data.report import Count, DataReport, SetReport, few_files, left_out_lines
from xtune.errors import XtuneError
from xtune.plan import Plan
from xtune.report.opened import OpenedData
from xtune.report.pieces import Reader
from xtune.report.printed import Printed
from xtune.report.survey import UNCLEAR, FileShare, Survey, survey
from xtune.shown import visible

READY = "Ready to train."
MIN_WIDTH = 60
"""Columns below which bars and tables are not squeezed further."""

_FILES = 20
"""Files that are named one by one; a folder may hold thousands. The JSON has them all."""


@dataclass(frozen=True, kw_only=True)
class DataCheck(Printed):
    """The report on a recipe's data, and whether training would take it."""

    name: str
    """The recipe's name."""

    plan: Plan
    report: DataReport | None
    """None if the rows cannot be encoded at all."""

    train: Survey | None
    evaluate: Survey | None
    refusals: tuple[XtuneError, ...]
    """What would keep it from training: the data, or this machine."""

    @property
    def ready(self) -> bool:
        """Whether training would start."""
        return not self.refusals

    def raise_any(self) -> None:
        """End here if training would refuse.

        Raises:
            XtuneError: Everything that would keep it from training.
        """
        if len(self.refusals) == 1:
            raise self.refusals[0]
        if self.refusals:
            raise XtuneError("\n".join(map(str, self.refusals)))

    def to_json(self) -> dict[str, Any]:
        """The verdict, the report and what the sets consist of, as plain JSON types."""
        report = self.report.to_json() if self.report is not None else {}
        for name, found in (("train", self.train), ("evaluate", self.evaluate)):
            if found is not None and report.get(name) is not None:
                report[name] |= found.to_json()
        return {
            "recipe": self.name,
            "ready": self.ready,
            "refusals": [str(refusal) for refusal in self.refusals],
            **report,
        }

    def print(self, stream: IO[str] | None = None, *, reasons: bool = True) -> None:
        """Print the report and the verdict.

        Args:
            stream: Where to; default: standard output.
            reasons: Also say why training would refuse; not where `raise_any` follows.
        """
        console = Console(file=stream, highlight=False)
        width = max(MIN_WIDTH, console.width)
        if self.report is not None:
            console.print(_files(self.report))
            console.print()
            console.print(_sets(self.report))
            for line in self._lines(self.report, width):
                console.print(line, markup=False, soft_wrap=True)
        console.print()
        console.print(READY if self.ready else "Training would refuse this:", style="bold")
        for refusal in self.refusals if reasons else ():
            console.print(str(refusal), markup=False, soft_wrap=True)

    def _repr_html_(self) -> str:
        bars = [
            found.lengths.svg(f"tokens in a sequence of the {kind} set")
            for kind, found in (("training", self.train), ("evaluation", self.evaluate))
            if found is not None and found.lengths is not None
        ]
        style = "<style>.xtune-check svg{max-width:36rem;fill:currentColor;font:11px sans-serif} .xtune-check .bar{fill:#1f6feb}</style>"
        return (
            f'{style}<div class="xtune-check"><pre>{escape(str(self))}</pre>{"".join(bars)}</div>'
        )

    def _lines(self, report: DataReport, width: int) -> Iterator[str]:
        for line in chain.from_iterable(map(left_out_lines, few_files(report.files, _FILES))):
            yield f"\n{visible(line)}"
        yield ""
        if report.streaming:
            yield f"streamed: counted are the first {report.train.rows_read:,} rows; training reads on behind them"
        yield (
            f"packed: {report.train.sequences:,} sequences share {report.batch_rows:,} packs, {report.efficiency:.1%} full"
            if report.packing
            else f"padding: {1 - report.efficiency:.1%} of all positions"
        )
        for source in report.sources:
            if source.weight is not None and source.drawn is not None:
                yield (
                    f"source {visible(source.name)}: weight {_weight(source.weight)}, {source.drawn:,} sequences drawn "
                    f"in the whole training, each {source.repeats:.2f} times"
                )
        for name, part, found in (
            ("train", report.train, self.train),
            ("evaluate", report.evaluate, self.evaluate),
        ):
            if part is not None and found is not None:
                yield from _set_lines(name, part, found, width)
        yield from _overlap_lines(report)


def _overlap_lines(report: DataReport) -> Iterator[str]:
    """What the evaluation set has in common with the training set."""
    whole = report.evaluation_rows_also_trained
    if whole:
        yield f"\nwarning: in the training set too, word for word: {_rows(whole)} of the evaluation set"
    same = report.evaluation_prompts_also_trained - whole
    if same > 0:
        yield f"\nwarning: what a training row asks too, with another answer: {_rows(same)} of the evaluation set"


def check_data(opened: OpenedData, *, name: str) -> DataCheck:
    """Gather what is known of opened data.

    Args:
        opened: The data of a recipe.
        name: The recipe's name.
    """
    prepared, reader = opened.prepared, Reader(opened.tokenizer)
    train = evaluate = None
    if prepared is not None:
        train = survey(prepared.train, reader)
        evaluate = survey(prepared.evaluate, reader) if len(prepared.evaluate) else None
    refusals = (opened.refusal, opened.machine)
    return DataCheck(
        name=name,
        plan=opened.plan,
        report=prepared.report if prepared is not None else None,
        train=train,
        evaluate=evaluate,
        refusals=tuple(refusal for refusal in refusals if refusal is not None),
    )


def _files(report: DataReport) -> Table:
    table = _table("file", "rows", "format", "bytes")
    for file in few_files(report.files, _FILES):
        formats = file.formats or {file.format: file.rows}
        words = (
            ", ".join(f"{count:,} {name}" for name, count in formats.items())
            if len(formats) > 1
            else file.format or "not read"
        )
        table.add_row(_escaped(file.name), f"{file.rows:,}", words, f"{file.bytes:,}")
    return table


def _sets(report: DataReport) -> Table:
    parts = [part for part in (report.train, report.evaluate) if part is not None]
    table = _table("", "train", *(["evaluate"] if report.evaluate is not None else []))
    for name, of in (
        ("rows read", lambda part: f"{part.rows_read:,}"),
        ("rows kept", lambda part: f"{part.rows_kept:,}"),
        ("sequences", lambda part: f"{part.sequences:,}"),
        ("tokens", lambda part: f"{part.tokens:,}"),
        ("trained on", lambda part: f"{part.trained_tokens:,}"),
        ("  of all tokens", lambda part: f"{part.trained_tokens / max(1, part.tokens):.1%}"),
        ("exact repeats", lambda part: f"{part.duplicates.rows:,}"),
    ):
        table.add_row(name, *map(of, parts))
    for name in report.train.lengths:
        table.add_row(f"length, {name}", *(f"{part.lengths[name]:,}" for part in parts))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        text = column in {"", "file", "format"}
        table.add_column(column, justify="left" if text else "right", overflow="fold")
    return table


def _set_lines(name: str, part: SetReport, found: Survey, width: int) -> Iterator[str]:
    if found.lengths is not None:
        yield f"\n{name}: tokens in a sequence"
        yield from (f"  {line}" for line in found.lengths.lines(width - 2))
    if len(found.files) > 1:
        yield f"\n{name}: what comes from each file"
        for share in _few(found.files):
            yield f"  {visible(share.name)}: {_rows(share.rows)}, {share.tokens:,} tokens, {share.trained_tokens:,} trained on"
    if set(found.languages) - {UNCLEAR}:
        of = "" if found.looked_at == part.sequences else f" (of {found.looked_at:,} rows)"
        shares = (f"{language} {count:,}" for language, count in found.languages.items())
        yield f"\n{name}: languages{of}: {', '.join(shares)}"
    repeats = {"exact repeats of an earlier row": part.duplicates} if part.duplicates.rows else {}
    for heading, counts in (("dropped", part.dropped), ("note", part.notes | repeats)):
        yield from _counted(f"{name}: {heading}", counts.items())


def _few(shares: Sequence[FileShare]) -> Iterator[FileShare]:
    """The shares of the first files, and one of all others together."""
    whole = len(shares) if len(shares) <= _FILES else _FILES - 1
    yield from shares[:whole]
    if others := shares[whole:]:
        yield FileShare(
            name=f"{len(others):,} other files",
            rows=sum(share.rows for share in others),
            sequences=sum(share.sequences for share in others),
            tokens=sum(share.tokens for share in others),
            trained_tokens=sum(share.trained_tokens for share in others),
        )


def _counted(heading: str, counts: Iterable[tuple[str, Count]]) -> Iterator[str]:
    for what, count in counts:
        yield f"\n{heading}: {what}: {_rows(count.rows)}, such as {visible(', '.join(count.examples))}"


def _weight(weight: tuple[float, float]) -> str:
    first, last = weight
    return f"{first:g}" if first == last else f"{first:g} to {last:g}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _escaped(name: str) -> str:
    return visible(name).replace("[", r"\[")
