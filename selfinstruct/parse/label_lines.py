"""Finds the lines of a reply that have the form of a label, `4. Instruction: ...`, and a label's word; which of them open a part is decided elsewhere."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import regex

from selfinstruct.labels import Part, folded, is_weak, label_of, languages, words_for

TASK = "Task|Tarea|Aufgabe|Tâche|Tarefa|Tugas|Задание|Задача|タスク|課題|과제|งานที่|งาน"
"""What may stand before a label's number."""

_LABEL_LINE = regex.compile(
    r"""
    (?:[^\S\n]|\p{Cf})*+ (?:>[^\S\n]*+)?
    (?P<heading>\#{1,6}[^\S\n]*+)?
    (?:(?:[-–•*+▪●◦►]|\p{So}\ufe0f?)[^\S\n]++)?
    (?P<bold>[*_]{1,3}|`(?!`)|)
    (?P<bracket>[【\[［〔「『〈<(（]?)
    (?:(?P<task>(?:"""
    + TASK
    + r""")[^\S\n]*+)?
       (?:\p{Nd}{1,6}[.)][^\S\n]++(?=\p{Nd}))?+  # the number that the prompt had written, again
       [#№(（]?(?P<number>\p{Nd}{1,6}|[①-⑳])(?:번|番)?+(?:[.-]\p{Nd}|[ ]?[(（]?[a-c](?=[.):）]))?+[^\S\n]*+\\?(?:[.):．）、。:：،٫・\-–—)\]】][.)]?)?+[^\S\n]*+|[(]?[a-c][.)][^\S\n]++)?
    (?:\p{So}\ufe0f?[^\S\n]*+)?
    (?P<bold_after>(?:[*_]{1,3}[^\S\n]*+|`)?)
    (?P<bracket_after>[【\[［〔「『〈<]?)
    (?P<word>[\p{L}\p{M}][\p{L}\p{M}'’_]*+(?:[ \u00a0][\p{L}\p{M}'’_]++){0,3}?)
    (?:[^\S\n]*+[(（]?(?:\#|№)?(?P<number_after>\p{Nd}{1,6})[)）]?)?
    (?:[^\S\n]*+[(（](?P<gloss>[\p{L}\p{M}][\p{L}\p{M} ]{1,30})[)）])?
    (?P<close>[】\]］〕」』〉>)）]?)
    (?P<bold_close>[*_]{1,3}|`(?!`)|)
    [^\S\n]*
    (?P<colon>[:：︰﹕∶]|(?<=[^\S\n])[-–—→](?=[^\S\n])|)
    (?P<bold_end>[*_]{1,3}|`(?!`)|)
    (?P<rest>(?<=[:：︰﹕∶\-–—→*_`】\]］〕」』〉>)）])[^\n]*|[^\S\n]*+)
    $
    """,
    flags=regex.VERBOSE | regex.IGNORECASE,
)
_DASHES = "-–—→"
_LONGEST_HEAD = 120
"""Characters of a line that are looked at: no label is longer."""


class Label(NamedTuple):
    """A line that could open a part; a tuple, since most lines of a reply are one."""

    line: int
    part: Part
    number: int | None
    style: tuple[str, str, str]
    """Heading, bold and bracket marks: a reply keeps to one."""

    weak: bool
    rest: str
    """The text after the label on its line."""

    @property
    def marked(self) -> bool:
        """Whether anything but a colon says that this is a label."""
        return self.number is not None or any(self.style)


def labels_of(lines: Sequence[str], language: str | None) -> list[Label]:
    """Every line that has the form of a label and a label's word."""
    labels = []
    for index, line in enumerate(lines):
        if not line or line.isspace():
            continue
        found = _label(line, index, language)
        if found:
            labels.append(found)
    return labels


_USUAL_LABEL = re.compile(r"(?P<number>[0-9]{1,6})\. (?P<word>[A-Za-z]{1,40}):(?![*_])")
"""What most labels of most replies look like; the pattern of all labels agrees, at thirty times the cost."""

_MARK_OF_LABELS = re.compile(r"[:：︰﹕∶#*_`【\[［〔「『〈<(（\d①-⑳\-–—]")
"""What a label cannot do without: a colon, a dash, a number, or marks around it."""


def _usual_label(line: str, index: int, language: str | None) -> Label | None:
    match = _USUAL_LABEL.match(line)
    part = label_of(match["word"], language) if match else None
    if match is None or part is None:
        return None
    return Label(
        line=index,
        part=part,
        number=int(match["number"]),
        style=("", "", ""),
        weak=is_weak(match["word"]),
        rest=line[match.end() :],
    )


def _label(line: str, index: int, language: str | None) -> Label | None:
    usual = _usual_label(line, index, language)
    if usual or not _MARK_OF_LABELS.search(line, 0, _LONGEST_HEAD):
        return usual
    first = _FIRST_WORD.search(line, 0, _LONGEST_HEAD)
    if first is None or not _begins_label(first[0]):
        return None
    match = _LABEL_LINE.match(line, 0, _LONGEST_HEAD)
    if not match:
        return None
    # by place, since by name each costs as much as all
    heading, bold_before, bracket, _, digits, bold_after, bracket_after, *others = match.groups()
    word, digits_after, gloss, close, bold_close, colon, bold_end, rest = others
    part = label_of(word, language)
    bracketed = bool(bracket or bracket_after) and bool(close)
    bold = bold_before or bold_after.strip()
    digits = digits or digits_after
    rest += line[match.end() :]
    if gloss and label_of(gloss) != part:
        return None
    if part is None or (colon and colon in _DASHES and not digits):
        return None
    if not colon and not (bracketed or ((heading or bold or digits) and not rest.strip())):
        return None
    if bold and not bold_close and not bold_end and rest.rstrip().endswith(bold):
        rest = rest.rstrip()[: -len(bold)]
    return Label(
        line=index,
        part=part,
        number=value_of(digits) if digits else None,
        style=("#" if heading else "", bold, "【" if bracketed else ""),
        weak=is_weak(word),
        rest=rest,
    )


_FIRST_WORD = regex.compile(r"[\p{L}\p{M}][\p{L}\p{M}'’_]*+")


@lru_cache(maxsize=4096)
def _begins_label(word: str) -> bool:
    """Whether a line whose first word this is may be a label: a tenth of the time of looking at the line."""
    return folded(word) in _beginnings()


@cache
def _beginnings() -> frozenset[str]:
    """Every beginning of every label's word and of what may stand before its number; a space in a word is none when it is compared."""
    words = [
        folded(word)
        for language in languages()
        for part in ("instruction", "input", "output")
        for word in words_for(part, language)
    ]
    words += map(folded, TASK.split("|"))
    words += map(folded, "abc번番")  # "4a. Instruction: ...", "4번 지시: ..."
    return frozenset(word[:length] for word in words for length in range(len(word) + 1))


def value_of(digits: str) -> int:
    """The number that decimal digits of any script, or one circled number, write; 0 for digits younger than Python's Unicode."""
    if digits.isdecimal():
        return int(digits)
    return int(unicodedata.numeric(digits, 0)) if len(digits) == 1 else 0
