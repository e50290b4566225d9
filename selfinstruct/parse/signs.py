"""Writes labels with another sign behind their word, `Instruction = ...`, `4 | Instruction | ...` or `Instruction — ...`, as usual ones; it finds no tasks.

A sign counts only if a reply names instructions and outputs with it; all else in the reply stays as it is.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import regex

from selfinstruct.labels import label_of
from selfinstruct.parse.label_lines import TASK

_NUMBER = (
    rf"(?:(?:{TASK})\s*)?[#(\[]?(?P<number>\p{{Nd}}{{1,6}})(?:[a-c](?=[.)]))?\s*[.):．）\]]{{0,2}}"
)
_WORD = r"[*_`]{0,3}(?P<word>[\p{L}\p{M}][\p{L}\p{M}'’ _]{0,30}?)[*_`]{0,3}"
_EQUAL = regex.compile(
    rf"\s*(?:[-*•]\s+)?[*_]{{0,3}}(?:{_NUMBER}\s*)?{_WORD}\s*(?::=|=>|=(?!=))\s*(?P<rest>[^\n]*)",
    flags=regex.IGNORECASE,
)
_BAR = regex.compile(
    rf"\s*\|?\s*(?:{_NUMBER}\s*\|)?\s*{_WORD}\s*[:：]?\s*\|\s*(?P<rest>(?:[^|\\\n]++|\\.)*+)\|?\s*",
    flags=regex.IGNORECASE,
)
_DASH = regex.compile(
    rf"\s*(?:[-*•]\s+)?[*_]{{0,3}}(?:{_NUMBER}\s*)?{_WORD}\s+[-–—→]\s+(?P<rest>[^\n]*)",
    flags=regex.IGNORECASE,
)
_RULE = regex.compile(r"\s*\|?[\s:|-]*-{2,}[\s:|-]*|\s*\[\[?[\w.-]{1,40}\]\]?\s*|\s*[=*_-]{3,}\s*")
"""The line under a table's head, TOML's `[[task]]`, a rule between tasks."""

_BREAK = regex.compile(r"<br\s*/?>", flags=regex.IGNORECASE)


class _Found(NamedTuple):
    """A line with a label in front of such a sign."""

    line: int
    part: str
    number: str
    word: str
    rest: str


def plain_signs(text: str) -> str | None:
    """The reply with its labels in the usual form; None where none has such a sign."""
    lines = text.split("\n")
    for sign, pattern in (("=", _EQUAL), ("|", _BAR), *((dash, _DASH) for dash in "—–-→")):
        if sign not in text:
            continue
        found = _labels(lines, sign, pattern)
        begun = sum(one.part == "instruction" for one in found)
        answered = sum(one.part == "output" for one in found)
        if begun and answered >= max(1, begun - 1):
            return _written(lines, found, sign)
    return None


def _labels(lines: Sequence[str], sign: str, pattern: "regex.Pattern[str]") -> list[_Found]:
    found = []
    for index, line in enumerate(lines):
        match = pattern.fullmatch(line) if sign in line[:_LONGEST_HEAD] else None
        part = label_of(match["word"].strip()) if match else None
        if match and part:
            found.append(
                _Found(
                    line=index,
                    part=part,
                    number=match["number"] or "",
                    word=match["word"].strip(),
                    rest=match["rest"].strip(),
                )
            )
    return found


_LONGEST_HEAD = 120
"""Characters of a line that are looked at: no label is longer."""


def _written(lines: Sequence[str], found: Sequence[_Found], sign: str) -> str:
    ends = [one.line for one in found[1:]] + [len(lines)]
    before = [line for line in lines[: found[0].line] if not (sign == "|" and "|" in line)]
    written = _without_rules(before)
    bodies = [
        _without_rules([one.rest, *lines[one.line + 1 : end]], has_heads=sign == "|")
        for one, end in zip(found, ends, strict=True)
    ]
    values = ["\n".join(body).strip() for body in bodies]
    if sign == "|":
        # a row that goes on in the next line ends with its bar there
        values = [
            value.removesuffix("|").rstrip() if lines[one.line].lstrip().startswith("|") else value
            for one, value in zip(found, values, strict=True)
        ]
        values = [_BREAK.sub("\n", value.replace("\\|", "|")) for value in values]
    elif all(_is_quoted(value) for value in values):
        values = [_unquoted(value) for value in values]
    for one, value in zip(found, values, strict=True):
        written.append(f"**{one.number + '. ' if one.number else ''}{one.word}:** {value}")
    return "\n".join(written)


def _without_rules(lines: Sequence[str], *, has_heads: bool = False) -> list[str]:
    """Lines without the rules and empty lines at their end; with `has_heads`, nor the head of a table above such a rule."""
    kept = list(lines)
    while len(kept) > 1 and (not kept[-1].strip() or _RULE.fullmatch(kept[-1])):
        is_rule = "|" in kept.pop()
        if has_heads and is_rule and len(kept) > 1 and "|" in kept[-1]:
            kept.pop()
    return [] if len(kept) == 1 and _RULE.fullmatch(kept[0]) else kept


_QUOTES = ('"""', "'''", '"', "'")


def _is_quoted(value: str) -> bool:
    return any(
        len(value) >= 2 * len(mark) and value.startswith(mark) and value.endswith(mark)
        for mark in _QUOTES
    )


def _unquoted(value: str) -> str:
    mark = next(mark for mark in _QUOTES if value.startswith(mark))
    inside = value[len(mark) : len(value) - len(mark)]
    if mark != '"':
        return inside
    try:
        return str(json.loads(value, strict=False))
    except ValueError:
        return inside
