"""One file's rows in our one shape, lazily and in bounded memory; its format is recognised from its first rows."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple

from xtune.data.files import fingerprint, read_records
from xtune.data.formats import SHAPES, Row, check_columns, convert, fits, format_of
from xtune.data.json_keys import Doubled
from xtune.data.others import Other, other_of, unknown
from xtune.data.problems import Problems, listed, refuse
from xtune.data.sources import SourceFile
from xtune.data.starts import Start
from xtune.data.sums import NOTHING, Prefix, RunningSum
from xtune.data.trees import MessageTable, Tree, is_flat, is_turned_down, tree_size
from xtune.data.turns import Misfit
from xtune.data.types import Conversation, Origin, Record

__all__ = ["Mark", "Recogniser", "RowReader", "fingerprint"]

HEAD = 1000
"""Rows that a file's format is recognised from; ours: a mixed file shows itself in fewer."""

_MOST_SHAPES = 10_000
"""Different sets of columns that are remembered; ours: rows that name their columns anew each time must not fill the memory."""

HEAD_CHARACTERS = 4 << 20
"""Characters after which the first rows are enough, however few; ours: they are in memory together."""


class Mark(NamedTuple):
    """A place between two rows that were given out, from which reading goes on the same; plain JSON types."""

    row: int = 0
    """Zero-based row of the file that is read next; malformed ones count."""

    drop: int = 0
    """Rows given out before the mark that come again behind `row`: those of a message table end its file."""

    bytes: int = NOTHING.bytes
    """Bytes of the file, as it is on disk, that were read; 0 where they are not read in order."""

    sha256: str = NOTHING.sha256
    """Of these bytes."""


class RowReader:
    """The rows of one file, read as they are asked for."""

    def __init__(self, file: SourceFile, problems: Problems) -> None:
        self.file = file
        self.formats: Counter[str] = Counter()
        """Name of a format to the rows found in it so far."""
        self.rows = 0
        """Rows given out so far."""
        self.left_out: Counter[str] = Counter()
        """What belongs to rows given out and was not taken, by reason: replies of message trees."""
        self._problems = problems
        self._begun = self._mark = Mark()
        self._sum: RunningSum | None = None
        self._table = MessageTable()

    def __iter__(self) -> Iterator[Row]:
        """Read the file from its beginning; a row that does not fit goes to the problems.

        Raises:
            DataError: The file as a whole cannot be read, or is of a kind that is not trained on.
        """
        return self._read(Mark(), None)

    def resume(self, mark: Mark) -> Iterator[Row]:
        """Read on behind a mark, without parsing what is before it where that can be; from `Mark()`, all of it.

        The bytes that are read are summed, so that `mark` and `whole` know them.

        Raises:
            DataError: As above; or the file is not what it was before the mark.
        """
        expected = Prefix(mark.bytes, mark.sha256)
        return self._read(mark, RunningSum(self.file.name, expected))

    def mark(self) -> Mark:
        """Where the next row is."""
        read = NOTHING if self._sum is None else self._sum.prefix()
        if self._table:
            return self._begun._replace(
                drop=self._begun.drop + self.rows, bytes=read.bytes, sha256=read.sha256
            )
        return Mark(row=self._mark.row, bytes=read.bytes, sha256=read.sha256)

    def whole(self) -> str | None:
        """SHA-256 of the file; None while it is not at its end, and where its bytes are not read in order."""
        return None if self._sum is None else self._sum.whole()

    def _read(self, mark: Mark, into: RunningSum | None) -> Iterator[Row]:
        file, problems = self.file, self._problems
        self.formats.clear()
        self.rows, before = 0, problems.count
        self._begun = self._mark = mark
        self._sum, self._table = into, MessageTable()
        head, records = self._open(mark.row)
        if head:
            rows = Recogniser(head, file.name, file.format, file.columns)
            self.left_out = rows.left_out
            wanted = self._marked(chain(head, records), mark.row)
            found = rows.convert_all(wanted, problems, self._table)
            for format, row in islice(found, mark.drop, None):
                self.formats[format] += 1
                self.rows += 1
                yield row
        if not self.rows and problems.count == before and mark.row == mark.drop == 0:
            refuse("The file holds no rows", where=file.name)

    def _open(self, row: int) -> tuple[list[Record], Iterator[Record]]:
        """The first rows, by which the format is known, and those behind them or from `row` on, if that is later."""
        records = self._records(0, self._sum)
        head = _head(records)
        if not head or row <= head[-1].origin.row + 1:
            return head, records
        return head, self._records(row, self._sum)

    def _records(self, row: int, into: RunningSum | None) -> Iterator[Record]:
        file = self.file
        start = Start(row=row, into=into)
        return read_records(file.path, file.name, file.kind, self._problems, start)

    def _marked(self, records: Iterator[Record], first: int) -> Iterator[Record]:
        """The rows from the first that is wanted on, noting how far they were read."""
        for record in records:
            if record.origin.row >= first:
                self._mark = self._mark._replace(row=record.origin.row + 1)
                yield record


@dataclass(frozen=True)
class _Known:
    """What rows with the same columns are."""

    format: str | None
    other: Other | None


def _head(records: Iterator[Record]) -> list[Record]:
    """The first rows, fewer where they are long."""
    head: list[Record] = []
    size = 0
    for record in islice(records, HEAD):
        head.append(record)
        size += _characters(record.value)
        if size > HEAD_CHARACTERS:
            break
    return head


def _characters(value: Any) -> int:
    size, todo = 0, [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, (Mapping, list)):
            todo.extend(item.values() if isinstance(item, Mapping) else item)
    return size


class Recogniser:
    """The format of a file and, where it is mixed, of each of its rows."""

    def __init__(
        self, head: Sequence[Record], name: str, format: str, columns: Mapping[str, str]
    ) -> None:
        """Recognise the format from the first rows.

        Raises:
            DataError: They fit no known format, or one that is not trained on, or not the mapping.
        """
        self._columns = columns
        self._pinned = format != "auto"
        self._known: dict[tuple[frozenset[str], bool], _Known] = {}
        self.left_out: Counter[str] = Counter()
        """What belongs to rows and is not taken, by reason: replies of message trees."""
        _check_mapping(columns, head, name)
        self.format = format if self._pinned else ""
        """Format of most rows; empty until it is recognised."""
        if not self._pinned:
            self.format = self._main(head, name)
            self._known.clear()  # from here on, a row that also fits the file's format is of that

    def convert_all(
        self, records: Iterable[Record], problems: Problems, table: MessageTable | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Each row with its format; those that fit none go to `problems`.

        Args:
            records: The rows as the file holds them.
            problems: Takes up what is wrong with them.
            table: Keeps the messages of a flat table until the file ends.
        """
        table = MessageTable() if table is None else table
        for record in records:
            try:
                yield from self._of_record(record, table)
            except Misfit as misfit:
                _report(problems, record.origin, misfit)
        for found in table.trees():
            if not isinstance(found, Tree):
                _report(problems, *found)
                continue
            try:
                yield from self._of_tree(found.root, found.origin)
            except Misfit as misfit:
                _report(problems, found.origin, misfit)

    def _of_record(self, record: Record, table: MessageTable) -> Iterator[tuple[str, Row]]:
        """The rows of a record with their format; none for a message of a flat table, which waits there for the others.

        Raises:
            Misfit: The record fits no format.
        """
        format = self._format_of(record)
        if format != "oasst":
            yield format, convert(record.value, format, record.origin, self._columns)
        elif is_flat(record.value):
            table.add(record)
        else:
            yield from self._of_tree(record.value, record.origin)

    def _refuse_doubled(self, doubled: Iterable[Doubled], format: str) -> None:
        """Refuse a row that gives a key two values in what its format reads; elsewhere they do no harm.

        Raises:
            Misfit: It does.
        """
        shape = SHAPES[format]
        read = {*shape.required, *shape.optional, *self._columns.values(), "conversation"}
        for one in doubled:
            if one.column is None or one.column in read or format == "oasst":
                raise Misfit(
                    f"`{one.path}` stands twice in the row, with two values",
                    "a key stands once",
                    "leave one of them out.",
                )

    def _of_tree(self, tree: Any, origin: Origin) -> Iterator[tuple[str, Row]]:
        if isinstance(tree, Mapping) and is_turned_down(tree):
            self.left_out["trees whose prompt was turned down"] += 1
            return
        row = convert(tree, "oasst", origin, self._columns)
        if isinstance(row, Conversation):
            self.left_out["replies beside the best-ranked path"] += tree_size(tree) - len(
                row.messages
            )
        yield "oasst", row

    def _format_of(self, record: Record) -> str:
        format = self.format
        if not self._pinned:
            known = self._look(record.value)
            if known.other is not None:
                raise Misfit(known.other.what, known.other.allowed, known.other.advice)
            format = known.format or format
        if record.doubled:
            self._refuse_doubled(record.doubled, format)
        return format

    def _look(self, value: Any) -> _Known:
        if not isinstance(value, Mapping):
            return _BARE[type(value) is str]
        keys = frozenset(key for key, item in value.items() if item is not None)
        judged = isinstance(value.get("label"), bool)
        known = self._known.get((keys, judged))
        if known is None:
            if len(self._known) == _MOST_SHAPES:
                self._known.clear()
            known = self._known[keys, judged] = self._recognise(keys, judged=judged)
        return known

    def _recognise(self, keys: frozenset[str], *, judged: bool) -> _Known:
        ours = frozenset(
            name
            for name, theirs in self._columns.items()
            if theirs in keys or theirs.partition(".")[0] in keys
        )
        other = other_of((keys - set(self._columns.values())) | ours, ours, judged=judged)
        every = keys | ours
        if self.format and fits(self.format, every):
            return _Known(self.format, other)
        return _Known(format_of(every, ours), other)

    def _main(self, head: Sequence[Record], name: str) -> str:
        known = [self._look(record.value) for record in head]
        counts = Counter(one.other or one.format for one in known)
        main = counts.most_common(1)[0][0]
        if main is None:
            main = self._nearest(head, [what for what in counts if isinstance(what, str)])
        if isinstance(main, Other):
            refuse(main.what, where=name, allowed=main.allowed, advice=main.advice)
        return main

    def _nearest(self, head: Sequence[Record], found: Sequence[str]) -> str | Other:
        """The format that most rows miss something of: by the columns of all of them, else one that other rows have."""
        unfit = [record for record in head if self._look(record.value) == _Known(None, None)]
        keys = frozenset(_keys(unfit))
        format = self._recognise(keys, judged=False).format
        if format is not None:
            return format
        near = (format for format in found if keys & set(SHAPES[format].required))
        return next(near, None) or unknown(set(keys))


_BARE = {True: _Known("text", None), False: _Known("messages", None)}
"""What a row is that is no object: a text, or a list of messages."""


def _report(problems: Problems, origin: Origin, misfit: Misfit) -> None:
    problems.add(misfit.what, where=str(origin), allowed=misfit.allowed, advice=misfit.advice)


def _keys(records: Iterable[Record]) -> dict[str, None]:
    """Columns of rows in the order met; a column that is null in every row is none."""
    keys: dict[str, None] = {}
    for record in records:
        if isinstance(record.value, Mapping):
            keys.update(
                dict.fromkeys(key for key, value in record.value.items() if value is not None)
            )
    return keys


def _check_mapping(columns: Mapping[str, str], head: Sequence[Record], name: str) -> None:
    if not columns:
        return
    check_columns(columns)
    found = _keys(head)
    for ours, theirs in columns.items():
        known = theirs in found or theirs.partition(".")[0] in found
        if found and not known and ours not in {"role", "content"}:
            near = difflib.get_close_matches(theirs, found, n=1)
            refuse(
                f"`columns` maps `{ours}` to `{theirs}`, which the file does not have",
                where=name,
                allowed=f"its columns are {listed(sorted(found))}",
                advice=f"did you mean `{near[0]}`?" if near else "",
            )
