"""Rules on what a task is made of: its parts, their lengths, an input that says the instruction again."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import regex

from selfinstruct.rules.batch import Batch
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task
from xtune.text import rouge_l_above, tokenize

_SOMETHING = regex.compile(r"[\p{L}\p{N}\p{S}\p{P}--[.…。,_\-–—]]", flags=regex.VERSION1)
_GRAPHEME = regex.compile(r"\X")


def missing_part(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a rule's signature
    """No instruction or no output: nothing, white space or dots alone."""
    missing = [
        name for name in ("instruction", "output") if not _says_something(getattr(task, name))
    ]
    return f"no {' and no '.join(missing)}" if missing else None


def _says_something(text: str) -> bool:
    return text[:1].isalnum() or bool(_SOMETHING.search(text))


def may_miss(batch: Batch) -> Sequence[bool]:
    """In which tasks `missing_part` may find something."""
    return [
        not (task.instruction[:1].isalnum() and task.output[:1].isalnum()) for task in batch.tasks
    ]


def length(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """A part that is too short or too long, in graphemes."""
    for name, least, most in (
        ("instruction", settings.shortest_instruction, settings.longest_instruction),
        ("input", 0, settings.longest_input),
        ("output", 0, settings.longest_output),
    ):
        text = getattr(task, name).strip()
        if len(text) <= most and _has_graphemes(text, least):
            continue
        count = sum(1 for _ in _GRAPHEME.finditer(text))
        if not least <= count <= most:
            return f"{name} of {count} graphemes; {least} to {most} are allowed"
    return None


def may_be_long(batch: Batch) -> Sequence[bool]:
    """In which tasks `length` may find something."""
    settings = batch.settings
    return [
        len(task.output) > settings.longest_output
        or len(task.input) > settings.longest_input
        or len(task.instruction) > settings.longest_instruction
        or not _has_graphemes(task.instruction.strip(), settings.shortest_instruction)
        for task in batch.tasks
    ]


def _has_graphemes(text: str, least: int) -> bool:
    """Whether a text has as many, which the first ones tell."""
    if len(text) > 8 * least or len(text) < least:
        return len(text) >= least
    return sum(1 for _ in islice(_GRAPHEME.finditer(text), least)) == least


def input_is_in_instruction(task: Task) -> bool:
    """Whether the instruction holds the whole input, as words and not as part of one."""
    needle = _spaced(task.input)
    if not needle or not _may_hold(task.instruction, needle):
        return False
    instruction = _spaced(task.instruction)
    start = instruction.find(needle)
    while start >= 0:
        end = start + len(needle)
        if _at_edge(instruction, start, needle[0]) and _at_edge(instruction, end, needle[-1]):
            return True
        start = instruction.find(needle, start + 1)
    return False


def _may_hold(text: str, needle: str) -> bool:
    """Whether a text in NFC has the first word of what is looked for; one in another form may."""
    word = needle.partition(" ")[0]
    return word in text or not unicodedata.is_normalized("NFC", text)


_WITHOUT_SPACES = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)


def _at_edge(text: str, position: int, edge: str) -> bool:
    """Whether no word goes on across a position."""
    if position in {0, len(text)} or not edge.isalnum() or _WITHOUT_SPACES.match(edge):
        return True
    return not (text[position - 1].isalnum() and text[position].isalnum())


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


@lru_cache(maxsize=64)
def tokens_of(text: str, language: str) -> tuple[str, ...]:
    """The tokens of a text; those of an instruction may be wanted twice, behind those of a whole reply."""
    return tuple(tokenize(text, language))


def input_like_instruction(task: Task, language: str, settings: RuleSettings) -> str | None:
    """An input that says the instruction again, by ROUGE-L F."""
    if not task.input:
        return None
    most = settings.input_threshold(language)
    score = rouge_l_above(tokens_of(task.instruction, language), task.input, language, most)
    if score is None:
        return None
    return f"ROUGE-L F of instruction and input is {score:.2f}, above {most}"


def may_say_it_again(batch: Batch) -> Sequence[bool]:
    """In which tasks `input_like_instruction` may find something."""
    return [bool(task.input) for task in batch.tasks]
