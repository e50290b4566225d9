"""Reads a reply that keeps throughout to the layout that prompts ask for, as `layout` would, in a few passes over the whole.

Usual is "4. Instruction: ...", "4. Input: ...", "4. Output: ..." for every task, in this order, with rising numbers or
with none, with a language's usual words for labels, plain or bold, and with nothing in a text that could be a label
or hide one.
"""

import re
from typing import NamedTuple

from selfinstruct.labels import Part, label_of, languages, usual_label, without_no_input
from selfinstruct.parse.label_lines import labels_of
from selfinstruct.parse.layout import TITLE, Block, preamble, task_of, without_rules
from selfinstruct.parse.markup import plain_labels
from selfinstruct.parse.part_text import DIRECTIONS, text_of_part
from selfinstruct.parse.signs import plain_signs
from selfinstruct.types import Dropped, Task

_PARTS: tuple[Part, ...] = ("instruction", "input", "output")
_WORDS = {
    word[0].upper() + word[1:]: part
    for language in languages()
    for part in _PARTS
    for word in (usual_label(part, language),)
    if label_of(word) == part
}
"""The usual words for the parts in every language, as a prompt writes them."""

_LABELS = [
    re.compile(rf"\n{before}(?:([0-9]{{1,6}})\. |){between}({'|'.join(_WORDS)}){after}(?![*_`])")
    for before, between, after in (
        ("", "", "[:：]"),
        (r"\*\*", "", r"[:：]\*\*"),
        (r"\*\*", "", r"\*\*[:：]"),
        ("", r"\*\*", r"[:：]\*\*"),
        ("", r"\*\*", r"\*\*[:：]"),
    )
]
"""The end of a line and a label, in each form: a reply keeps to one. The pattern in `label_lines` takes the same apart."""

_FEWEST = 2
"""Whole tasks: a single one may be all that stray labels made of a reply in another form."""


class _Pieces(NamedTuple):
    """A reply, taken apart at its labels."""

    before: str
    """What stands before the first label, if it is not the text of the prompt's last one."""

    begins_inside: bool
    """Whether the reply begins with that text; its label is put before it here."""

    numbers: list[str | None]
    words: list[str]
    texts: list[str]


def read_usual(
    text: str, language: str, opened: bool | None
) -> tuple[list[Task | Dropped], list[Dropped]] | None:
    """The tasks of a reply that is usual as a whole, two or more, and what is none of them; None for any other reply.

    Words may stand before the first task, and the last one may have been cut.
    """
    body = f"\n{text}"
    label = next((form for form in _LABELS if form.search(body)), None)
    if label is None:
        return None
    pieces = _taken_apart(body, label)
    if not _is_in_order(pieces) or not _begins_as_usual(pieces, opened) or _may_hide_labels(pieces):
        return None
    values = [
        _value(number, text) if "\n" in text else text.strip().lstrip(DIRECTIONS).lstrip()
        for number, text in zip(pieces.numbers, pieces.texts, strict=True)
    ]
    instructions, inputs, outputs = values[::3], values[1::3], values[2::3]
    is_cut = len(outputs) < len(instructions) or not outputs[-1]
    whole = len(instructions) - is_cut
    if whole < _FEWEST or not all(instructions[:whole]) or not all(outputs[:whole]):
        return None
    before = without_rules(pieces.before.split("\n")) if pieces.before else ""
    if (before or is_cut) and (plain_labels(text) or plain_signs(text)):
        return None
    # for a task that is not whole, labels are looked for again in the language's words alone
    if is_cut and not (
        pieces.numbers[0] and all(label_of(word, language) for word in set(pieces.words))
    ):
        return None
    tasks: list[Task | Dropped] = [
        Task(instruction=instruction.strip(), input=without_no_input(entry), output=output)
        for instruction, entry, output in zip(instructions[:whole], inputs, outputs, strict=False)
    ]
    if is_cut:
        starts = [found.start() for found in label.finditer(body)]
        rest = body[starts[whole * len(_PARTS) - pieces.begins_inside] :]
        tasks.append(_cut_task(rest, instructions[whole], outputs[whole:]))
    return tasks, [preamble(before)] if before else []


def _taken_apart(body: str, label: "re.Pattern[str]") -> _Pieces:
    before, *found = label.split(body)
    if not before.strip():
        return _Pieces("", False, found[::3], found[1::3], found[2::3])
    begins_inside = _WORDS[found[1]] == "input"
    if begins_inside:
        found, before = [found[0], next(iter(_WORDS)), before, *found], ""
    return _Pieces(before, begins_inside, found[::3], found[1::3], found[2::3])


def _is_in_order(pieces: _Pieces) -> bool:
    """Whether the labels are those of tasks, one after the other, with rising numbers or with none."""
    parts = [_WORDS[word] for word in pieces.words]
    count, rest = divmod(len(parts), len(_PARTS))
    firsts = pieces.numbers[:: len(_PARTS)]
    rising = [int(number) for number in firsts if number]
    repeated = [number for number in firsts for _ in _PARTS]
    return (
        count >= _FEWEST
        and parts == [*_PARTS * count, *_PARTS[:rest]]
        and pieces.numbers == repeated[: len(parts)]
        and (rising == sorted(set(rising)) if all(firsts) else not any(firsts))
    )


def _begins_as_usual(pieces: _Pieces, opened: bool | None) -> bool:
    """Whether the caller says nothing else, and no title stands above the first label that may have one."""
    if not pieces.before and not pieces.begins_inside:
        return True
    above = pieces.texts[2] if pieces.begins_inside else pieces.before
    _, below_label, last = above.rstrip().rpartition("\n")
    if below_label and TITLE.fullmatch(last):
        return False
    return opened is not False if pieces.begins_inside else not opened


def _may_hide_labels(pieces: _Pieces) -> bool:
    """Whether a line of a text could be a label, or a code fence reach over the label after its text."""
    before, texts = pieces.before, pieces.texts
    # a number tells a label from the lines of a fence
    fenceless = [before, *texts[::3], *texts[1::3]] if pieces.numbers[0] else [before, *texts]
    if any("```" in text or "~~~" in text for text in fenceless):
        return True
    below = [line for text in (before, *texts) if "\n" in text for line in text.split("\n")[1:]]
    return bool(labels_of(below, None))


def _value(number: str | None, text: str) -> str:
    rest, *below = text.split("\n")
    return text_of_part(rest, below, int(number) if number else None)


def _cut_task(text: str, instruction: str, outputs: list[str]) -> Task | Dropped:
    output = outputs[0] if outputs else None
    parts: dict[Part, str | None] = {"instruction": instruction, "input": None, "output": output}
    return task_of(Block(parts=parts, lines=[text]))
