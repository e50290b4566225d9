"""What a pattern cannot match without: a few literal texts of which one must be there; looking for these costs a tenth of the pattern.

A pattern of fifty alternatives is tried at every letter of a text, and nearly no text has even the words that the
alternatives turn on; one that has some is searched for the alternatives that turn on these. They are read off the
pattern itself, so that no second list can fall behind the first.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from functools import cached_property
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
    """`search` of a pattern without regard to case, which looks for the stems of its alternatives first."""
    alternatives = [_Alternative(part) for part in alternatives_of(pattern)]
    always = [place for place, one in enumerate(alternatives) if not one.stems]
    by_stem: dict[str, list[int]] = {}
    for place, one in enumerate(alternatives):
        for stem in one.stems:
            by_stem.setdefault(stem, []).append(place)
    stems = tuple(by_stem)

    def searching(text: str) -> "regex.Match[str] | None":
        folded = text.casefold()
        present = [stem for stem in stems if stem in folded]
        if not present and not always:
            return None
        places = {*always, *(place for stem in present for place in by_stem[stem])}
        matches = [alternatives[place].search(text) for place in sorted(places)]
        # of matches that begin at one place the first alternative's counts, as in the whole pattern
        return min(filter(None, matches), key=lambda match: match.start(), default=None)

    return searching


class _Alternative:
    """One alternative of a pattern, compiled when a text holds one of its stems."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.stems = stems_of(pattern)

    @cached_property
    def search(self) -> Search:
        """Looks for it in a text."""
        search: Search = regex.compile(self._pattern, flags=regex.IGNORECASE).search
        return search


def alternatives_of(pattern: str) -> list[str]:
    """The alternatives of a pattern that `stems_of` reads; those of one that is a group as a whole are taken out of it."""
    parts, depth, start = [], 0, 0
    for piece in _PIECES.finditer(pattern):
        if piece.lastgroup in {"open", "look"}:
            depth += 1
        elif piece.lastgroup == "close":
            depth -= 1
        elif piece.lastgroup == "bar" and not depth:
            parts.append(pattern[start : piece.start()])
            start = piece.end()
    parts.append(pattern[start:])
    return [one for part in parts for one in _taken_out(part)]


def _taken_out(part: str) -> list[str]:
    """The alternatives of a group; a part that is more than a group is one alternative."""
    if not part.startswith("(?:"):
        return [part]
    depth = 0
    for piece in _PIECES.finditer(part):
        depth += (piece.lastgroup in {"open", "look"}) - (piece.lastgroup == "close")
        if not depth:
            is_group = piece.end() == len(part)
            return alternatives_of(part[len("(?:") : piece.start()]) if is_group else [part]
    return [part]


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
