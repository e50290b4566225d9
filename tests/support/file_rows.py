"""All rows of some files at once, for tests that are not about reading piece by piece."""

from collections.abc import Iterable

from xtune.data.formats import Row
from xtune.data.problems import Problems
from xtune.data.rows import RowReader
from xtune.data.sources import SourceFile
from xtune.errors import DataError


def read_rows(files: Iterable[SourceFile]) -> list[Row]:
    """The rows, or a DataError with everything that is wrong with the files."""
    problems = Problems()
    rows: list[Row] = []
    for file in files:
        try:
            rows.extend(RowReader(file, problems))
        except DataError as error:
            problems.include(error)
    problems.raise_any()
    return rows
