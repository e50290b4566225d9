"""The rows that a recipe trains on, chosen to be looked at, and the forms they are shown in: terminal, JSON, page."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
from rich.console import Console

from xtune.data.problems import refuse
from xtune.data.report import DataReport
from xtune.data.store import Stored
from xtune.errors import XtuneError
from xtune.report.lengths import histogram
from xtune.report.opened import OpenedData
from xtune.report.pieces import Reader, ShownRow
from xtune.report.printed import Printed
from xtune.report.row_text import Marks, row_lines, table_lines
from xtune.report.rows_page import Page, cards_html, page_html
from xtune.shown import visible

SetName = Literal["train", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class DataView(Printed):
    """Some rows of a training or evaluation set, as training sees them; each is decoded when it is shown."""

    name: str
    """The recipe's name."""

    set: SetName
    stored: Stored
    """The whole set."""

    places: npt.NDArray[np.int64]
    """Which of its sequences are shown."""

    row: int | None
    """The row of a file that was asked for; None for the first rows."""

    reader: Reader
    notes: tuple[str, ...]
    """What a person should know of the set: packed, shuffled, refused by this machine."""

    facts: tuple[tuple[str, str], ...]
    """Numbers of the whole set, each with its name."""

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[ShownRow]:
        keys = self.stored.field("file").astype(np.int64) << 48 | self.stored.field("row")
        # the sequences of a row stand together
        _, first, which, sizes = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        for place in self.places.tolist():
            sequence = self.stored[place]
            yield ShownRow(
                sequence=sequence,
                pieces=tuple(self.reader.pieces(sequence)),
                part=place - int(first[which[place]]) + 1,
                parts=int(sizes[which[place]]),
                notes=_happened(self.stored, "note", keys[place]),
            )

    @property
    def heading(self) -> str:
        """Which rows these are, in words."""
        kind = "training" if self.set == "train" else "evaluation"
        total = len(self.stored)
        every = f"{total:,} {kind} sequence{'' if total == 1 else 's'}"
        if self.row is not None:
            return f"{self.name}: row {self.row} of its file, {len(self):,} of {every}"
        if len(self) == total:
            return f"{self.name}: all {every}, in the order of the files"
        return f"{self.name}: the first {len(self):,} of {every}, in the order of the files"

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
        rows = list(self)
        console.print(marks.legend(rows), soft_wrap=True)
        for row in rows:
            console.print()
            for text in row_lines(row, marks):
                console.print(text, soft_wrap=True)
            if table:
                console.print()
                for text in table_lines(row, marks):
                    console.print(text, soft_wrap=True)

    def json_lines(self) -> Iterator[str]:
        """One JSON object a row."""
        for place in self.places.tolist():
            yield json.dumps(self.reader.to_json(self.stored[place]), ensure_ascii=False)

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

    def _repr_html_(self) -> str:
        return cards_html(self._page())

    def _page(self) -> Page:
        return Page(
            title=f"{self.name}: {'training' if self.set == 'train' else 'evaluation'} data",
            heading=self.heading,
            notes=self.notes,
            facts=self.facts,
            lengths=histogram(self.stored.lengths),
            rows=tuple(self),
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
    prepared = opened.trained()
    stored = prepared.train if set == "train" else prepared.evaluate
    if not len(stored):
        refuse("The recipe has no evaluation rows", where="data.evaluate")
    places = np.arange(len(stored))[:count]
    if row is not None:
        places = np.flatnonzero(stored.field("row") == row)
        if not len(places):
            _refuse_absent(stored, set, row)
    return DataView(
        name=name,
        set=set,
        stored=stored,
        places=places,
        row=row,
        reader=Reader(opened.tokenizer),
        notes=tuple(_notes(opened, prepared.report, set)),
        facts=_facts(prepared.report, set),
    )


def _refuse_absent(stored: Stored, set: SetName, row: int) -> None:
    """Say why nothing of a row is trained on.

    Raises:
        DataError: Always.
    """
    reasons = []
    for number, file in enumerate(stored.about.files):
        key = np.int64(number) << 48 | row
        reasons += [f"{file['name']}: {what}" for what in _happened(stored, "drop", key)]
    last = int(stored.field("row").max())
    refuse(
        f"Nothing of row {row} is in `data.{set}`",
        where="; ".join(reasons),
        allowed="it was dropped"
        if reasons
        else f"rows are counted from 0 in each file, and the last one in use is row {last:,}",
    )


def _happened(stored: Stored, sort: str, key: np.int64) -> tuple[str, ...]:
    """What was noted of a row, or why it was dropped; its key is its file's number and its own."""
    events = stored.events
    mine = events[(events["file"] == key >> 48) & (events["row"] == key & ((1 << 48) - 1))]
    kinds = [stored.about.kinds[kind] for kind in mine["kind"].tolist()]
    return tuple(what for kind, what in kinds if kind == sort)


def _notes(opened: OpenedData, report: DataReport, set: SetName) -> Iterator[str]:
    data = opened.plan.recipe.data
    if set == "train" and report.streaming:
        yield f"streamed: training reads on behind these rows, and shuffles within windows; counted are the first {report.train.rows_read:,} rows"
    elif set == "train" and report.packing:
        yield (
            f"packed: in training {report.train.sequences:,} sequences share {report.batch_rows:,} packs of "
            f"at most {data.max_tokens:,} tokens, isolated from one another; here each is shown alone"
        )
    if set == "train" and not report.streaming:
        yield f"training takes them in another order in every epoch, by run.seed ({opened.plan.recipe.run.seed})"
    part = report.train if set == "train" else report.evaluate
    if part is not None:
        for heading, counts in (("note", part.notes), ("dropped", part.dropped)):
            for what, count in counts.items():
                rows = "1 row" if count.rows == 1 else f"{count.rows:,} rows"
                yield f"{heading}: {what}: {rows}, such as {visible(', '.join(count.examples))}"
    if opened.machine is not None:
        yield f"this machine could not train it: {opened.machine}"


def _facts(report: DataReport, set: SetName) -> tuple[tuple[str, str], ...]:
    part = report.train if set == "train" else report.evaluate
    if part is None:
        return ()
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
