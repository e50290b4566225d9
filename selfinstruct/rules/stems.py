"""What a pattern cannot match without: a few literal texts of which one must be there; looking for these costs a tenth of the pattern.

A pattern of fifty alternatives is tried at every letter of a text, and nearly no text has even the words that the
alternatives turn on. They are read off the pattern itself, so that no second list can fall behind the first.
"""

import importlib
import sys
from collections.abc import Callable, Iterable, Set
from typing import Any

import regex

_NEW = sys.version_info >= (3, 11)
marks: Any = importlib.import_module("re._constants" if _NEW else "sre_constants")
parser: Any = importlib.import_module("re._parser" if _NEW else "sre_parse")

Search = Callable[[str], "regex.Match[str] | None"]


def compile_search(pattern: str) -> Search:
    """`search` of a pattern without regard to case, which looks for the pattern's stems first."""
    search: Search = regex.compile(pattern, flags=regex.IGNORECASE).search
    stems = stems_of(pattern)
    if not stems:
        return search

    def searching(text: str) -> "regex.Match[str] | None":
        folded = text.casefold()
        return search(text) if any(map(folded.__contains__, stems)) else None

    return searching


def stems_of(pattern: str) -> tuple[str, ...]:
    """Case-folded texts of which every match holds at least one; none where that cannot be said."""
    return tuple(sorted({stem.casefold() for stem in _stems(parser.parse(pattern))}))


def _stems(items: Iterable[Any]) -> Set[str]:
    """The best set of a sequence: the one whose shortest text is longest."""
    best: Set[str] = frozenset()
    run = ""
    for kind, value in items:
        if kind is marks.LITERAL:
            run += chr(value)
            continue
        best, run = max(best, {run}, _of_item(kind, value), key=_worth), ""
    return max(best, {run}, key=_worth)


def _of_item(kind: Any, value: Any) -> Set[str]:
    if kind is marks.SUBPATTERN:
        return _stems(value[-1])
    if kind in {marks.MAX_REPEAT, marks.MIN_REPEAT} and value[0] > 0:
        return _stems(value[2])
    if kind is marks.BRANCH:
        each = [_stems(branch) for branch in value[1]]
        return frozenset().union(*each) if all(map(_worth, each)) else frozenset()
    return frozenset()  # a class, an assertion, or what may be left out


def _worth(stems: Set[str]) -> int:
    """Letters of the shortest stem."""
    return min(map(len, stems), default=0)
