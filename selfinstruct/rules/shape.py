"""Rules on what a task is made of: its parts, their lengths, loops, an input that says the instruction again."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import regex

from selfinstruct.rules.batch import Batch
from selfinstruct.rules.forms import letters_of
from selfinstruct.rules.grams import places_of_windows_again
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task
from xtune.text import rouge_l_of, tokenize

_SOMETHING = regex.compile(r"[\p{L}\p{N}\p{S}\p{P}--[.…。,_\-–—]]", flags=regex.VERSION1)
_GRAPHEME = regex.compile(r"\X")
_LONGEST_PERIOD = 200
_FEWEST_LETTERS_OF_A_LOOP = 40
_TIMES = 5
"""A loop says a run of at most 200 letters six times over, 40 letters or more: songs and tables stay below."""

_MOST_LETTERS = 20_000
_MOST_FOLDED = 3
"""Letters that one becomes at most without regard to case (Unicode, CaseFolding.txt)."""


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
        if least <= len(text) <= most and (len(text) > 8 * least or not least):
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
    """Whether a text surely has as many, without counting them."""
    return len(text) > 8 * least or (len(text) >= least and bool(_SIMPLE.fullmatch(text)))


_SIMPLE = re.compile("[ -~\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3、。]+")
"""Characters that are a grapheme each: ASCII, kana, Han, whole Hangul syllables (Unicode, UAX 29)."""


def repetition(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """A text that says the same letters again and again, in any script; digits and punctuation do not break a loop."""
    for name in ("instruction", "input", "output"):
        found = _loop(getattr(task, name))
        if found:
            return f"{name} repeats {found!r}"
    return None


def may_repeat(batch: Batch) -> list[bool]:
    """In which tasks `repetition` may find a loop, by one look at all their letters."""
    texts = [text for task in batch.tasks for text in (task.instruction, task.input, task.output)]
    folded = [text[:_MOST_LETTERS].casefold() for text in texts]
    ends = np.cumsum(np.fromiter(map(len, folded), np.intp, len(folded)))
    again = places_of_windows_again("".join(folded), _WINDOW, _LONGEST_PERIOD)
    found = np.zeros(len(batch.tasks), np.bool_)
    found[ends.searchsorted(again, side="right") // 3] = True
    may: list[bool] = found.tolist()
    return may


def _loop(text: str) -> str | None:
    if _MOST_FOLDED * len(text) < _FEWEST_LETTERS_OF_A_LOOP:
        return None
    letters = letters_of(text[:_MOST_LETTERS])
    if len(letters) < _FEWEST_LETTERS_OF_A_LOOP:
        return None
    if not _may_loop(letters):
        return None
    # one number a letter
    codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    for period in _periods(letters):
        least = max(_TIMES * period, _FEWEST_LETTERS_OF_A_LOOP - period)
        differs = np.flatnonzero(codes[period:] != codes[:-period])
        edges = np.concatenate(([-1], differs, [len(codes) - period]))
        # lengths of the runs in which each letter equals the one a period before
        gaps = np.diff(edges) - 1
        longest = int(gaps.argmax())
        if gaps[longest] >= least:
            start = int(edges[longest]) + 1
            return letters[start : start + period]
    return None


def _may_loop(letters: str) -> bool:
    """Whether there may be a loop in letters."""
    longest = min(_LONGEST_PERIOD, len(letters) // (_TIMES + 1))
    return any(True for _ in _windows_again(letters, longest))


def _windows_again(letters: str, longest: int) -> Iterator[int]:
    """Where those of some windows begin that come again soon: a loop agrees with itself over 34 letters, which hold one of them."""
    find = letters.find
    for at in range(0, len(letters) - _WINDOW + 1, _WINDOW):
        end = at + _WINDOW
        if find(letters[at:end], at + 1, end + longest) >= 0:
            yield at


def _periods(letters: str) -> list[int]:
    """The distances at which a window of letters comes again: a loop has its own among them."""
    seen: dict[str, int] = {}
    found: set[int] = set()
    for position in range(len(letters) - _WINDOW + 1):
        window = letters[position : position + _WINDOW]
        before = seen.get(window)
        if before is not None and position - before <= _LONGEST_PERIOD:
            found.add(position - before)
        seen[window] = position
    return sorted(found)


_WINDOW = 16
"""Letters; every loop that counts agrees with itself over more than these, one period on."""


def input_is_in_instruction(task: Task) -> bool:
    """Whether the instruction holds the whole input, as words and not as part of one."""
    needle = _spaced(task.input)
    if not needle:
        return False
    instruction = _spaced(task.instruction)
    start = instruction.find(needle)
    while start >= 0:
        end = start + len(needle)
        if _at_edge(instruction, start, needle[0]) and _at_edge(instruction, end, needle[-1]):
            return True
        start = instruction.find(needle, start + 1)
    return False


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


@lru_cache(maxsize=2)
def tokens_of(text: str, language: str) -> tuple[str, ...]:
    """The tokens of a text; those of an instruction are wanted twice, and Korean ones take half a millisecond."""
    return tuple(tokenize(text, language))


def input_like_instruction(task: Task, language: str, settings: RuleSettings) -> str | None:
    """An input that says the instruction again, by ROUGE-L F."""
    if not task.input.strip():
        return None
    score, most = (
        rouge_l_of(tokens_of(task.instruction, language), tokens_of(task.input, language)),
        settings.input_threshold(language),
    )
    return (
        f"ROUGE-L F of instruction and input is {score:.2f}, above {most}" if score > most else None
    )


def may_say_it_again(batch: Batch) -> Sequence[bool]:
    """In which tasks `input_like_instruction` may find something."""
    return [bool(task.input) for task in batch.tasks]
