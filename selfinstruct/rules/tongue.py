"""Rules on the language of a task: the wrong one, and glosses that spell the own one in Latin letters."""

from collections.abc import Iterator, Sequence
from functools import cache

import regex

from selfinstruct.rules import marks, phrases
from selfinstruct.rules.batch import INSTRUCTION, OUTPUT, Batch
from selfinstruct.rules.romanise import has_romaji_form, sounds_like
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task
from xtune.text import (
    detect_language,
    is_surely_another,
    letters_by_script,
    may_be_another,
    scripts_of_language,
)

_LONG_ENOUGH = 60
"""Letters an output needs to be in another language: below lie titles, names and terms."""

_OTHER_LANGUAGE = (
    # words for translating and languages, and for parts of texts that are in another language
    r"translat|language|english|spanish|french|german|italian|portuguese|chinese|japanese|korean|russian|arabic|latin\b|thai\b|vietnamese|indonesian|"
    r"traduc|traduz|tradu[iç]|übersetz|idioma|lengua\b|lenguaje|língua|langue|sprache|terjemah|bahasa|inggris|"
    r"ingl[ée]s|anglais|englisch|espa[ñn]ol|spanisch|espagnol|spanyol|castellano|franc[ée]s|français|französisch|prancis|alem[áã]n?|allemand|deutsch|jerman|"
    r"itali[ae]n|portugu[êée]s|portugais|portugis|chin[oêeé]s|chinesisch|japon[êeé]s|japonais|japanisch|jepang|russe|ruso|russisch|rusia|árabe|arabe|arabisch|arab\b|korea|latín|latim|lateinisch|"
    r"翻訳|訳し|英語|日本語|中国語|韓国語|フランス語|スペイン語|ドイツ語|語に|言語|"
    r"번역|영어|한국어|일본어|중국어|프랑스어|스페인어|독일어|언어|외국어|옮기|"
    r"перев[её]|язык|англий|русск|француз|немец|испан|китай|япон|латын|"
    r"แปล|ภาษา|dịch|tiếng |ngôn ngữ|ترجم|اللغة|الإنجليزي|بالإنجليزية|بالعربية|الفرنسي|الإسباني|لغة|翻译|英文|中文"
)
_ASKS_FOR_READING = regex.compile(
    r"romaji|romani[sz]|romanj|translit|pronunc|pronounce|prononc|aussprach|pelafalan|ローマ字|読み方|発音|ふりがな|로마자|발음|транслит|произнош|การออกเสียง|อักษรโรมัน|ทับศัพท์|نطق|كتابة صوتية|拼音|phiên âm",
    flags=regex.IGNORECASE,
)
_GLOSS = regex.compile(r"[(（](?P<latin>\p{Latin}[\p{Latin}\p{M}'’ʼ\-–,.!?\s]{2,120})[)）]")
_BRACKETS = "(（"
_WORDS_BEFORE = regex.compile(r"(?:[\p{L}\p{M}ー々ฯๆ]++[\s・、,。，.]{0,2}+){1,12}[\"”」』]?\s?\Z")
_CHARACTERS_BEFORE = 60
_FEWEST_GLOSSES = 2
_LONG_GLOSS_LETTERS = 14
_ALL_ROMAJI = 3
"""As many brackets, all of them in the form of romaji, are glosses of kanji; terms are not all in that form."""
_LOANWORDS = frozenset({"ru", "uk", "bg"})
"""Languages in which a loanword in brackets, "сервер (server)", reads like a gloss: three are asked for."""


def wrong_language(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a rule's signature
    """An instruction that surely is in another language, or an output of some length that none asked to be.

    Code, names, formulas and short texts are in no language; a task that speaks of languages or of programs may be
    answered in any.
    """
    if is_surely_another(task.instruction, language):
        return f"instruction in {detect_language(task.instruction)}"
    script = _other_script(task.instruction, language)
    if script:
        return f"instruction in {script} letters"
    if (
        2 * len(task.output) < _LONG_ENOUGH
        or not is_surely_another(task.output, language)
        or _letters_said(task.output) < _LONG_ENOUGH
        or _is_names(task.output)
        or _elsewhere().search(f"{task.instruction}\n{task.input}")
        # a text in another language was given, and the answer may quote or correct it
        or is_surely_another(task.input, language)
    ):
        return None
    return f"output in {detect_language(task.output)}"


def may_be_wrong(batch: Batch) -> Sequence[bool]:
    """In which tasks `wrong_language` may find something."""
    tasks = batch.tasks
    long = [place for place, task in enumerate(tasks) if 2 * len(task.output) >= _LONG_ENOUGH]
    texts = [task.instruction for task in tasks] + [tasks[place].output for place in long]
    found = may_be_another(texts, batch.language)
    for place in (place for place, may in zip(long, found[len(tasks) :], strict=True) if may):
        found[place] = True
    return found[: len(tasks)]


_SYLLABLES = ("Han", "Hiragana", "Katakana", "Hangul")


def _letters_said(text: str) -> int:
    """Letters of a text, where one that is a syllable or a word counts for two."""
    counts = letters_by_script(text)
    return counts.total() + sum(counts[script] for script in _SYLLABLES)


def _is_names(text: str) -> bool:
    """Whether a text is a list of titles or names: every third word is capitalised, which prose does not do."""
    words = _WORD.findall(text)
    capitals = sum(word[0].isupper() for word in words)
    if 3 * capitals <= len(words):
        return False
    # German writes every noun so: a third to a half of the words of its prose
    return 3 * capitals > 2 * len(words) or detect_language(text) != "de"


_WORD = regex.compile(r"[\p{L}\p{M}]+")


def _other_script(text: str, language: str) -> str | None:
    """The script of an instruction none of whose letters is in the language's own, where it is long enough to say."""
    if len(text) < _LONG_ENOUGH or _own_letter(language.partition("-")[0].lower()).search(text):
        return None
    counts = letters_by_script(text)
    if counts.total() < _LONG_ENOUGH or not scripts_of_language(language).isdisjoint(counts):
        return None
    return None if detect_language(text) is None else counts.most_common(1)[0][0]


@cache
def _own_letter(language: str) -> "regex.Pattern[str]":
    """Looks for any letter of a language's own scripts: nearly every text begins with one."""
    scripts = "".join(rf"\p{{Script={name}}}" for name in sorted(scripts_of_language(language)))
    return regex.compile(rf"(?V1)[\p{{L}}&&[{scripts}]]")


def _glosses(text: str, own: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Each bracket of Latin letters that follows words of the own script, with these words."""
    for found in _GLOSS.finditer(text):
        before = _WORDS_BEFORE.search(
            text[max(0, found.start() - _CHARACTERS_BEFORE) : found.start()]
        )
        if before and any(script in own for script in letters_by_script(before[0])):
            yield before[0], found["latin"]


def gloss(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """Words of another script followed by their sound in Latin letters, twice or at length, unasked.

    One such gloss, a name's or a dish's, is good writing.
    """
    main = language.partition("-")[0].lower()
    own = scripts_of_language(main)
    if (
        "Latin" in own
        or not any(mark in text for text in (task.instruction, task.output) for mark in _BRACKETS)
        or _ASKS_FOR_READING.search(task.instruction)
        or _elsewhere().search(task.instruction)
    ):
        return None
    for part in ("instruction", "output"):
        beside = list(_glosses(getattr(task, part), own))
        found = [latin for words, latin in beside if sounds_like(words, latin, main)]
        if (
            main == "ja"
            and len(beside) >= _ALL_ROMAJI
            and all(has_romaji_form(latin) for _, latin in beside)
        ):
            found = [latin for _, latin in beside]
        long = any(
            letters_by_script(latin).total() >= _LONG_GLOSS_LETTERS and " " in latin
            for latin in found
        )
        if long or len(found) >= _FEWEST_GLOSSES + (main in _LOANWORDS):
            return f"{part}: {', '.join(found)[:80]!r}"
    return None


def may_gloss(batch: Batch) -> Sequence[bool]:
    """In which tasks `gloss` may find something."""
    return batch.have(marks.BRACKET, INSTRUCTION, OUTPUT)


@cache
def _elsewhere() -> "regex.Pattern[str]":
    return regex.compile(f"{_OTHER_LANGUAGE}|{phrases.CODE_TASK}", flags=regex.IGNORECASE)
