"""Reads tables (csv, tsv, parquet, arrow) row by row in bounded memory; it knows no row format."""

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from xtune.data.json_rows import LONGEST_VALUE
from xtune.data.magic import LOOKED_AT, check_kind, check_packing, check_page
from xtune.data.problems import Problems, refuse, shortened
from xtune.data.starts import BEGINNING, Start, refuse_fewer
from xtune.data.streams import text_pieces
from xtune.data.sums import RunningSum
from xtune.data.types import Origin, Record

BATCH_BYTES = 8 << 20
"""Bytes of a table that become Python objects at one time, about; ten times that in memory."""

LARGE_BATCH_BYTES = 64 << 20
"""Bytes of a batch of an Arrow file, on average, above which the file is mapped; ours: less is read at once."""

MOST_BATCH_ROWS = 4096
"""Rows that become Python objects at one time; ours: more is not faster."""


_Part: TypeAlias = tuple[int, Any]
"""Number of the first row of a batch, and the batch; None in its place if all rows before are skipped."""


def read_separated(
    path: Path, name: str, problems: Problems, start: Start = BEGINNING, *, delimiter: str
) -> Iterator[Record]:
    """The rows of a csv or tsv file with a header; a cell may hold line ends, so skipped rows are parsed, too.

    Columns of a csv file stand apart by semicolons where its header has these and no comma: so spreadsheets write it
    in countries where the comma is the decimal sign.

    Raises:
        DataError: The file as a whole cannot be read.
    """
    csv.field_size_limit(LONGEST_VALUE)  # csv's own limit of 128 KiB is below an ordinary article
    lines = _kept_lines(path, name, start.into)
    first = next(lines, "")
    if delimiter == "," and "," not in first and ";" in first:
        delimiter = ";"
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    numbered = _numbered(reader, name, problems)
    header = next((_header(cells, name) for _, cells in numbered), [])
    rows = 0
    for line, cells in numbered:
        origin = Origin(source=name, row=rows, line=line)
        rows += 1
        if rows <= start.row:
            continue
        if len(cells) == len(header):
            yield Record(value=dict(zip(header, cells, strict=True)), origin=origin)
        else:
            problems.add(
                f"The row has {len(cells)} fields",
                where=str(origin),
                allowed=f"the header has {len(header)}",
            )
    if rows < start.row:
        refuse_fewer(name, rows, start)


def _numbered(reader: Any, name: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line it begins in; one that is not well-formed is told and ends them."""
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        problems.add(
            f"The row is not well-formed: {error}",
            where=f"{name}:{line}",
            advice="check its quotes.",
        )


def _kept_lines(path: Path, name: str, into: RunningSum | None) -> Iterator[str]:
    r"""The lines of a file with their ends (\n, \r\n or \r), as the csv module wants them."""
    rest = ""
    for piece in text_pieces(path, name, into):
        text = rest + piece
        # the last \r may be half of a \r\n
        end = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        yield from io.StringIO(text[:end], newline="")
        rest = text[end:]
    yield from io.StringIO(rest, newline="")


def _header(cells: list[str], name: str) -> list[str]:
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    other = next((mark for mark in ";\t|," if len(cells) == 1 and mark in cells[0]), None)
    if other is not None:
        refuse(
            f"The header is one column, {cells[0]!r}",
            where=f"{name}:1",
            allowed="columns stand apart by commas or semicolons in a .csv file, by tabs in a .tsv file",
            advice="save it so, or give it the other name.",
        )
    if twice or not all(cells):
        fault = f"names {twice[0]!r} twice" if twice else "has a column without a name"
        refuse(
            f"The header {fault}", where=f"{name}:1", allowed="every column needs a name of its own"
        )
    return cells


def read_parquet(
    path: Path, name: str, problems: Problems, start: Start = BEGINNING
) -> Iterator[Record]:
    """The rows of a parquet file, whatever the size of its row groups; whole groups are skipped unread.

    Raises:
        DataError: The file as a whole cannot be read.
    """
    del problems  # a column has one type, so a row is as good as the next
    from pyarrow import parquet  # noqa: PLC0415 - only parquet files need it: 0.2 s

    yield from _records(_parquet_batches(path, parquet, start.row), path, name, "parquet", start)


def _parquet_batches(path: Path, parquet: Any, skip: int) -> Iterator[_Part]:
    # buffered columns: a row group is otherwise in memory as a whole, and one may be the whole file
    with parquet.ParquetFile(
        path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True
    ) as file:
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        total = sum(group.total_byte_size for group in groups)
        each = max(1, total // max(1, file.metadata.num_rows))
        size = max(1, min(MOST_BATCH_ROWS, BATCH_BYTES // each))
        first = row = 0
        while first < len(groups) and row + groups[first].num_rows <= skip:
            row += groups[first].num_rows
            first += 1
        wanted = list(range(first, len(groups)))
        yield row, None
        for batch in file.iter_batches(batch_size=size, use_threads=False, row_groups=wanted):
            yield row, batch
            row += batch.num_rows


def read_arrow(
    path: Path, name: str, problems: Problems, start: Start = BEGINNING
) -> Iterator[Record]:
    """The rows of an Arrow IPC file (Feather version 2 is one) or stream; whole batches are skipped.

    Raises:
        DataError: The file as a whole cannot be read.
    """
    del problems
    import pyarrow as pa  # noqa: PLC0415 - only arrow files need it: 0.2 s

    yield from _records(_arrow_batches(path, pa, start.row), path, name, "arrow", start)


def _arrow_batches(path: Path, pa: Any, skip: int) -> Iterator[_Part]:
    with pa.OSFile(str(path), "rb") as source:
        if source.read(6) != b"ARROW1":
            source.seek(0)
            yield from _slices(iter(pa.ipc.open_stream(source)), skip)
            return
        reader = pa.ipc.open_file(source)
        count = reader.num_record_batches
        if source.size() <= LARGE_BATCH_BYTES * count:
            yield from _slices((reader.get_batch(index) for index in range(count)), skip)
            return
    # what is mapped instead of read can be given back to the system at any time
    with pa.memory_map(str(path), "rb") as source:
        reader = pa.ipc.open_file(source)
        yield from _slices((reader.get_batch(index) for index in range(count)), skip)


def _slices(batches: Iterator[Any], skip: int) -> Iterator[_Part]:
    row = 0
    for batch in batches:
        if row + batch.num_rows <= skip:
            row += batch.num_rows
            yield row, None
            continue
        batch.validate(full=True)
        each = max(1, batch.nbytes // max(1, batch.num_rows))
        size = max(1, min(MOST_BATCH_ROWS, BATCH_BYTES // each))
        for start in range(0, batch.num_rows, size):
            yield row + start, batch.slice(start, size)
        row += batch.num_rows


def _records(
    batches: Iterator[_Part], path: Path, name: str, kind: str, start: Start
) -> Iterator[Record]:
    import pyarrow as pa  # noqa: PLC0415 - only parquet and arrow files need it: 0.2 s

    _look(path, name, kind)
    row = 0
    try:
        for first, batch in batches:
            row = first
            if batch is None:
                continue
            skip = min(max(0, start.row - first), batch.num_rows)
            for row, value in enumerate(batch.slice(skip).to_pylist(), first + skip):
                yield Record(value=without_nulls(value), origin=Origin(source=name, row=row))
            row = first + batch.num_rows
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            refuse(f"The file cannot be read: {error.strerror or error}", where=name)
        fault = shortened((str(error).splitlines() or [type(error).__name__])[0], 160)
        refuse(
            f"The {kind} file is damaged or cut off: {fault}", where=name, advice="fetch it again."
        )
    if row < start.row:
        refuse_fewer(name, row, start)


def _look(path: Path, name: str, kind: str) -> None:
    """Refuse a file that is empty, or plainly of another kind."""
    try:
        with path.open("rb") as file:
            beginning = file.read(LOOKED_AT)
    except OSError as error:
        refuse(f"The file cannot be read: {error.strerror or error}", where=name)
    if not beginning:
        refuse("The file is empty", where=name)
    check_packing(beginning, path, name)
    check_kind(beginning, name, kind)
    check_page(beginning, name)


def without_nulls(value: Any) -> Any:
    """The value without object keys that are null: parquet writes null for a key that only other rows have."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
