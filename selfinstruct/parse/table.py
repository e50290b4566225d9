"""Reads replies whose tasks stand in a table, a task in each row: Markdown, or CSV as a whole; tables inside an answer are text."""

import csv
import html
import io

import regex

from selfinstruct.labels import Part, label_of, without_no_input
from selfinstruct.types import Dropped, Task

_CELL_END = regex.compile(r"(?<!\\)\|")
_RULE = regex.compile(
    r"[^\S\n]*+\|?[^\S\n]*+:?-{2,}+:?[^\S\n]*+(?:\|[^\S\n]*+:?-{2,}+:?[^\S\n]*+)*+\|?[^\S\n]*+"
)
_BREAK = regex.compile(r"<br\s*/?>", flags=regex.IGNORECASE)


def read_table(text: str) -> tuple[list[Task | Dropped], list[Dropped]] | None:
    r"""The tasks of the first table whose head names an instruction and an output; None where there is none.

    A line break inside a cell is `<br>`, a bar `\|`. A row with more or fewer cells than the head is dropped as
    `broken_row`: nobody can say which cell is which.
    """
    lines = text.split("\n")
    for index in range(len(lines) - 1):
        if "|" not in lines[index] or not _RULE.fullmatch(lines[index + 1]):
            continue
        head = [label_of(cell.strip("*_` ")) for cell in _cells(lines[index])]
        if "instruction" in head and "output" in head:
            return _read(lines, index, head)
    return None


def read_csv(text: str) -> tuple[list[Task | Dropped], list[Dropped]] | None:
    """The tasks of a reply that is CSV, with commas, semicolons or tabs; None where its first line is no such head.

    A row with more or fewer cells than the head is dropped as `broken_row`.
    """
    first = text.lstrip("\n").partition("\n")[0]
    for mark in ",;\t":
        head = [label_of(cell.strip('"_ ')) for cell in first.split(mark)]
        if "instruction" not in head or "output" not in head:
            continue
        try:
            rows = list(csv.reader(io.StringIO(text.strip("\n")), delimiter=mark))
        except csv.Error:  # a cell larger than the csv module takes
            return None
        return [_of_cells(row, head, mark.join(row)) for row in rows[1:] if any(row)], []
    return None


_ROW = regex.compile(r"<tr\b[^<>]{0,80}>(?P<cells>.*?)</tr>", flags=regex.DOTALL | regex.IGNORECASE)
_CELL = regex.compile(
    r"<t[hd]\b[^<>]{0,80}>(?P<text>.*?)</t[hd]>", flags=regex.DOTALL | regex.IGNORECASE
)


def read_html_table(text: str) -> tuple[list[Task | Dropped], list[Dropped]] | None:
    """The tasks of a table in HTML whose first row names an instruction and an output; None where there is none.

    A row with more or fewer cells than the head is dropped as `broken_row`.
    """
    if "<tr" not in text.lower():
        return None
    rows = [found["cells"] for found in _ROW.finditer(text)]
    cells = [
        [_BREAK.sub("\n", html.unescape(found["text"])).strip() for found in _CELL.finditer(row)]
        for row in rows
    ]
    head = [label_of(cell) for cell in cells[0]] if cells else []
    if "instruction" not in head or "output" not in head:
        return None
    pairs = zip(cells[1:], rows[1:], strict=True)
    return [_of_cells(row, head, source) for row, source in pairs if row], []


def _read(
    lines: list[str], start: int, head: list[Part | None]
) -> tuple[list[Task | Dropped], list[Dropped]]:
    end = start + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    around = (
        ("text before the table", "\n".join(lines[:start]).strip()),
        ("text after the table", "\n".join(lines[end:]).strip()),
    )
    return (
        [_row(line, head) for line in lines[start + 2 : end]],
        [Dropped(reason="preamble", detail=where, text=text) for where, text in around if text],
    )


def _row(line: str, head: list[Part | None]) -> Task | Dropped:
    return _of_cells(_cells(line), head, line)


def _of_cells(cells: list[str], head: list[Part | None], line: str) -> Task | Dropped:
    if len(cells) != len(head):
        detail = f"a row of {len(cells)} cells in a table of {len(head)} columns"
        return Dropped(reason="broken_row", detail=detail, text=line)
    parts = {part: cell for part, cell in zip(head, cells, strict=True) if part}
    for part in ("instruction", "output"):
        if not parts[part].strip():
            return Dropped(reason=f"missing_{part}", detail=f"no {part} in the row", text=line)
    return Task(
        instruction=parts["instruction"].strip(),
        input=without_no_input(parts.get("input", "")),
        output=parts["output"],
    )


def _cells(line: str) -> list[str]:
    inside = line.strip().removeprefix("|")
    cells = _CELL_END.split(inside)
    if len(cells) > 1 and not cells[-1].strip():
        cells.pop()  # the bar that closes the row
    return [_BREAK.sub("\n", cell.strip().replace("\\|", "|")).strip() for cell in cells]
