"""Reads JSON Lines, and JSON that is a list of rows, value by value in bounded memory; it knows no row format."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xtune.data.json_keys import KeyNotingDecoder
from xtune.data.json_limits import unfit
from xtune.data.magic import LOOKED_AT, check_page
from xtune.data.problems import Problems, described, refuse, shortened
from xtune.data.starts import BEGINNING, SkippedLines, Start, from_row, refuse_fewer
from xtune.data.streams import text_pieces
from xtune.data.sums import RunningSum
from xtune.data.types import Origin, Record

LONGEST_VALUE = 64 << 20
"""Characters of one row, or of a JSON object that holds the rows; ours: what must be in memory at once stays bounded."""

_BLANKS = re.compile(r"[ \t\r\n]*")
_LIST_EXPECTED = "a list of rows, or an object with one list of rows, is expected"


class Line(NamedTuple):
    """A line with its one-based number, or a part of one: the last line ends with the file."""

    number: int
    text: str


def lines_of(path: Path, name: str, start: Start = BEGINNING) -> Iterator[Line]:
    r"""The lines of a text file without their ends; they end at \n alone: U+2028 and the like are text.

    Lines that are not blank are rows; those before the row to start with are counted, not decoded.

    Raises:
        DataError: The file cannot be read, is not in UTF-8, or has a line longer than `LONGEST_VALUE`.
    """
    skipped = SkippedLines(start.row)
    number, rest = -1, ""
    for piece in text_pieces(path, name, start.into, skipped=skipped):
        if number < 0:
            number = skipped.lines
        lines = (rest + piece).split("\n")
        rest = lines.pop()
        for line in lines:
            number += 1
            yield Line(number, line)
        if len(rest) > LONGEST_VALUE:
            refuse(
                f"The line is longer than {LONGEST_VALUE >> 20} million characters",
                where=f"{name}:{number + 1}",
                allowed="a row is one line",
            )
    if rest:
        yield Line(number + 1, rest)
    skipped.end()
    if skipped.rows > 0:
        refuse_fewer(name, start.row - skipped.rows, start)


def _begins_spread_json(line: str) -> bool:
    """Whether a first line opens a list or an object that goes on below: `[`, `{`, `[{"prompt": "Hi"},`."""
    return line in {"[", "{", "[{"} or (line.startswith("[") and line.endswith(","))


def read_json_lines(
    path: Path, name: str, problems: Problems, start: Start = BEGINNING
) -> Iterator[Record]:
    """The rows of a file with one JSON value a line; blank lines are none.

    Raises:
        DataError: The file as a whole cannot be read.
    """
    row, decoder = start.row, KeyNotingDecoder()
    for number, line in lines_of(path, name, start):
        if not line or line.isspace():
            continue
        if row == 0 and _begins_spread_json(line.strip()):
            _refuse_spread_json(path, name)
        origin = Origin(source=name, row=row, line=number)
        row += 1
        try:
            value = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            if origin.row == 0:
                _refuse_other(line, error, origin)
            problems.add(f"The line is not JSON: {fault_of(line, error)}", where=str(origin))
            continue
        record = record_of(value, line, origin, problems, decoder)
        if record is not None:
            yield record


def read_json(
    path: Path, name: str, problems: Problems, start: Start = BEGINNING
) -> Iterator[Record]:
    """The rows of a JSON file: of a list, of an object's one list, or of objects one a line, as many `.json` files have it.

    Raises:
        DataError: The file as a whole cannot be read.
    """
    window = _Window(path, name, start.into)
    window.skip_blanks()
    if window.at_end():
        refuse("The file holds no rows", where=name)
    if window.text[window.at] == "[":
        yield from from_row(_list_rows(window, problems), start, name)
    elif _is_lines(window):
        yield from read_json_lines(path, name, problems, start)
    else:
        items = _rows_of(window.whole(), name)
        found = (
            record_of(item, None, Origin(source=name, row=row), problems, window.decoder)
            for row, item in enumerate(items)
        )
        rows = (record for record in found if record is not None)
        yield from from_row(rows, start, name)


class _Window:
    """A part of a JSON text that slides over the file."""

    def __init__(self, path: Path, name: str, into: RunningSum | None) -> None:
        self.name = name
        self.text = ""
        self.at = 0
        self.line = 1
        """Line that `text` begins in."""
        self.column = 0
        """Characters of that line before `text`."""
        self.decoder = KeyNotingDecoder()
        self._pieces = text_pieces(path, name, into)
        self._ended = False

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        piece = next(self._pieces, None)
        if piece is None:
            self._ended = True
            return False
        self.line += self.text.count("\n", 0, self.at)
        line_end = self.text.rfind("\n", 0, self.at) + 1
        self.column = self.at - line_end + (0 if line_end else self.column)
        self.text = self.text[self.at :] + piece
        self.at = 0
        return True

    def skip_blanks(self) -> None:
        while True:
            self.at = _behind_blanks(self.text, self.at)
            if self.at < len(self.text) or not self.more():
                return

    def at_end(self) -> bool:
        return self.at >= len(self.text)

    def first_line(self) -> str:
        while "\n" not in self.text and len(self.text) < LONGEST_VALUE and self.more():
            pass
        return self.text[self.at :].partition("\n")[0]

    def value(self) -> tuple[Any, str]:
        """The value that begins here, with its text.

        Raises:
            DataError: It is no JSON, or longer than a row may be.
        """
        size = 0
        while True:
            try:
                value, end = self.decoder.decode_at(self.text, self.at)
            except (ValueError, RecursionError) as error:
                fault: Exception | None = error
                end = len(self.text)
            else:
                fault = None
                behind = _behind_blanks(self.text, end)
                # a number may go on in the next piece; only a comma or a bracket proves its end
                if self.text[behind : behind + 1] in {",", "]"} or self._ended:
                    text = self.text[self.at : end]
                    self.at = end
                    return value, text
            size = max(2 * size, len(self.text) - self.at + 1)
            if self._ended or len(self.text) - self.at > LONGEST_VALUE:
                self._refuse(fault)
            while len(self.text) - self.at < size and self.more():
                pass

    def _refuse(self, fault: Exception | None) -> None:
        if fault is None or (len(self.text) - self.at > LONGEST_VALUE and self._cut_off(fault)):
            what = f"A row is longer than {LONGEST_VALUE >> 20} million characters"
            refuse(what, where=f"{self.name}:{self.line + self.text.count(chr(10), 0, self.at)}")
        refuse(
            f"The file is not JSON: {fault_of(self.text, fault, self.line, self.column)}",
            where=self.name,
        )

    def _cut_off(self, fault: Exception) -> bool:
        return isinstance(fault, json.JSONDecodeError) and fault.pos >= len(self.text) - 8

    def whole(self) -> Any:
        """The file's one value.

        Raises:
            DataError: It is no JSON, or too large to be read at once.
        """
        pieces = [self.text]
        size = len(self.text)
        for piece in self._pieces:
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST_VALUE:
                refuse(
                    f"The file is one JSON object of more than {LONGEST_VALUE >> 20} million characters",
                    where=self.name,
                    allowed="of larger files, only lists of rows are read",
                    advice="write one row per line, and name the file .jsonl.",
                )
        text = "".join(pieces)
        try:
            return self.decoder.decode(text)
        except (ValueError, RecursionError) as error:
            refuse(f"The file is not JSON: {fault_of(text, error)}", where=self.name)


def _behind_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)  # it matches nothing, too
    return found.end() if found else at


def _is_lines(window: _Window) -> bool:
    """Whether a file named .json has one object a line: its first line is one, and something follows."""
    line = window.first_line()
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    while not window.text[window.at + len(line) :].strip():
        if not window.more():
            return False
    return True


def _list_rows(window: _Window, problems: Problems) -> Iterator[Record]:
    window.at += 1
    row = 0
    while True:
        window.skip_blanks()
        if not window.at_end() and window.text[window.at] == "]" and row == 0:
            break
        value, text = window.value()
        record = record_of(
            value, text, Origin(source=window.name, row=row), problems, window.decoder
        )
        if record is not None:
            yield record
        row += 1
        window.skip_blanks()
        mark = window.text[window.at : window.at + 1]
        if mark == "]":
            break
        if mark != ",":
            line = window.line + window.text.count("\n", 0, window.at)
            found = f"{mark!r} stands there" if mark else "it is cut off"
            refuse(
                f"The file is not JSON: {found}",
                where=f"{window.name}:{line}",
                allowed=f"`,` or `]` must follow row {row - 1} of the list",
            )
        window.at += 1
    window.at += 1
    window.skip_blanks()
    if not window.at_end():
        refuse(
            f"The file is not JSON: {shortened(window.text[window.at :], 40)!r} follows its list",
            where=window.name,
            allowed="one list is the whole file",
        )


def record_of(
    value: Any, text: str | None, origin: Origin, problems: Problems, decoder: KeyNotingDecoder
) -> Record | None:
    """A row of a value and the text it was written as; None, and a problem, if no row can be that."""
    if not isinstance(value, (dict, list, str)):
        problems.add(
            f"The row is {described(value)}",
            where=str(origin),
            allowed="a row is an object, a list or a text",
        )
        return None
    fault = unfit(value, text)
    if fault is not None:
        problems.add(f"The row {fault[0]}", where=str(origin), allowed=fault[1])
        return None
    return Record(value=value, origin=origin, doubled=decoder.doubled(value))


def fault_of(text: str, error: Exception | None, line: int = 1, column: int = 0) -> str:
    """What is wrong with a JSON text that begins in a line of its file, behind so many of its characters."""
    if isinstance(error, json.JSONDecodeError):
        near = shortened(text[max(0, error.pos - 15) : error.pos + 25], 40)
        number = error.lineno + line - 1
        at = error.colno + (column if error.lineno == 1 else 0)
        place = f"line {number}, column {at}" if number > 1 else f"column {at}"
        return f"{error.msg} at {place}, near {near!r}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _refuse_spread_json(path: Path, name: str) -> None:
    """End here if a file named as JSON Lines is one JSON value over many lines."""
    text = ""
    for piece in text_pieces(path, name):
        text += piece
        if len(text) > LONGEST_VALUE:
            return
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return  # broken in another way, which its lines tell
    refuse(
        "The file is one JSON value over several lines",
        where=name,
        allowed="a .jsonl file has one value per line",
        advice="name it .json.",
    )


def _refuse_other(line: str, error: Exception, origin: Origin) -> None:
    """End here if the first line shows that the whole file is something else.

    Raises:
        DataError: It is a web page, or its lines end in a carriage return alone.
    """
    check_page(line[:LOOKED_AT].encode(), origin.source)
    if isinstance(error, json.JSONDecodeError) and line[: error.pos].endswith("\r"):
        refuse(
            "The lines end in a carriage return alone",
            where=str(origin),
            allowed="a line ends in a line feed",
            advice="save the file with Unix or Windows line ends.",
        )


def _rows_of(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        refuse(f"The file is {described(value)}", where=name, allowed=_LIST_EXPECTED)
    lists = [key for key, item in value.items() if isinstance(item, list)]
    if len(lists) != 1:
        found = f"{len(lists)} lists" if lists else "no list"
        refuse(
            f"The file is {described(value)}, with {found} among them",
            where=name,
            allowed=_LIST_EXPECTED,
            advice="if it only describes data, name the files with the rows.",
        )
    rows: list[Any] = value[lists[0]]
    return rows
