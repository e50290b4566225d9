"""Rows of numbers and texts as a table, in a notebook and as text; it knows nothing of what they mean."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, overload

FIRST_ROWS, LAST_ROWS = 5, 15
"""Rows of a long table that are shown: how it began and how it ended."""

CELL_CHARACTERS = 600
"""Longest text in a cell; the rows hold the whole texts."""


class Table(Sequence[Mapping[str, Any]]):
    """Rows by name of column; a cell that a row does not have is empty."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, caption: str = "") -> None:
        """Hold the rows; columns come in the order in which they first appear."""
        self._rows = tuple(rows)
        self.caption = caption
        self.columns = tuple(dict.fromkeys(name for row in self._rows for name in row))

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> "Table": ...
    def __getitem__(self, index: int | slice) -> "Mapping[str, Any] | Table":
        if isinstance(index, slice):
            return Table(self._rows[index], caption=self.caption)
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> list[Any]:
        """The values of a column, of the rows that have one.

        Raises:
            KeyError: There is no such column.
        """
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        return [row[name] for row in self._rows if name in row]

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame (pandas comes with `datasets`)."""
        import pandas as pd  # noqa: PLC0415 - half a second that only this method costs

        return pd.DataFrame([dict(row) for row in self._rows], columns=list(self.columns))

    def __str__(self) -> str:
        lines = [list(self.columns)]
        for row in self._shown():
            cells = ["..."] * len(self.columns) if row is None else self._cells(row)
            lines.append([cell.replace("\n", " ") for cell in cells])
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([self.caption, *text] if self.caption else text)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{self._row_html(row)}</tr>" for row in self._shown())
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _row_html(self, row: Mapping[str, Any] | None) -> str:
        if row is None:
            return f'<td colspan="{len(self.columns)}">&hellip;</td>'
        style = "text-align:start;vertical-align:top;white-space:pre-wrap"
        return "".join(
            f'<td dir="auto" style="{style}">{escape(cell)}</td>' for cell in self._cells(row)
        )

    def _shown(self) -> Iterator[Mapping[str, Any] | None]:
        """The rows to show; None stands for those between."""
        if len(self._rows) <= FIRST_ROWS + LAST_ROWS:
            yield from self._rows
            return
        yield from self._rows[:FIRST_ROWS]
        yield None
        yield from self._rows[-LAST_ROWS:]

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        return [cell_text(row.get(name)) for name in self.columns]


def cell_text(value: Any) -> str:
    """A value as people read it: numbers in four digits, shortened text, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= CELL_CHARACTERS else f"{text[:CELL_CHARACTERS]} ..."
