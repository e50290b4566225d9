"""The rows that a recipe trains on, chosen to be looked at, and the forms they are shown in: terminal, JSON, page."""

import json
from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from rich.console import Console

from xtune.data.problems import refuse
from xtune.data.types import Origin, Sequence
from xtune.errors import XtuneError
from xtune.report.lengths import Histogram, histogram
from xtune.report.opened import OpenedData
from xtune.report.pieces import Reader, ShownRow
from xtune.report.row_text import Marks, row_lines, table_lines
from xtune.report.rows_page import Page, cards_html, page_html

SetName = Literal["train", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class DataView:
    """Some rows of a training or evaluation set, as training sees them."""

    name: str
    """The recipe's name."""

    set: SetName
    rows: tuple[ShownRow, ...]
    total: int
    """Sequences of the whole set."""

    whole_row: int | None
    """The row of the file that was asked for; None for the first rows."""

    notes: tuple[str, ...]
    """What a person should know of the set: packed, shuffled, refused by this machine."""

    lengths: Histogram | None
    """Tokens of all sequences of the set."""

    facts: tuple[tuple[str, str], ...]
    """Numbers of the whole set, each with its name."""

    @property
    def heading(self) -> str:
        """Which rows these are, in words."""
        kind = "training" if self.set == "train" else "evaluation"
        every = f"{self.total:,} {kind} sequence{'' if self.total == 1 else 's'}"
        if self.whole_row is not None:
            return f"{self.name}: row {self.whole_row} of its file, {len(self.rows)} of {every}"
        if len(self.rows) == self.total:
            return f"{self.name}: all {every}, in the order of the files"
        return f"{self.name}: the first {len(self.rows):,} of {every}, in the order of the files"

    def print(self, stream: IO[str] | None = None, *, table: bool = False) -> None:
        """Show the rows on a terminal in colour, elsewhere in brackets.

        Args:
            stream: Where to; default: standard output.
            table: Also list the tokens one by one, with id, label and weight.
        """
        console = Console(file=stream, highlight=False, soft_wrap=False)
        marks = Marks.for_console(console)
        for line in (self.heading, *self.notes):
            console.print(line, markup=False, soft_wrap=True)
        console.print(marks.legend(self.rows), soft_wrap=True)
        for row in self.rows:
            console.print()
            for text in row_lines(row, marks):
                console.print(text, soft_wrap=True)
            if table:
                console.print()
                for text in table_lines(row, marks):
                    console.print(text, soft_wrap=True)

    def json_lines(self) -> Iterator[str]:
        """One JSON object a row."""
        for row in self.rows:
            yield json.dumps(row.to_json(), ensure_ascii=False)

    def html(self) -> str:
        """The rows as one page that needs nothing but itself."""
        return page_html(self._page())

    def write_html(self, file: str | Path) -> Path:
        """Write the page.

        Raises:
            XtuneError: The file cannot be written.
        """
        path = Path(file).expanduser()
        try:
            path.write_text(self.html(), encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise XtuneError(f"The page cannot be written to {path}: {reason}.") from None
        return path

    def __str__(self) -> str:
        from io import StringIO  # noqa: PLC0415 - for this alone

        stream = StringIO()
        self.print(stream)
        return stream.getvalue().rstrip()

    def _repr_html_(self) -> str:
        return cards_html(self._page())

    def _page(self) -> Page:
        return Page(
            title=f"{self.name}: {'training' if self.set == 'train' else 'evaluation'} data",
            heading=self.heading,
            notes=self.notes,
            facts=self.facts,
            lengths=self.lengths,
            rows=self.rows,
        )


def view(
    opened: OpenedData, *, name: str, set: SetName, count: int | None, row: int | None
) -> DataView:
    """The first rows of a set, or all that became of one row.

    Args:
        opened: The data of a recipe.
        name: The recipe's name.
        set: Which rows.
        count: How many sequences at most; None for all.
        row: Zero-based index of a row in its file, instead of the first rows.

    Raises:
        DataError: What would keep the data from being trained on; or there are no such rows.
    """
    if opened.refusal is not None:
        raise opened.refusal
    if opened.prepared is None:
        raise ValueError("data that was neither prepared nor refused")  # noqa: DOC501 - cannot be
    sequences = opened.prepared.train if set == "train" else opened.prepared.evaluate
    if not sequences:
        refuse("The recipe has no evaluation rows", where="data.evaluate")
    chosen = _chosen(sequences, count, row)
    if not chosen:
        _refuse_absent(opened, set, row, sequences)
    reader, cut = Reader(opened.tokenizer), _cut_note(opened)
    parts = Counter(_key(sequence.origin) for sequence in sequences)
    seen: Counter[tuple[str, int]] = Counter()
    shown = []
    for sequence in chosen:
        key = _key(sequence.origin)
        seen[key] += 1
        notes = (cut[1],) if cut is not None and len(sequence) == cut[0] else ()
        shown.append(reader.row(sequence, part=seen[key], parts=parts[key], notes=notes))
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    return DataView(
        name=name,
        set=set,
        rows=tuple(shown),
        total=len(sequences),
        whole_row=row,
        notes=tuple(_notes(opened, set)),
        lengths=histogram(lengths),
        facts=_facts(opened, set),
    )


def _chosen(sequences: Many[Sequence], count: int | None, row: int | None) -> list[Sequence]:
    if row is not None:
        return [sequence for sequence in sequences if sequence.origin.row == row]
    return list(islice(sequences, count))


def _key(origin: Origin) -> tuple[str, int]:
    return origin.source, origin.row


def _refuse_absent(
    opened: OpenedData, set: SetName, row: int | None, sequences: Many[Sequence]
) -> None:
    """Say why a row is not there, as far as that is known.

    Raises:
        DataError: Always.
    """
    last = max(sequence.origin.row for sequence in sequences)
    report = opened.prepared.report if opened.prepared is not None else None
    part = None if report is None else report.train if set == "train" else report.evaluate
    dropped = ", ".join(part.dropped) if part is not None else ""
    refuse(
        f"No sequence of `data.{set}` comes from row {row}",
        allowed=f"rows are counted from 0 in each file, and the last one in use is row {last:,}",
        advice=f"rows were dropped, too ({dropped}); `xtune data check` tells which."
        if dropped
        else "",
    )


def _cut_note(opened: OpenedData) -> tuple[int, str] | None:
    """The length of a row that was cut, and what to say of it; None if rows are not cut."""
    if opened.plan.over_length.value != "truncate":
        return None
    longest = opened.plan.recipe.data.max_tokens
    return longest, f"fills data.max_tokens ({longest:,}): what was longer has been cut off here"


def _notes(opened: OpenedData, set: SetName) -> Iterator[str]:
    if opened.prepared is None:
        return
    report, data = opened.prepared.report, opened.plan.recipe.data
    if set == "train" and report.packing:
        yield (
            f"packed: in training {report.train.sequences:,} sequences share {report.batch_rows:,} packs of "
            f"at most {data.max_tokens:,} tokens, isolated from one another; here each is shown alone"
        )
    if set == "train":
        yield f"training takes them in another order in every epoch, by run.seed ({opened.plan.recipe.run.seed})"
    part = report.train if set == "train" else report.evaluate
    for what, count in (part.notes if part is not None else {}).items():
        yield f"note: {what}: {count.rows:,} rows (such as {', '.join(count.examples)})"
    for what, count in (part.dropped if part is not None else {}).items():
        yield f"dropped: {what}: {count.rows:,} rows (such as {', '.join(count.examples)})"
    if opened.machine is not None:
        yield f"This machine could not train it: {opened.machine}"


def _facts(opened: OpenedData, set: SetName) -> tuple[tuple[str, str], ...]:
    report: Any = opened.prepared.report if opened.prepared is not None else None
    part = report.train if set == "train" else report.evaluate
    share = part.trained_tokens / part.tokens if part.tokens else 0.0
    facts = [
        ("rows read", f"{part.rows_read:,}"),
        ("rows kept", f"{part.rows_kept:,}"),
        ("sequences", f"{part.sequences:,}"),
        ("tokens", f"{part.tokens:,}"),
        ("trained on", f"{part.trained_tokens:,} ({share:.0%})"),
        ("median length", f"{part.lengths['median']:,}"),
        ("longest", f"{part.lengths['longest']:,}"),
    ]
    if set == "train" and report.packing:
        facts.append(("packs", f"{report.batch_rows:,}, {report.efficiency:.1%} full"))
    return tuple(facts)
