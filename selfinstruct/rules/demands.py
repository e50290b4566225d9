"""Rules on answers that refuse and on tasks that ask a model of text for more than text; the words lie in `phrases`."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import compress

import regex

from selfinstruct.rules import marks, phrases
from selfinstruct.rules.asking import asking
from selfinstruct.rules.batch import INSTRUCTION, OUTPUT, Batch
from selfinstruct.rules.patterns import Patterns, Texts
from selfinstruct.rules.refusing import LANGUAGES, denying, refusing
from selfinstruct.rules.settings import RuleSettings
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


_MARKS_OF_SPEECH = tuple(marks.SIGNS[marks.SPEECH])
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
    end = _last_start(opening)
    found = next((one for one in _found(_refusing, main, opening) if one.start() <= end), None)
    if not found:
        if task.input:
            return None
        denials = _denying(main).find(Texts([_unspoken(opening)]))
        found = next((one for one in denials if one.start() <= end), None)
        if not found or _speaks(task.instruction, main):
            return None
    asked = _plain(f"{task.instruction}\n{task.input}")
    texts = Texts([asked])
    # what is to be translated or told in other words may itself refuse
    if (
        _has("ABOUT_REFUSAL", main, texts)
        or _AI.search(asked)
        or any(True for one in LANGUAGES for _ in _refusing(one).find(texts))
    ):
        return None
    return f"output opens with {found[0][:80]!r}"


def may_refuse(batch: Batch) -> Sequence[bool]:
    """In which tasks `refusal` may find something."""
    main = _main(batch.language)
    openings = [task.output.strip()[:_OPENING_CHARACTERS] for task in batch.tasks]
    for at in _places(batch.have(marks.SPELLING, OUTPUT)):
        openings[at] = _plain(openings[at])
    may = _match(_refusing, main, openings, opens=True)
    own = list(openings)
    for at in _places(batch.have(marks.SPEECH, OUTPUT)):
        own[at] = _unspoken(own[at])
    left = [at for at, task in enumerate(batch.tasks) if not (may[at] or task.input)]
    texts, whole = Texts([own[at] for at in left]), [openings[at] for at in left]
    denied = _denying(main).match(texts, partial(_last_start_of, whole))
    for at in compress(left, denied):
        may[at] = True
    return may


def _opening(task: Task) -> str:
    return _plain(task.output.strip()[:_OPENING_CHARACTERS])


def _speaks(instruction: str, language: str) -> bool:
    """Whether an instruction gives a text, or asks for one in somebody's voice."""
    return any(map(instruction.__contains__, (*_MARKS_OF_SPEECH, "：", "\n"))) or _has(
        "IN_A_VOICE", language, Texts([instruction])
    )


def _unspoken(text: str) -> str:
    """A text without quotations and what the speakers of a dialogue say."""
    if any(map(text.__contains__, _MARKS_OF_SPEECH)):
        return str(_SPOKEN.sub(" ", text))
    return text


def _plain(text: str) -> str:
    """A text with one kind of apostrophe, and without the marks of vowels that Arabic may leave out."""
    # `translate` looks every letter up, which takes longer than to see that there is nothing to do
    return text.translate(_PLAIN) if any(map(text.__contains__, _NOT_PLAIN)) else text


_NOT_PLAIN = tuple(marks.SIGNS[marks.SPELLING])

_PLAIN = str.maketrans(dict.fromkeys(_NOT_PLAIN, "") | {"’": "'"})


def _last_start(opening: str) -> int:
    """Where what is in the first sentence of an answer begins at most."""
    end = _SENTENCE_END.search(opening)
    return max(_INTERJECTION, end.start() if end else len(opening))


def _last_start_of(openings: Sequence[str], at: int) -> int:
    return _last_start(openings[at])


_SENTENCE_END = regex.compile(r"[.!?。！？؟…](?=\s|$|[\p{Han}\p{Hiragana}\p{Katakana}])|\n")
_INTERJECTION = 20
"""Characters that "Hello!" may take before a refusal."""


def beyond_text(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """An instruction that asks for images, sound, files, the web or the present moment; programs may."""
    asked, main = _asked(task), _main(language)
    found = next(_found(_asking, main, asked), None)
    if not found or any(
        _is_in(one, Texts([task.instruction])) for one in (phrases.CODE_TASK, phrases.HOW_TO)
    ):
        return None
    return f"asks for {found[0][:80]!r}"


def may_go_beyond(batch: Batch) -> Sequence[bool]:
    """In which tasks `beyond_text` may find something."""
    asked = [task.instruction for task in batch.tasks]
    for at in _places(batch.have(marks.SPEECH | marks.SPELLING, INSTRUCTION)):
        asked[at] = _asked(batch.tasks[at])
    return _match(_asking, _main(batch.language), asked)


def _places(truths: Sequence[bool]) -> Iterator[int]:
    return compress(range(len(truths)), truths)


def _asked(task: Task) -> str:
    """What an instruction asks of the model itself."""
    return _plain(_unspoken(task.instruction))


def _main(language: str) -> str:
    return language.partition("-")[0].lower()


def _found(
    patterns: Callable[[str], Patterns], language: str, text: str
) -> Iterator["regex.Match[str]"]:
    """What patterns of a language find, and those of English, which a text that is not in ASCII hardly is in."""
    texts = Texts([text])
    if language != "en":
        yield from patterns(language).find(texts)
    if text.isascii():
        yield from patterns("en").find(texts)


def _match(
    patterns: Callable[[str], Patterns],
    language: str,
    texts: Sequence[str],
    *,
    opens: bool = False,
) -> list[bool]:
    """In which texts `_found` finds something, in the first sentence if it is to open them."""
    found = [False] * len(texts)
    for one in dict.fromkeys((language, "en")):
        left = [at for at, text in enumerate(texts) if one != "en" or text.isascii()]
        own = Texts([texts[at] for at in left])
        last_start = partial(_last_start_of, own.texts) if opens else None
        for at in compress(left, patterns(one).match(own, last_start)):
            found[at] = True
    return found


@cache
def _refusing(language: str) -> Patterns:
    return Patterns(refusing(language))


@cache
def _denying(language: str) -> Patterns:
    return Patterns(denying(language))


@cache
def _asking(language: str) -> Patterns:
    return Patterns(asking(language))


def _has(table: str, language: str, text: Texts) -> bool:
    """Whether a text has one of the words of a table of `phrases`, of a language or of English."""
    words = getattr(phrases, table)
    return any(_is_in(words[one], text) for one in {"en", language} & words.keys())


def _is_in(pattern: str, text: Texts) -> bool:
    return any(True for _ in _patterns(pattern).find(text))


_patterns = cache(Patterns)
