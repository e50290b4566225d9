"""What a pattern cannot match without: a few literal texts of which one must be there; looking for these costs a tenth of the pattern.

A pattern of fifty alternatives is tried at every letter of a text, and nearly no text has even the words that the
alternatives turn on. They are read off the pattern itself, so that no second list can fall behind the first.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from itertools import groupby

import regex

Search = Callable[[str], "regex.Match[str] | None"]

_PIECES = regex.compile(
    r"""(?P<look>\(\?<?[=!]) | (?P<open>\((?:\?:)?)(?!\?) | (?P<close>\)) | (?P<bar>\|)
    | (?P<class>\[\^?\]?(?:\\.|[^\]\\])*\] | \\[bBdDsSwW] | [.^$])
    | (?P<times>(?:[*+?] | \{(?:\d+(?:,\d*)?|,\d+)\})[?+]?) | \\(?P<escaped>\W) | (?P<literal>[^\\()])""",
    flags=regex.VERBOSE | regex.DOTALL,
)
"""Patterns are made of these; references back, flags and named groups are not among them."""

_NOTHING: Set[str] = frozenset()


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
    """Case-folded texts of which every match holds at least one; none where that cannot be said.

    Raises:
        ValueError: The pattern holds what is not read here (`_PIECES`).
    """
    return tuple(sorted({stem.casefold() for stem in _group(_pieces(pattern))}))


def _pieces(pattern: str) -> Iterator[tuple[str, str]]:
    """Each piece's name in `_PIECES`, and its text; the end is one more bracket.

    Raises:
        ValueError: The pattern holds what is not read here.
    """
    at = 0
    while at < len(pattern):
        piece = _PIECES.match(pattern, at)
        if piece is None:
            raise ValueError(
                f"{pattern[at : at + 4]!r} at {at} of the pattern {pattern!r} is not read here; "
                "allowed are letters, classes, (?:groups), alternatives, repeats and assertions"
            )
        yield piece.lastgroup, piece[piece.lastgroup]
        at = piece.end()
    yield "close", ""


def _group(pieces: Iterator[tuple[str, str]]) -> Set[str]:
    """The stems of what stands up to the next closing bracket: those of all alternatives, if each has some."""
    branches: list[list[tuple[str, Set[str]]]] = [[]]
    for name, text in pieces:
        items = branches[-1]
        match name:
            case "close":
                break
            case "bar":
                branches.append([])
            case "literal" | "escaped":
                items.append(("letter", {text}))
            case "open":
                items.append((name, _group(pieces)))
            case "look":
                _group(pieces)
                items.append((name, _NOTHING))
            case "times":
                repeated = items.pop()[1]
                may_be_left_out = text[0] in "*?" or text.startswith(("{0", "{,"))
                items.append((name, _NOTHING if may_be_left_out else repeated))
            case _:
                items.append((name, _NOTHING))
    each = [_best(items) for items in branches]
    return frozenset().union(*each) if all(map(_worth, each)) else _NOTHING


def _best(items: Iterable[tuple[str, Set[str]]]) -> Set[str]:
    """The stems of a sequence whose shortest text is longest; letters side by side are one text."""
    best = _NOTHING
    for name, group in groupby(items, key=lambda item: item[0]):
        sets = [stems for _, stems in group]
        if name == "letter":
            sets = [{"".join(letter for stems in sets for letter in stems)}]
        best = max(best, *sets, key=_worth)
    return best


def _worth(stems: Set[str]) -> int:
    """Letters of the shortest stem."""
    return min(map(len, stems), default=0)
