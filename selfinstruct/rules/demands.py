"""Rules on answers that refuse and on tasks that ask a model of text for more than text; the words lie in `phrases`."""

from functools import cache

import regex

from selfinstruct.rules import phrases
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task

_OPENING_CHARACTERS = 240
"""Two or three sentences: a refusal opens an answer or is the whole of it."""

_QUOTE = regex.compile(r"^[\s\"'“”«»„‚‘「『*_-]*[\"“«„「『]|^\s*[\p{L} ]{1,20}:\s")
"""An answer that opens as a quotation or a line of dialogue tells what somebody said."""


_SPOKEN = regex.compile(
    r"[\"“„«「『][^\"“”„«»「」『』]{4,}[\"”“»」』]|(?<=\s)\p{Lu}[\p{L}]*+(?: \d)?:[^\n]*",
    flags=regex.MULTILINE,
)


_MARKS_OF_SPEECH = frozenset('"“„«「『:')
"""What `_SPOKEN` cannot do without."""


def refusal(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a rule's signature
    """An output that opens with the answerer's inability, or with "as an AI language model".

    A task about assistants, apologies or refusals may be answered with one.
    """
    opening = task.output.strip()[:_OPENING_CHARACTERS]
    if _QUOTE.match(opening):
        return None
    for table in ("IDENTITY", "UNABLE"):
        found = _pattern(table, _main(language)).search(opening)
        if found and found.start() <= max(_INTERJECTION, _sentence_end(opening)):
            asked = f"{task.instruction}\n{task.input}"
            if _pattern("ABOUT_REFUSAL", _main(language)).search(asked):
                return None
            return f"output opens with {found[0][:80]!r}"
    return None


def _sentence_end(text: str) -> int:
    """Where the first sentence of a text ends."""
    end = _SENTENCE_END.search(text)
    return end.start() if end else len(text)


_SENTENCE_END = regex.compile(r"[.!?。！？؟…](?=\s|$|[\p{Han}\p{Hiragana}\p{Katakana}])|\n")
_INTERJECTION = 20
"""Characters that "Hello!" may take before a refusal."""


def beyond_text(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """An instruction that asks for images, sound, files, the web or the present moment; programs may."""
    # what a quotation or a speaker of a dialogue asks is not asked of the model
    asked = task.instruction
    if not _MARKS_OF_SPEECH.isdisjoint(asked):
        asked = _SPOKEN.sub(" ", asked)
    found = _pattern("BEYOND", _main(language)).search(asked)
    if not found or _code_task().search(task.instruction) or _how_to().search(task.instruction):
        return None
    return f"asks for {found[0][:80]!r}"


def _main(language: str) -> str:
    return language.partition("-")[0].lower()


@cache
def _pattern(table: str, language: str) -> "regex.Pattern[str]":
    """The patterns of a language and of English, in one."""
    own = getattr(phrases, table)
    chosen = [own["en"], *([own[language]] if language != "en" and language in own else [])]
    return regex.compile("|".join(f"(?:{pattern})" for pattern in chosen), flags=regex.IGNORECASE)


@cache
def _how_to() -> "regex.Pattern[str]":
    return regex.compile(phrases.HOW_TO, flags=regex.IGNORECASE)


@cache
def _code_task() -> "regex.Pattern[str]":
    return regex.compile(phrases.CODE_TASK, flags=regex.IGNORECASE)
