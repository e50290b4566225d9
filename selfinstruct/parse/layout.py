"""Finds tasks in a reply whose parts carry labels, `4. Instruction: ...`; JSON and bare lists are read elsewhere.

A label stands at the start of a line. Which label lines are labels and which are text is decided per task: a
part's label has the task's number or the task's style, comes in order, and every part is opened once. So "14.
Output:" in the answer of task 4, `###`, lists, years and code stay text, and numbers may skip, restart or be missing.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import regex

from selfinstruct.labels import Part, without_no_input
from selfinstruct.parse.label_lines import Label, labels_of, value_of
from selfinstruct.parse.part_text import is_rule, text_of_part
from selfinstruct.types import Dropped, Task

_FENCE = regex.compile(r"[^\S\n]*+(`{3,}|~{3,})(?P<info>[^`\n]*)$")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One task as it lies in a reply: its parts, None where a part has no label, and its lines."""

    parts: dict[Part, str | None]
    lines: Sequence[str]

    @property
    def text(self) -> str:
        """The lines, without white space around them where they begin with a label."""
        text = "\n".join(self.lines)
        return text if self.parts["instruction"] is None else text.strip()


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
    labels = _outside_fences(lines, _without_headers(lines, labels_of(lines, language)))
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
    places = [label.line for label in labels]
    for start, end in zip(starts, ends, strict=bool(starts)):
        own = labels[bisect_left(places, start.line) : bisect_left(places, end)]
        blocks += _blocks(lines, own, start.line, end)
    before = "" if begins_inside else without_rules(lines[:before_end])
    return Layout(before=before, blocks=tuple(blocks))


def without_rules(lines: Sequence[str]) -> str:
    """Lines before a task, without those at their end that only set it apart."""
    kept = list(lines)
    while kept and (not kept[-1].strip() or is_rule(kept[-1])):
        kept.pop()
    return "\n".join(kept).strip()


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


def _outside_fences(lines: Sequence[str], labels: list[Label]) -> list[Label]:
    """The labels that do not lie inside a closed code fence; a fence that reaches over a marked instruction is none."""
    if not any("```" in line or "~~~" in line for line in lines):
        return labels
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
                        number=value_of(match["number"]),
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


TITLE = regex.compile(
    r"[^\S\n]*+#{0,6}[^\S\n]*+[*_]{0,3}[【\[［]?(?:\p{L}[\p{L}\p{M}]*+(?:\ \p{L}[\p{L}\p{M}]*+)?[^\S\n]*+)?[#№]?(?P<number>\p{Nd}{1,4})[^\S\n]*+[】\]］).:．）、：\-–—][^\n]{0,120}"
)
"""What may stand above a task's first label: "5. **Bridges**" or 【タスク5】."""


def _begins(lines: Sequence[str], labels: Sequence[Label], starts: Sequence[Label]) -> list[int]:
    """The lines where tasks begin: at their title, "5. **Bridges**" or 【タスク5】, where all have one and the titles count on."""
    titles: list[tuple[int, int] | None] = []
    for start in starts:
        before = bisect_left(labels, start.line, key=lambda label: label.line)
        floor = labels[before - 1].line if before else -1
        above = next(
            (line for line in range(start.line - 1, floor, -1) if lines[line].strip()), None
        )
        found = TITLE.fullmatch(lines[above]) if above is not None else None
        if found and above is not None:
            titles.append((above, value_of(found["number"])))
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
    if first.number is not None and len(own) >= _FEWEST_WITH_ORPHAN:
        orphan = _orphan(own, first.number + 1)
        if orphan is not None:
            cut = own[orphan].line
            return [
                _block(lines, own[:orphan], start, cut),
                Block(
                    parts={"instruction": None, "input": "", "output": ""},
                    lines=lines[cut:end],
                ),
            ]
    return [_block(lines, own, start, end)]


_FEWEST_WITH_ORPHAN = 4
"""Labels: an instruction and an output, then an input and an output."""


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
    chosen = _chosen(own)
    parts: dict[Part, str | None] = {"instruction": None, "input": None, "output": None}
    for label, stop in zip(chosen, [label.line for label in chosen[1:]] + [end], strict=True):
        parts[label.part] = text_of_part(label.rest, lines[label.line + 1 : stop], label.number)
    return Block(parts=parts, lines=lines[start:end])


def _chosen(own: Sequence[Label]) -> list[Label]:
    """The labels that open the parts of a task; the instruction's is the first."""
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
    return [label for label in (head, entry, output) if label]


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


def task_of(block: Block) -> Task | Dropped:
    """The task of a block, or why it is none."""
    instruction, entry, output = (block.parts[part] for part in ("instruction", "input", "output"))
    if not instruction or not instruction.strip():
        return Dropped(
            reason="missing_instruction",
            detail="no instruction before the input or output",
            text=block.text,
        )
    if output is None or not output.strip():
        detail = "no output label" if output is None else "nothing after the output label"
        return Dropped(reason="missing_output", detail=detail, text=block.text)
    return Task(instruction=instruction.strip(), input=without_no_input(entry or ""), output=output)


def preamble(text: str) -> Dropped:
    """What is said before the first task."""
    return Dropped(reason="preamble", detail="text before the first task", text=text)
