"""The text of a part, from what stands behind its label and in the lines below; where the part ends is decided elsewhere."""

from collections.abc import Sequence

import regex

from selfinstruct.parse.label_lines import TASK, value_of

_EXAMPLE = "Example|Ejemplo|Beispiel|Exemple|Exemplo|Contoh|Ví dụ|Пример|例|예시|ตัวอย่าง|مثال"
_EXERCISE = "Exercise|Ejercicio|Übung|Exercice|Exercício|Soal|Bài tập|Bài|Câu|Упражнение|問題|練習|任务|작업|문제|โจทย์|ข้อที่|ข้อ|تمرين"
_HEAD = f"{TASK}|Nhiệm vụ|المهمة|مهمة|{_EXAMPLE}|{_EXERCISE}"
_NUMBERED_HEAD = (
    rf"(?:{_HEAD})\s*(?:(?:Nr|No|n)\.?[º°o]?|số|رقم)?\s*[#№]?\p{{Nd}}{{1,6}}"
    r"(?:[^\S\n]*(?:/|of|von|de|sur|dari|trên|из|من)[^\S\n]*\p{Nd}{1,6}|번|番)?"
)
"""`Task 5`, `Aufgabe Nr. 5`, `Task 5/20`, `Task 5 of 20`; without a word such numbers are scores and shares."""

_SEPARATOR = regex.compile(
    rf"[^\S\n]*+(?:[#*_=\-–—~]{{3,}}"
    rf"|[*_#\s]*(?:(?:{_NUMBERED_HEAD}|[#№]?\p{{Nd}}{{1,6}})\s*[.):．）、:：]?)[*_\s]*"
    rf"|[-–•+][^\S\n]+[*_]*(?:{TASK})\s*[#№]?\p{{Nd}}{{1,6}}\s*[.):：]?[*_\s]*)$",
    flags=regex.IGNORECASE,
)
_BARE_NUMBER = regex.compile(r"[*_\s]*(?P<number>\p{Nd}{1,6})\s*[.):．）、:：]?[*_\s]*")
_MOST_AHEAD = 10

DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
"""Marks of direction that may follow a label's colon in Arabic and Hebrew."""


def text_of_part(rest: str, below: Sequence[str], number: int | None) -> str:
    """A part's text, without the marks that only set the next task apart.

    Args:
        rest: What stands behind the label on its line.
        below: The lines up to the next label.
        number: The label's number, if it has one.
    """
    first = rest.strip().lstrip(DIRECTIONS).lstrip()
    if not below:
        return first
    body = list(below)
    while body and _sets_apart(body[-1], number) and not _is_value(body, rest):
        body.pop()
    if first:
        return "\n".join([first, *body]).rstrip()
    return "\n".join(body).strip("\n").rstrip()


def is_rule(line: str) -> bool:
    """Whether a line is a rule, or the heading of a task that says nothing but its number."""
    return bool(_SEPARATOR.match(line))


def _sets_apart(line: str, number: int | None) -> bool:
    """Whether a line only sets the next task apart: nothing, a rule, or its number; the year "2020." does not."""
    if not line.strip():
        return True
    bare = _BARE_NUMBER.fullmatch(line)
    if bare and number is not None:
        value = value_of(bare["number"])
        return value == 1 or 0 <= value - number <= _MOST_AHEAD
    return is_rule(line)


def _is_value(body: Sequence[str], rest: str) -> bool:
    """Whether the last line is all that a part says: the answer "42" on a line of its own is no separator."""
    return (
        bool(body[-1].strip()) and not rest.strip() and not any(line.strip() for line in body[:-1])
    )
