"""One file's rows in our one shape, lazily and in bounded memory; its format is recognised from its first rows."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from xtune.data.files import fingerprint, read_records
from xtune.data.formats import SHAPES, Row, check_columns, convert, fits, format_of
from xtune.data.others import Other, other_of, unknown
from xtune.data.problems import Problems, listed, refuse
from xtune.data.sources import SourceFile
from xtune.data.trees import MessageTable, Tree, is_flat, is_turned_down, tree_size
from xtune.data.turns import Misfit
from xtune.data.types import Conversation, Origin, Record

__all__ = ["Recogniser", "RowReader", "fingerprint"]

HEAD = 1000
"""Rows that a file's format is recognised from; ours: a mixed file shows itself in fewer."""

_MOST_SHAPES = 10_000
"""Different sets of columns that are remembered; ours: rows that name their columns anew each time must not fill the memory."""

HEAD_CHARACTERS = 4 << 20
"""Characters after which the first rows are enough, however few; ours: they are in memory together."""


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

    def __iter__(self) -> Iterator[Row]:
        """Read the file from its beginning; a row that does not fit goes to the problems.

        Raises:
            DataError: The file as a whole cannot be read, or is of a kind that is not trained on.
        """
        file, problems = self.file, self._problems
        self.formats.clear()
        self.rows, before = 0, problems.count
        records = read_records(file.path, file.name, file.kind, problems)
        head = _head(records)
        if head:
            rows = Recogniser(head, file.name, file.format, file.columns)
            self.left_out = rows.left_out
            for format, row in rows.convert_all(chain(head, records), problems):
                self.formats[format] += 1
                self.rows += 1
                yield row
        if not self.rows and problems.count == before:
            refuse("The file holds no rows", where=file.name)


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
        self, records: Iterable[Record], problems: Problems
    ) -> Iterator[tuple[str, Row]]:
        """Each row with its format; those that fit none go to `problems`."""
        table = MessageTable()
        for record in records:
            try:
                format = self._format_of(record.value)
                if format != "oasst":
                    yield format, convert(record.value, format, record.origin, self._columns)
                elif is_flat(record.value):
                    table.add(record)
                else:
                    for row in self._of_tree(record.value, record.origin):
                        yield format, row
            except Misfit as misfit:
                _report(problems, record.origin, misfit)
        for found in table.trees():
            try:
                if not isinstance(found, Tree):
                    raise found[1]
                for row in self._of_tree(found.root, found.origin):
                    yield "oasst", row
            except Misfit as misfit:
                _report(problems, found[0], misfit)

    def _of_tree(self, tree: Any, origin: Origin) -> Iterator[Row]:
        if isinstance(tree, Mapping) and is_turned_down(tree):
            self.left_out["trees whose prompt was turned down"] += 1
            return
        row = convert(tree, "oasst", origin, self._columns)
        if isinstance(row, Conversation):
            self.left_out["replies beside the best-ranked path"] += tree_size(tree) - len(
                row.messages
            )
        yield row

    def _format_of(self, value: Any) -> str:
        if self._pinned:
            return self.format
        known = self._look(value)
        if known.other is not None:
            raise Misfit(known.other.what, known.other.allowed, known.other.advice)
        return known.format or self.format

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
