"""Reads a reply that keeps throughout to the layout that prompts ask for, as `layout` would, in a few passes over the whole.

Usual is "4. Instruction: ...", "4. Input: ...", "4. Output: ..." for every task, in this order, with rising numbers,
with a language's usual words for labels, plain or bold, and with nothing in a text that could be a label or hide one.
"""

import re
from collections.abc import Sequence

from selfinstruct.labels import Part, label_of, languages, usual_label, without_no_input
from selfinstruct.parse.label_lines import labels_of
from selfinstruct.parse.part_text import DIRECTIONS, text_of_part
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
    re.compile(rf"\n{before}([0-9]{{1,6}})\. {between}({'|'.join(_WORDS)}){after}(?![*_`])")
    for before, between, after in (
        ("", "", "[:：]"),
        (r"\*\*", "", r"[:：]\*\*"),
        (r"\*\*", "", r"\*\*[:：]"),
        ("", r"\*\*", r"[:：]\*\*"),
        ("", r"\*\*", r"\*\*[:：]"),
    )
]
"""The end of a line and a label, in each form: a reply keeps to one. The pattern in `label_lines` takes the same apart."""


def read_usual(text: str, opened: bool | None) -> list[Task | Dropped] | None:
    """The tasks of a reply that is usual as a whole, two or more; None for any other, which may have tasks as well."""
    text = f"\n{text}"
    label = next((form for form in _LABELS if form.search(text)), None)
    if label is None:
        return None
    before, *found = label.split(text)
    begins_inside = bool(before.strip())
    if begins_inside:
        # the prompt ended with the first label
        found = [found[0], next(iter(_WORDS)), before, *found]
    numbers, words, texts = found[::3], found[1::3], found[2::3]
    if not _is_in_order(numbers, words) or _may_hide_labels(texts):
        return None
    # titles above labels may count on where every task has one: the second has none
    if begins_inside and (opened is False or "\n" in texts[2].rstrip()):
        return None
    values = [
        _value(number, text) if "\n" in text else text.strip().lstrip(DIRECTIONS).lstrip()
        for number, text in zip(numbers, texts, strict=True)
    ]
    instructions, inputs, outputs = values[::3], values[1::3], values[2::3]
    if not all(instructions) or not all(outputs):
        return None
    return [
        Task(instruction=instruction.strip(), input=without_no_input(entry), output=output)
        for instruction, entry, output in zip(instructions, inputs, outputs, strict=True)
    ]


_FEWEST = 2
"""Tasks: a single one may be all that stray labels made of a reply in another form."""


def _is_in_order(numbers: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the labels are those of whole tasks, one after the other, with rising numbers."""
    count, rest = divmod(len(words), len(_PARTS))
    if rest or count < _FEWEST or [_WORDS[word] for word in words] != [*_PARTS] * count:
        return False
    firsts = numbers[::3]
    rising = [int(number) for number in firsts]
    return firsts == numbers[1::3] == numbers[2::3] and rising == sorted(set(rising))


def _may_hide_labels(texts: Sequence[str]) -> bool:
    """Whether a line of a text could be a label, or a code fence reach from an instruction or an input over the next label."""
    if any("```" in text or "~~~" in text for text in (*texts[::3], *texts[1::3])):
        return True
    below = [line for text in texts if "\n" in text for line in text.split("\n")[1:]]
    return bool(labels_of(below, None))


def _value(number: str, text: str) -> str:
    rest, *below = text.split("\n")
    return text_of_part(rest, below, int(number))
