"""What a pattern cannot match without: a few literal texts of which one must be there; looking for these costs a tenth of the pattern.

A pattern of fifty alternatives is tried at every letter of a text, and nearly no text has even the words that the
alternatives turn on. They are read off the pattern itself, so that no second list can fall behind the first.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import cache
from itertools import groupby
from typing import TypeAlias

import regex

Search = Callable[[str], "regex.Match[str] | None"]
Finds = Callable[[str], Iterator["regex.Match[str]"]]

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


def compile_finds(pattern: str) -> Finds:
    """The first match of each alternative in a text, without regard to case; each is tried only where all its stems are there."""
    by_stem: dict[str, list[int]] = {}
    clauses = []
    for number, one in enumerate(alternatives_of(pattern) if pattern else ()):
        needs = needs_of(one)
        # what other alternatives look for as well costs nothing; what is too short is everywhere
        best = min(
            [stems for stems in needs if _is_rare(stems)] or needs[:1],
            key=lambda stems: len(set(stems).difference(by_stem)),
        )
        for stem in best:
            by_stem.setdefault(stem, []).append(number)
        others = sorted([stems for stems in needs if stems != best], key=len)
        clauses.append((others, one))
    roots = {
        root: sorted({one for stem in by_stem if stem.startswith(root) for one in by_stem[stem]})
        for root in by_stem
        if not any(root[:length] in by_stem for length in range(1, len(root)))
    }
    # all beginnings at every place at once: a tenth of the time of looking for one stem after the other
    beginnings = re.compile(f"(?=({_trie(roots)}))").findall if roots else _none

    def finding(text: str) -> "Iterator[regex.Match[str]]":
        folded = text.casefold()
        has = folded.__contains__
        there = set(beginnings(folded))
        for number in sorted({number for root in there for number in roots[root]}):
            others, one = clauses[number]
            for stems in others:
                if not any(map(has, stems)):
                    break
            else:
                if found := search_of(one)(text):
                    yield found

    return finding


@cache
def search_of(pattern: str) -> Search:
    """`search` of a pattern without regard to case; most of some thousand patterns are never asked for."""
    search: Search = regex.compile(pattern, flags=regex.IGNORECASE).search
    return search


def _none(_text: str) -> list[str]:
    return []


def _trie(words: Iterable[str]) -> str:
    """A pattern of words none of which begins another; common beginnings are written once."""
    branches: dict[str, list[str]] = {}
    for word in words:
        branches.setdefault(word[:1], []).append(word[1:])
    parts = [
        re.escape(letter) + ("" if rest == [""] else _trie(rest))
        for letter, rest in sorted(branches.items())
    ]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _is_rare(stems: Sequence[str]) -> bool:
    """Whether no stem is as short as to be in most texts; one sign of Japanese or Thai says more than one letter."""
    return all(len(stem.encode()) >= _FEWEST_BYTES for stem in stems)


_FEWEST_BYTES = 4


@cache
def alternatives_of(pattern: str) -> tuple[str, ...]:
    """The alternatives of a pattern, those of a group around all of it included."""
    depth = begin = at = 0
    found = []
    for name, text in _pieces(pattern):
        if name == "bar" and not depth:
            found.append(pattern[begin:at])
            begin = at + 1
        depth += (name in {"open", "look"}) - (name == "close")
        at += len(text) + (name == "escaped")
    return (*found, pattern[begin:])


def stems_of(pattern: str) -> tuple[str, ...]:
    """Case-folded texts of which every match holds at least one; none where that cannot be said.

    Raises:
        ValueError: The pattern holds what is not read here (`_PIECES`).
    """
    return tuple(sorted({stem.casefold() for stem in _group(_pieces(pattern))}))


@cache
def needs_of(pattern: str) -> tuple[tuple[str, ...], ...]:
    """Sets of case-folded texts, the longest first, of each of which every match of one alternative holds at least one.

    Raises:
        ValueError: The pattern holds what is not read here, or nothing that every match holds.
    """
    (items,) = _branches(_pieces(pattern))
    sets = sorted(filter(_worth, _sets(items)), key=_worth, reverse=True)
    if not sets:
        raise ValueError(f"the pattern {pattern!r} has no text that every match holds")
    return tuple(tuple(sorted({stem.casefold() for stem in stems})) for stems in sets)


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


Items: TypeAlias = list[tuple[str, Set[str]]]
"""A sequence: the name of each piece in `_PIECES`, and its stems."""


def _group(pieces: Iterator[tuple[str, str]]) -> Set[str]:
    """The stems of what stands up to the next closing bracket: those of all alternatives, if each has some."""
    each = [max(_sets(items), key=_worth, default=_NOTHING) for items in _branches(pieces)]
    return frozenset().union(*each) if all(map(_worth, each)) else _NOTHING


def _branches(pieces: Iterator[tuple[str, str]]) -> list[Items]:
    """The alternatives up to the next closing bracket."""
    branches: list[Items] = [[]]
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
    return branches


def _sets(items: Items) -> Iterator[Set[str]]:
    """The stems of each piece of a sequence; letters side by side are one text."""
    for name, group in groupby(items, key=lambda item: item[0]):
        sets = [stems for _, stems in group]
        if name == "letter":
            yield {"".join(letter for stems in sets for letter in stems)}
        else:
            yield from sets


def _worth(stems: Set[str]) -> int:
    """Letters of the shortest stem."""
    return min(map(len, stems), default=0)
