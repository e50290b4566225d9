"""Collects what is wrong with files and rows, so that one message tells all of it; it decides nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from xtune.errors import DataError, Problem

SHOWN = 20
"""Problems told one by one; a person fixes the first few and sees the pattern, the rest is a count."""

PLACES = 3
"""Places named of one problem that many rows have."""


@dataclass
class _Same:
    """One problem, found in several places."""

    what: str
    allowed: str
    advice: str
    places: list[str] = field(default_factory=list)
    count: int = 0

    def told(self) -> Problem:
        more = self.count - len(self.places) if self.places else 0
        where = ", ".join(self.places) + (f" and {more:,} more" if more else "")
        return Problem(what=self.what, where=where, allowed=self.allowed, advice=self.advice)


class Problems:
    """A growing list of problems that becomes one `DataError`; what many rows have in common is told once."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str, str], _Same] = {}
        self.count = 0

    def add(self, what: str, *, where: str = "", allowed: str = "", advice: str = "") -> None:
        """Record one problem; beyond the first `SHOWN` different ones only the count grows."""
        self.count += 1
        key = (what, allowed, advice)
        if key not in self._shown and len(self._shown) == SHOWN:
            return
        same = self._shown.setdefault(key, _Same(what, allowed, advice))
        same.count += 1
        if len(same.places) < PLACES and where:
            same.places.append(where)

    def include(self, error: DataError) -> None:
        """Record what made one file or source fail, so that it is told together with the others'."""
        for problem in error.problems:
            self.add(
                problem.what, where=problem.where, allowed=problem.allowed, advice=problem.advice
            )

    def raise_any(self) -> None:
        """End here if anything was recorded.

        Raises:
            DataError: With the first problems in words and the number of the others.
        """
        if not self.count:
            return
        more = self.count - sum(same.count for same in self._shown.values())
        rest = [Problem(what=f"And {more:,} more like these")] if more else []
        raise DataError([*(same.told() for same in self._shown.values()), *rest])


def refuse(what: str, *, where: str = "", allowed: str = "", advice: str = "") -> NoReturn:
    """End here with a `DataError` of a single problem.

    Raises:
        DataError: Always.
    """
    raise DataError([Problem(what=what, where=where, allowed=allowed, advice=advice)])


def described(value: object) -> str:
    """What a value of a data file is, in a few words for a message."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {str(value)[:40]}"
    if isinstance(value, str):
        return f"the text {shortened(value)!r}" if value else "an empty text"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return f"an object with {listed(value)}" if value else "an empty object"
    return f"a {type(value).__name__}"


def shortened(text: str, limit: int = 60) -> str:
    """The beginning of a text, with an ellipsis if that is not all."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(names: Iterable[object], limit: int = 12) -> str:
    """Names in backquotes, separated by commas, the first `limit` of them."""
    every = [f"`{shortened(str(name), 40)}`" for name in names]
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
