"""Where in a file reading starts: at its first row, or at a later one without parsing those before; it opens nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from xtune.data.problems import refuse
from xtune.data.sums import RunningSum
from xtune.data.types import Record


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a file is taken up: from its first row, or from a later one as if those before had been read."""

    row: int = 0
    """Zero-based; rows that are malformed count, too."""

    into: RunningSum | None = None
    """Takes up the file's bytes as they are on disk, skipped rows and all, where they are read in order."""


BEGINNING = Start()


def refuse_fewer(name: str, found: int, start: Start) -> NoReturn:
    """End here: rows were read before that the file no longer has.

    Raises:
        DataError: Always.
    """
    refuse(
        f"The file has {found:,} rows, and {start.row:,} of it were read before",
        where=name,
        allowed="a run goes on with the data it began with",
        advice="bring the old file back, or start a new run with run.folder=...",
    )


def from_row(records: Iterator[Record], start: Start, name: str) -> Iterator[Record]:
    """The rows from the one to start with, of a kind of file whose rows can only be found by parsing them.

    Raises:
        DataError: There are fewer.
    """
    found = 0
    for record in records:
        found = record.origin.row + 1
        if found > start.row:
            yield record
    if found < start.row:
        refuse_fewer(name, found, start)


class SkippedLines:
    r"""Lines at the beginning of a file that are counted and not decoded; they end at \n alone."""

    def __init__(self, rows: int) -> None:
        """Skip so many lines that are not blank, and the blank ones before the last of them."""
        self.rows = rows
        """Lines that are not blank, still to be skipped."""
        self.lines = 0
        """Lines skipped, blank ones too."""
        self._begun = b""
        """What the pieces so far hold of the line that goes on in the next one."""

    def take(self, data: bytes) -> int:
        """Bytes of the next piece that belong to skipped lines."""
        *lines, begun = data.split(b"\n")
        if not lines:
            self._begun = _shortest_like(self._begun + begun)
            return len(data)
        before = len(self._begun)
        lines[0] = self._begun + lines[0]
        if len(lines) < self.rows:
            self.lines += len(lines)
            self.rows -= sum(not is_blank(line) for line in lines)
            self._begun = _shortest_like(begun)
            return len(data)
        taken = -before
        for line in lines:
            taken += len(line) + 1
            self.lines += 1
            self.rows -= not is_blank(line)
            if not self.rows:
                return taken
        self._begun = _shortest_like(begun)
        return len(data)

    def end(self) -> None:
        """Take up that the file ends; its last line need not have an end."""
        self.rows -= bool(self._begun) and not is_blank(self._begun)


def is_blank(line: bytes) -> bool:
    """Whether a line is empty or white space of any script."""
    return not line or (line[0] not in _NO_BLANKS and line.decode("utf-8", "replace").isspace())


_NO_BLANKS = b'{["'
"""What a row begins with, nearly always."""

_LONG_LINE = 4096


def _shortest_like(begun: bytes) -> bytes:
    """The beginning of a line, shortened if that says as well whether the line is blank."""
    if len(begun) < _LONG_LINE or begun[:_LONG_LINE].decode("utf-8", "ignore").isspace():
        return begun
    return b"{"
