"""Rules on answers that refuse and on tasks that ask a model of text for more than text; the words lie in `phrases`."""

from collections.abc import Iterator, Sequence
from functools import cache

import regex

from selfinstruct.rules import phrases
from selfinstruct.rules.asking import asking
from selfinstruct.rules.batch import Batch
from selfinstruct.rules.grams import Patterns
from selfinstruct.rules.refusing import LANGUAGES, denying, refusing
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.rules.stems import Finds, Search, compile_finds, compile_search
from selfinstruct.types import Task

_OPENING_CHARACTERS = 240
"""Two or three sentences: a refusal opens an answer or is the whole of it."""

_QUOTE = regex.compile(r"^[\s\"'“”«»„‚‘「『*_-]*[\"“«„「『]|^\s*[\p{L} ]{1,20}:\s")
"""An answer that opens as a quotation or a line of dialogue tells what somebody said."""


_AI = regex.compile(r"(?<![A-Za-z])(?:AI|IA|KI)(?![A-Za-z])|\bИИ\b")
"""In capitals: "ai" is French for "have" and Vietnamese for "who"."""

_SPOKEN = regex.compile(
    r"[\"“„«「『][^\"“”„«»「」『』]{4,}[\"”“»」』]|(?<=\s)\p{Lu}[\p{L}]*+(?: \d)?:[^\n]*",
    flags=regex.MULTILINE,
)


_MARKS_OF_SPEECH = tuple('"“„«「『:')
"""What `_SPOKEN` cannot do without."""


def refusal(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a rule's signature
    """An output that opens with what an assistant cannot do, lacks or was not given, or with "as an AI language model".

    A task about assistants, apologies or refusals may be answered with one. Where neither a text in somebody's voice
    is asked for nor one is given, any "I cannot" that opens an answer is one.
    """
    opening = _opening(task)
    if _QUOTE.match(opening):
        return None
    main = _main(language)
    end = max(_INTERJECTION, _sentence_end(opening))
    found = next((one for one in _refusals(opening, main) if one.start() <= end), None)
    if not found:
        if task.input:
            return None
        # what it quotes, others say
        spoken = _SPOKEN.sub(" ", opening)
        found = next((one for one in _denying(main)(spoken) if one.start() <= end), None)
        if not found or _speaks(task.instruction, main):
            return None
    asked = _plain(f"{task.instruction}\n{task.input}")
    # what is to be translated or told in other words may itself refuse
    if (
        _search("ABOUT_REFUSAL", main)(asked)
        or _AI.search(asked)
        or any(True for one in LANGUAGES for _ in _refusing(one)(asked))
    ):
        return None
    return f"output opens with {found[0][:80]!r}"


def may_refuse(batch: Batch) -> Sequence[bool]:
    """In which tasks `refusal` may find something."""
    return _refusing_at_once(_main(batch.language)).match(list(map(_opening, batch.tasks)))


def _opening(task: Task) -> str:
    return _plain(task.output.strip()[:_OPENING_CHARACTERS])


def _speaks(instruction: str, language: str) -> bool:
    """Whether an instruction gives a text, or asks for one in somebody's voice."""
    return any(map(instruction.__contains__, (*_MARKS_OF_SPEECH, "：", "\n"))) or bool(
        _search("IN_A_VOICE", language)(instruction)
    )


def _plain(text: str) -> str:
    """A text with one kind of apostrophe, and without the marks of vowels that Arabic may leave out."""
    # `translate` looks every letter up, which takes longer than to see that there is nothing to do
    return text.translate(_PLAIN) if any(map(text.__contains__, _NOT_PLAIN)) else text


_NOT_PLAIN = ("’", *map(chr, range(0x64B, 0x653)))
"""Apostrophes, and the marks of Arabic vowels."""

_PLAIN = str.maketrans(dict.fromkeys(_NOT_PLAIN, "") | {"’": "'"})


def _sentence_end(text: str) -> int:
    """Where the first sentence of a text ends."""
    end = _SENTENCE_END.search(text)
    return end.start() if end else len(text)


_SENTENCE_END = regex.compile(r"[.!?。！？؟…](?=\s|$|[\p{Han}\p{Hiragana}\p{Katakana}])|\n")
_INTERJECTION = 20
"""Characters that "Hello!" may take before a refusal."""


def beyond_text(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """An instruction that asks for images, sound, files, the web or the present moment; programs may."""
    found = next(_requests(_asked(task), _main(language)), None)
    if not found or _code_task()(task.instruction) or _how_to()(task.instruction):
        return None
    return f"asks for {found[0][:80]!r}"


def may_go_beyond(batch: Batch) -> Sequence[bool]:
    """In which tasks `beyond_text` may find something."""
    return _asking_at_once(_main(batch.language)).match(list(map(_asked, batch.tasks)))


def _asked(task: Task) -> str:
    """An instruction without what a quotation or a speaker of a dialogue asks, which is not asked of the model."""
    asked = task.instruction
    if any(map(asked.__contains__, _MARKS_OF_SPEECH)):
        asked = str(_SPOKEN.sub(" ", asked))
    return _plain(asked)


def _main(language: str) -> str:
    return language.partition("-")[0].lower()


@cache
def _search(table: str, language: str) -> Search:
    """Looks for the patterns of a language and of English."""
    own = getattr(phrases, table)
    chosen = [own["en"], *([own[language]] if language != "en" and language in own else [])]
    return compile_search("|".join(f"(?:{pattern})" for pattern in chosen))


def _refusals(text: str, language: str) -> Iterator["regex.Match[str]"]:
    """The refusals in a text, of a language and of English, which a text that is not in ASCII hardly is in."""
    if language != "en":
        yield from _refusing(language)(text)
    if text.isascii():
        yield from _refusing("en")(text)


@cache
def _refusing(language: str) -> Finds:
    return compile_finds(refusing(language))


@cache
def _refusing_at_once(language: str) -> Patterns:
    own = filter(None, (refusing(language), denying(language)))
    return Patterns("|".join(own), refusing("en") if language != "en" else "")


@cache
def _denying(language: str) -> Finds:
    return compile_finds(denying(language))


def _requests(text: str, language: str) -> Iterator["regex.Match[str]"]:
    """The requests beyond text in a text, of a language and of English."""
    if language != "en":
        yield from _asking(language)(text)
    if text.isascii():
        yield from _asking("en")(text)


@cache
def _asking(language: str) -> Finds:
    return compile_finds(asking(language))


@cache
def _asking_at_once(language: str) -> Patterns:
    return Patterns(asking(language), asking("en") if language != "en" else "")


@cache
def _how_to() -> Search:
    return compile_search(phrases.HOW_TO)


@cache
def _code_task() -> Search:
    return compile_search(phrases.CODE_TASK)
