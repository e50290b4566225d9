"""Finds tasks in a reply whose parts carry labels, `4. Instruction: ...`; JSON and bare lists are read elsewhere.

A label stands at the start of a line. Which label lines are labels and which are text is decided per task: a
part's label has the task's number or the task's style, comes in order, and every part is opened once. So "14.
Output:" in the answer of task 4, `###`, lists, years and code stay text, and numbers may skip, restart or be missing.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import regex

from selfinstruct.labels import Part, is_weak, label_of

_LABEL_LINE = regex.compile(
    r"""
    (?:[^\S\n]|\p{Cf})*+ (?:>[^\S\n]*+)?
    (?P<heading>\#{1,6}[^\S\n]*+)?
    (?:(?:[-–•*+▪●◦►]|\p{So}\ufe0f?)[^\S\n]++)?
    (?P<bold>[*_]{1,3}|`(?!`)|)
    (?P<bracket>[【\[［〔「『〈<(（]?)
    (?:(?P<task>(?:Task|Tarea|Aufgabe|Tâche|Tarefa|Tugas|Задание|Задача|タスク|과제|งาน)[^\S\n]*+)?
       (?:\p{Nd}{1,6}[.)][^\S\n]++(?=\p{Nd}))?+  # the number that the prompt had written, again
       [#№(（]?(?P<number>\p{Nd}{1,6}|[①-⑳])(?:\.\p{Nd})?+[^\S\n]*+\\?(?:[.):．）、。:：،٫・\-–—)\]】][.)]?)?+[^\S\n]*+)?
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

_FENCE = regex.compile(r"[^\S\n]*+(`{3,}|~{3,})(?P<info>[^`\n]*)$")
_SEPARATOR = regex.compile(
    r"[^\S\n]*+(?:[#*_=\-–—~]{3,}|[*_#\s]*(?:(?:Task|Tarea|Aufgabe|Tâche|Tarefa|Tugas|Задание|Задача|タスク|과제|งาน|Nhiệm vụ|المهمة)?\s*[#№]?\p{Nd}{1,6}\s*[.):．）、:：]?)[*_\s]*)$",
    flags=regex.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Label:
    """A line that could open a part."""

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


@dataclass(frozen=True, kw_only=True)
class Block:
    """One task as it lies in a reply: its parts, None where a part has no label, and its lines."""

    parts: dict[Part, str | None]
    text: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a labelled reply is made of."""

    before: str
    """Text before the first task; empty where the reply began inside a task."""

    blocks: tuple[Block, ...]

    @property
    def incomplete(self) -> int:
        """How many tasks lack a part; a reply whose labels are in another language has many."""
        return sum(
            not (block.parts["instruction"] and block.parts["output"]) for block in self.blocks
        )

    @property
    def complete(self) -> int:
        """How many tasks have an instruction and an output."""
        return len(self.blocks) - self.incomplete


def read_layout(text: str, language: str | None, opened: bool | None) -> Layout | None:
    """The tasks of a labelled reply, complete or not, in order; None where the reply has no labels."""
    lines = text.split("\n")
    labels = _outside_fences(lines, _without_headers(lines, _labels(lines, language)))
    if not any(label.part == "output" for label in labels) and not any(
        label.part == "instruction" and label.marked for label in labels
    ):
        return None
    if opened is not True and not any(label.part == "instruction" for label in labels):
        labels = _with_numbered_lines(lines, labels)
    starts = _starts(labels)
    first_part = min(
        (label.line for label in labels if label.part != "instruction"), default=len(lines)
    )
    begins = _begins(lines, labels, starts)
    before_end = begins[0] if begins else len(lines)
    begins_inside = first_part < before_end and opened is not False
    if opened and not begins_inside and starts:
        begins_inside = bool("\n".join(lines[:before_end]).strip())
    blocks = []
    if begins_inside:
        blocks.append(_block(lines, _inside(labels, before_end), 0, before_end))
    ends = [*begins[1:], len(lines)]
    for start, end in zip(starts, ends, strict=bool(starts)):
        own = _between(labels, start.line, end)
        blocks += _blocks(lines, own, start.line, end)
    before = [] if begins_inside else lines[:before_end]
    while before and (not before[-1].strip() or _SEPARATOR.match(before[-1])):
        before.pop()
    return Layout(before=_joined(before).strip(), blocks=tuple(blocks))


def _without_headers(lines: Sequence[str], labels: list[Label]) -> list[Label]:
    """The labels without headings such as "### Task 4", which say nothing and are followed by the instruction's label."""
    return [
        label
        for label, after in zip_longest(labels, labels[1:])
        if not (
            label.part == "instruction"
            and not label.rest.strip()
            and after is not None
            and after.part == "instruction"
            and not any(line.strip() for line in lines[label.line + 1 : after.line])
        )
    ]


def _labels(lines: Sequence[str], language: str | None) -> list[Label]:
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
    match = _LABEL_LINE.match(line if len(line) <= _LONGEST_HEAD else line[:_LONGEST_HEAD])
    if not match:
        return None
    part = label_of(match["word"], language)
    bracketed = bool(match["bracket"] or match["bracket_after"]) and bool(match["close"])
    bold = match["bold"] or match["bold_after"].strip()
    digits = match["number"] or match["number_after"]
    rest = match["rest"] + line[match.end() :]
    if match["gloss"] and label_of(match["gloss"]) != part:
        return None
    if part is None or (match["colon"] in _DASHES and match["colon"] and not digits):
        return None
    if not match["colon"] and not (
        bracketed or ((match["heading"] or bold or digits) and not rest.strip())
    ):
        return None
    if bold and not match["bold_close"] and not match["bold_end"] and rest.rstrip().endswith(bold):
        rest = rest.rstrip()[: -len(bold)]
    return Label(
        line=index,
        part=part,
        number=_value(digits) if digits else None,
        style=("#" if match["heading"] else "", bold, "【" if bracketed else ""),
        weak=is_weak(match["word"]),
        rest=rest,
    )


def _value(digits: str) -> int:
    """The number that decimal digits of any script, or one circled number, write."""
    if not digits.isdecimal():
        return int(unicodedata.numeric(digits))
    return int("".join(str(unicodedata.decimal(digit)) for digit in digits))


def _outside_fences(lines: Sequence[str], labels: list[Label]) -> list[Label]:
    """The labels that do not lie inside a closed code fence; a fence that reaches over a marked instruction is none."""
    instructions = [label for label in labels if label.part == "instruction"]
    usual = Counter((label.style, label.number is None) for label in instructions).most_common(1)
    marked = {
        label.line
        for label, after in zip_longest(instructions, instructions[1:])
        if label.marked
        and (label.style, label.number is None) == usual[0][0]
        # a number that comes again at once stood in a sample of the layout
        and (label.number is None or after is None or after.number != label.number)
    }
    if not any("```" in line or "~~~" in line for line in lines):
        return labels
    fenced: set[int] = set()
    rests = {label.line: label.rest for label in labels}
    opened_at, mark = -1, ""
    for index, line in enumerate(lines):
        if index in marked:
            opened_at, mark = -1, ""
        # a fence may open on the line of a label
        match = _FENCE.match(rests.get(index, line))
        if not match:
            continue
        if opened_at < 0:
            opened_at, mark = index, match[1]
        elif not match["info"].strip() and match[1].startswith(mark):
            fenced.update(range(opened_at + 1, index))
            opened_at, mark = -1, ""
    return [label for label in labels if label.line not in fenced]


_NUMBERED = regex.compile(
    r"[^\S\n]*+#{0,6}[^\S\n]*+[*_]{0,3}(?P<number>\p{Nd}{1,4})[.):．）、][*_]{0,3}[^\S\n]*+(?P<rest>\S[^\n]*)$"
)


def _with_numbered_lines(lines: Sequence[str], labels: list[Label]) -> list[Label]:
    """The labels, with an instruction's where only a number stands before it: "4. Sing.", "Input: ...", "Output: ..."."""
    found: list[Label] = []
    begin, wants = 0, True
    for label in labels:
        if wants:
            numbered = [
                (line, match)
                for line in range(begin, label.line)
                if (match := _NUMBERED.match(lines[line]))
            ]
            if numbered:
                # lists in the answer before come first
                line, match = numbered[-1]
                found.append(
                    Label(
                        line=line,
                        part="instruction",
                        number=_value(match["number"]),
                        style=label.style,
                        weak=False,
                        rest=match["rest"].strip("*_ "),
                    )
                )
        found.append(label)
        wants = label.part == "output"
        begin = label.line + 1
    return found


def _starts(labels: Sequence[Label]) -> list[Label]:
    """The labels that begin a task: those in the reply's own style, and plain ones that an output follows."""
    answered = False
    followed: set[int] = set()
    for label in reversed(labels):
        if label.part == "output":
            answered = True
        elif label.part == "instruction":
            if answered:
                followed.add(label.line)
            answered = False
    numbered = any(label.part == "instruction" and label.number is not None for label in labels)
    starts: list[Label] = []
    for label in labels:
        if label.part != "instruction":
            continue
        if (
            label.number is None
            and (label.weak or numbered or not starts)
            and label.line not in followed
        ):
            continue
        if label.number is None and label.weak and numbered:
            continue
        starts.append(label)
    return _without_intruders(starts)


_TITLE = regex.compile(
    r"[^\S\n]*+#{0,6}[^\S\n]*+[*_]{0,3}[【\[［]?(?:\p{L}[\p{L}\p{M}]*+(?:\ \p{L}[\p{L}\p{M}]*+)?[^\S\n]*+)?[#№]?(?P<number>\p{Nd}{1,4})[^\S\n]*+[】\]］).:．）、：\-–—][^\n]{0,120}"
)


def _begins(lines: Sequence[str], labels: Sequence[Label], starts: Sequence[Label]) -> list[int]:
    """The lines where tasks begin: at their title, "5. **Bridges**" or 【タスク5】, where all have one and the titles count on."""
    titles: list[tuple[int, int] | None] = []
    for start in starts:
        before = bisect_left(labels, start.line, key=lambda label: label.line)
        floor = labels[before - 1].line if before else -1
        above = next(
            (line for line in range(start.line - 1, floor, -1) if lines[line].strip()), None
        )
        found = _TITLE.fullmatch(lines[above]) if above is not None else None
        if found and above is not None:
            titles.append((above, _value(found["number"])))
        else:
            # "### Task 6" at the end of a reply that was cut is a title itself
            cut = start is starts[-1] and start.number is not None and not start.rest.strip()
            titles.append((start.line, start.number or 0) if cut else None)
    numbers = [title[1] for title in titles if title]
    if (
        len(numbers) < len(starts)
        or len(numbers) < 2
        or numbers != list(range(numbers[0], numbers[0] + len(numbers)))
    ):
        return [start.line for start in starts]
    return [title[0] for title in titles if title]


_LARGEST_SKIP = 5


def _without_intruders(starts: Sequence[Label]) -> list[Label]:
    """The starts without a "14. Instruction:" between tasks 4 and 5: it lies in the text of task 4."""
    kept: list[Label] = []
    for label, after in zip_longest(starts, starts[1:]):
        before = kept[-1].number if kept else None
        if (
            before is not None
            and label.number is not None
            and label.number > before + _LARGEST_SKIP
            and after is not None
            and after.number == before + 1
        ):
            continue
        kept.append(label)
    return kept


def _between(labels: Sequence[Label], start: int, end: int) -> list[Label]:
    low, high = (bisect_left(labels, line, key=lambda label: label.line) for line in (start, end))
    return list(labels[low:high])


def _inside(labels: Sequence[Label], end: int) -> list[Label]:
    """The labels of a task that the prompt had begun, with the instruction's own put back before the first line."""
    own = [label for label in labels if label.line < end and label.part != "instruction"]
    number = own[0].number if own else None
    style = own[0].style if own else ("", "", "")
    return [
        Label(line=-1, part="instruction", number=number, style=style, weak=False, rest=""),
        *own,
    ]


def _blocks(lines: Sequence[str], own: list[Label], start: int, end: int) -> list[Block]:
    """A task, and after it what is left of a next one whose instruction is missing."""
    first = own[0]
    if first.number is not None:
        orphan = _orphan(own, first.number + 1)
        if orphan is not None:
            cut = own[orphan].line
            return [
                _block(lines, own[:orphan], start, cut),
                Block(
                    parts={"instruction": None, "input": "", "output": ""},
                    text=_joined(lines[cut:end]),
                ),
            ]
    return [_block(lines, own, start, end)]


def _orphan(own: Sequence[Label], number: int) -> int | None:
    """Where, after a complete task, an input and an output with the next number stand without an instruction."""
    complete = False
    for index, label in enumerate(own):
        if label.part == "output" and label.number == number - 1:
            complete = True
        if (
            complete
            and label.part == "input"
            and label.number == number
            and label.style == own[0].style
        ):
            later = own[index + 1 :]
            return (
                index if later and later[0].part == "output" and later[0].number == number else None
            )
    return None


def _block(lines: Sequence[str], own: Sequence[Label], start: int, end: int) -> Block:
    """The parts of the task in lines `start` to `end`; `own[0]` is its instruction's label."""
    head, rest = own[0], own[1:]
    output = _choose([label for label in rest if label.part == "output"], head)
    inputs = [
        label
        for label in rest
        if label.part == "input" and (output is None or label.line < output.line)
    ]
    entry = _choose(inputs, head)
    if entry and output and _is_example(entry, output, head, rest):
        entry = None
    if entry and output:
        # the output is the first of its kind after the input
        output = _choose(
            [label for label in rest if label.part == "output" and label.line > entry.line], head
        )
    chosen = [label for label in (head, entry, output) if label]
    parts: dict[Part, str | None] = {"instruction": None, "input": None, "output": None}
    for label, stop in zip(chosen, [label.line for label in chosen[1:]] + [end], strict=True):
        parts[label.part] = _text(lines, label, stop)
    return Block(parts=parts, text=_joined(lines[start:end]).strip())


def _choose(candidates: Sequence[Label], head: Label) -> Label | None:
    """The label that opens a part of a task: with the task's number, else in its style, else the first one."""
    for fits in (
        lambda label: label.number == head.number and label.style == head.style,
        lambda label: label.number == head.number,
        lambda label: label.number is None and label.style == head.style,
        lambda label: label.number is None,
        lambda label: not label.weak,
    ):
        for label in candidates:
            if fits(label):
                return label
    return candidates[0] if candidates else None


def _is_example(entry: Label, output: Label, head: Label, rest: Sequence[Label]) -> bool:
    """Whether a plain input label is half of an example in the instruction: "Input: 2" and "Output: 4" in a numbered task."""
    if entry.number == head.number or output.number != head.number:
        return False
    return any(label.part == "output" and entry.line < label.line < output.line for label in rest)


def _text(lines: Sequence[str], label: Label, stop: int) -> str:
    """A part's text, without the marks that only set the next task apart."""
    body = list(lines[label.line + 1 : stop])
    while body and _sets_apart(body[-1], label) and not _is_value(body, label):
        body.pop()
    first = label.rest.strip().lstrip(_DIRECTIONS).lstrip()
    if first:
        return _joined([first, *body]).rstrip()
    return _joined(body).strip("\n").rstrip()


_DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
"""Marks of direction that may follow a label's colon in Arabic and Hebrew."""

_BARE_NUMBER = regex.compile(r"[*_\s]*(?P<number>\p{Nd}{1,6})\s*[.):．）、:：]?[*_\s]*")
_MOST_AHEAD = 10


def _sets_apart(line: str, label: Label) -> bool:
    """Whether a line only sets the next task apart: nothing, a rule, or its number; the year "2020." does not."""
    if not line.strip():
        return True
    bare = _BARE_NUMBER.fullmatch(line)
    if bare and label.number is not None:
        number = _value(bare["number"])
        return number == 1 or 0 <= number - label.number <= _MOST_AHEAD
    return bool(_SEPARATOR.match(line))


def _is_value(body: Sequence[str], label: Label) -> bool:
    """Whether the last line is all that a part says: the answer "42" on a line of its own is no separator."""
    return (
        bool(body[-1].strip())
        and not label.rest.strip()
        and not any(line.strip() for line in body[:-1])
    )


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines)
