"""What a pattern cannot match without: literal texts of which every match holds one; looking for these costs a fraction of the pattern.

A pattern of fifty alternatives is tried at every letter of a text, and nearly no text has even the words that the
alternatives turn on. They are read off the pattern itself, so that no second list can fall behind the first: what stands
side by side is put together as long as it is one of a few texts, so that `(?:I|we) (?:can't|won't)` has four stems.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Set
from functools import cache
from math import inf
from typing import NamedTuple

import regex

Search = Callable[[str], "regex.Match[str] | None"]

_TOKENS = re.compile(
    r"""\(\?<?[=!] | \((?:\?:)?(?!\?) | [)|]  # assertions, groups, alternatives
    | \[\^?\]?(?:\\.|[^\]\\])*\] | \\[bBdDsSwWn] | \\\W | [.^$]
    | (?:[*+?] | \{(?:\d+(?:,\d*)?|,\d+)\})[?+]?
    | (?:[^\\()\[\]|.^$*+?{}](?![*+?{]))+ | [^\\()\[\]|.^$*+?{}]  # letters; one that is repeated stands alone""",
    flags=re.VERBOSE | re.DOTALL,
)
"""Patterns are made of these; references back, flags and named groups are not among them."""

_MOST_TEXTS = 64
"""Texts that are put together: more are rarer, but take longer to make. A design choice."""

_MOST_MEMBERS = 8
"""Of a class that is written out."""

_EDGE = "\b"
"""Of a word, in a text that a part of a pattern matches."""

_NOT_WORD = " "
"""What every character that is no part of a word is folded to."""

_Texts = Set[str]
_NONE: frozenset[str] = frozenset()
_EMPTY: frozenset[str] = frozenset({""})


class Need(NamedTuple):
    """What every match of a pattern holds."""

    stems: frozenset[str]
    """Folded texts of which it holds one; a space stands for any character that is no part of a word, and for the text's ends."""

    before: float
    """Most letters between the match's beginning and such a text; may be infinite."""


class _Part(NamedTuple):
    """What a group, a class, letters or an assertion match."""

    texts: _Texts | None
    """All texts that it matches; None where these are too many."""

    stems: _Texts
    """Of which each text holds one, where there are too many."""

    letters: float
    """The most that it matches."""

    before: float = 0
    """The most that stand in it before a stem."""


_NOTHING = _Part(_EMPTY, _NONE, 0)


@cache
def search_of(pattern: str) -> Search:
    """`search` of a pattern without regard to case; most of some thousand patterns are never asked for."""
    search: Search = regex.compile(pattern, flags=regex.IGNORECASE).search
    return search


@cache
def fold(character: str) -> str:
    """The one character that stands for all that match each other without regard to case, a space for what is no part of a word."""
    if not _WORD.match(character):
        return _NOT_WORD
    if character in "İı":
        return "i"  # as `regex` has it
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


_WORD = regex.compile(r"\w")


def alternatives_of(pattern: str) -> tuple[str, ...]:
    """The alternatives of a pattern; none of an empty one.

    Raises:
        ValueError: The pattern holds what is not read here (`_TOKENS`).
    """
    depth, found = 0, [""]
    for token in _tokens(pattern):
        if token == "|" and not depth:
            found.append("")
            continue
        depth += token.startswith("(") - (token == ")")
        found[-1] += token
    return tuple(found) if pattern else ()


@cache
def needs_of(alternative: str) -> list[Need]:
    """What every match of one alternative of a pattern holds, in order.

    Raises:
        ValueError: The pattern holds what is not read here, or nothing that every match holds.
    """
    (branch,) = _branches(iter(_tokens(alternative)))
    needs = branch.needs()
    if not needs:
        raise ValueError(f"the pattern {alternative!r} has no text that every match holds")
    return needs


def commonness(stems: Iterable[str]) -> float:
    """How often one of some stems would begin at a place of a text of nothing but chance."""
    return sum(map(_chance, stems))


@cache
def _chance(stem: str) -> float:
    spaces, signs = stem.count(_NOT_WORD), sum(map(_FIRST_SIGN.__le__, stem))
    return float(_LETTERS ** -(len(stem) - 0.5 * spaces + 0.5 * signs))


_LETTERS = 10
"""As many letters are in usual use; spaces as if one of their square root, Japanese and Korean signs as if one of its cube. A rule of thumb."""

_FIRST_SIGN = "\u3040"


def _tokens(pattern: str) -> list[str]:
    found = _TOKENS.findall(pattern)
    read = "".join(found)
    if read != pattern:
        at = next(at for at, letter in enumerate(pattern) if read[at : at + 1] != letter)
        raise ValueError(
            f"{pattern[at : at + 4]!r} at {at} of the pattern {pattern!r} is not read here; "
            "allowed are letters, classes, (?:groups), alternatives, repeats and assertions"
        )
    return found


class _Branch:
    """One alternative of a group: its parts, put together as far as they are a few texts."""

    def __init__(self, parts: Iterable[_Part]) -> None:
        self.letters: float = 0
        self._begin: float = 0
        self._texts: _Texts = _EMPTY
        self._needs: list[Need] = []
        self._is_whole = True
        for part in parts:
            self._add(part)

    def _add(self, part: _Part) -> None:
        texts = part.texts
        if texts is not None and self._goes_on_with(texts):
            self._texts = {one + other for one in self._texts for other in texts}
        else:
            self._is_whole = False
            self._needs.append(Need(_settled(self._texts), self._begin))
            self._begin, self._texts = self.letters, texts or _EMPTY
            if texts is None:
                self._needs.append(Need(frozenset(part.stems), self.letters + part.before))
                self._begin += part.letters
        self.letters += part.letters

    def _goes_on_with(self, texts: _Texts) -> bool:
        counts = len(self._texts), len(texts)
        return 1 in counts or counts[0] * counts[1] <= _MOST_TEXTS

    def needs(self) -> list[Need]:
        """What every match holds, in order."""
        needs = [*self._needs, Need(_settled(self._texts), self._begin)]
        return [need for need in needs if need.stems and "" not in need.stems]

    def texts(self) -> _Texts | None:
        """All texts that it matches, if these are not too many."""
        return self._texts if self._is_whole else None


def _branches(tokens: Iterator[str]) -> list[_Branch]:
    """The alternatives up to the next closing bracket, or to the end."""
    branches: list[list[_Part]] = [[]]
    for token in tokens:
        if token == ")":
            break
        if token == "|":
            branches.append([])
        elif token.startswith(("(?=", "(?!", "(?<")):
            _branches(tokens)
        elif token[0] == "(":
            branches[-1].append(_group(_branches(tokens)))
        elif token[0] in "*+?{":
            branches[-1] += _repeated(branches[-1].pop(), token)
        else:
            branches[-1].append(_simple(token))
    return list(map(_Branch, branches))


def _group(branches: list[_Branch]) -> _Part:
    letters = max(branch.letters for branch in branches)
    texts = [branch.texts() for branch in branches]
    whole = [each for each in texts if each is not None]
    if len(whole) == len(texts):
        return _Part(frozenset().union(*whole), _NONE, letters)
    needs = [
        min(branch.needs(), key=lambda need: commonness(need.stems), default=Need(_NONE, 0))
        for branch in branches
    ]
    if not all(need.stems for need in needs):
        return _Part(None, _NONE, letters)
    stems = frozenset().union(*(need.stems for need in needs))
    return _Part(None, stems, letters, max(need.before for need in needs))


def _repeated(part: _Part, times: str) -> list[_Part]:
    """A part that is there again and again, or may be left out."""
    if times[0] == "?":
        return [
            part._replace(texts=None if part.texts is None else part.texts | _EMPTY, stems=_NONE)
        ]
    bounds = times.strip("{}?+*").split(",") if times[0] == "{" else [times, ""]
    most = float(bounds[-1] or inf)
    letters = part.letters * most if part.letters else 0
    if times[0] == "*" or not bounds[0].strip("0"):
        return [_Part(None, _NONE, letters)]
    if part.texts is None:
        return [part._replace(letters=letters)]
    # it begins and ends with the part, which may be one and the same
    return [part, _Part(None, _NONE, letters), part._replace(letters=0)]


@cache
def _simple(token: str) -> _Part:
    """Letters, or what matches one letter or none."""
    if token in {"^", "$", r"\B"}:
        return _NOTHING
    if token == r"\b":
        return _Part(frozenset({_EDGE}), _NONE, 0)
    if token in {r"\s", r"\W", r"\n"} or (token.startswith("[^") and r"\w" in token):
        return _Part(frozenset({_NOT_WORD}), _NONE, 1)
    if token[0] == "[":
        return _Part(_members(token[1:-1]), _NONE, 1)
    if token == "." or token in {r"\d", r"\D", r"\S", r"\w"}:
        return _Part(None, _NONE, 1)
    letters = token.removeprefix("\\")
    return _Part(frozenset({"".join(map(fold, letters))}), _NONE, len(letters))


def _members(inside: str) -> _Texts | None:
    """The characters of a class, folded; None where there are many."""
    members = _CLASS.findall(inside)
    if inside.startswith("^") or "".join(members) != inside:
        return None
    texts = {
        _NOT_WORD if one in {r"\s", r"\W", r"\n"} else fold(one.removeprefix("\\"))
        for one in members
    }
    return texts if len(texts) <= _MOST_MEMBERS else None


_CLASS = re.compile(r"\\[sWn]|\\\W|[^\\](?!-.)", flags=re.DOTALL)
"""Members of a class; ranges are none."""


def _settled(texts: _Texts) -> frozenset[str]:
    """Texts whose edges are settled: what is outside of a word's edge is a space, and between two letters there is none."""
    return frozenset(
        _EDGES_OUTSIDE.sub(_NOT_WORD, text).replace(_EDGE, "") if _EDGE in text else text
        for text in texts
        if _EDGE not in text or not _EDGES_NOWHERE.search(text)
    )


_EDGES_NOWHERE = re.compile(f"[^ {_EDGE}]{_EDGE}+(?=[^ {_EDGE}])| {_EDGE}+(?= )")
_EDGES_OUTSIDE = re.compile(f"^{_EDGE}+(?=[^ {_EDGE}])|(?<=[^ {_EDGE}]){_EDGE}+$")
