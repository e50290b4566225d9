"""Rows that are encoded together; the type alone, which processes that encode share with the one that reads."""

from dataclasses import dataclass

from xtune.data.formats import Row


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Rows that are encoded together."""

    rows: list[Row]
    files: list[int]
    """Number of the file of each row."""

    first: int
    """How many rows were read before."""

    characters: int
