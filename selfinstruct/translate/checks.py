"""Whether a translation kept what must be kept and is in its language; it judges no style."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from selfinstruct.translate.languages import Language
from selfinstruct.translate.numbers import numbers_in, numbers_meant
from selfinstruct.translate.prompt import FIELDS
from selfinstruct.types import Seed
from xtune.text import language_fits, letters_by_script

_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'、。（）]+[^\s<>\"'、。（）.,;:!?)]|\S+@\S+\.\w+")
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_PLACEHOLDER = re.compile(
    r"\{\{?\s*[A-Za-z_]\w*\s*\}?\}|</?[A-Za-z][^<>\n]{0,40}>|%[sd]\b|_{3,}|\[[A-Z][A-Z _]+\]"
)
_LABEL = re.compile(r"^\s*\(?([A-Za-z]|\d{1,2})(?:[).]| ?:)(?!\d)", re.MULTILINE)
"""What a list's or an option's line begins with: `A)`, `(b)`, `3.`, `A:` and the French `A :`."""

_TABLE_ROW = re.compile(r"^\s*\|.*\|\s*$", re.MULTILINE)
_FEWEST_LETTERS = 10
_LEAST_SHARE_OF_SCRIPT = 0.5
"""Of the letters; ours: names and code may stand in another script, a whole text may not."""

_RUN_LEFT_IN_ENGLISH = 5
"""Words of the English text that stand in a row in the translation; ours: shorter runs are names and quotations."""

_SLACK_CHARACTERS = 20
"""Added to both bounds of the length, so that texts of a few words pass."""

Exact: TypeAlias = Callable[[str], Counter[str]]


def reasons_against(seed: Seed, fields: Mapping[str, str], language: Language) -> list[str]:
    """What is wrong with a translation, each a sentence for the LLM and for people; empty if nothing is."""
    reasons = []
    for field in FIELDS:
        source, text = getattr(seed.task, field), fields[field]
        if field in seed.keep:
            if text != source:
                reasons.append(f'"{field}" must be copied letter by letter')
        elif bool(source.strip()) != bool(text.strip()):
            state = "empty" if source.strip() else "not empty"
            reasons.append(f'"{field}" is {state}, unlike in the English task')
        elif source.strip():
            reasons += [f'"{field}": {reason}' for reason in _against_field(source, text, language)]
    texts = {field: fields[field] for field in FIELDS if field not in seed.keep}
    return reasons + _against_whole(seed, texts, language)


def _against_field(source: str, text: str, language: Language) -> Iterator[str]:
    yield from _against_numbers(source, text)
    for name, exact in _EXACT.items():
        before, after = exact(source), exact(text)
        if before != after:
            yield f"the {name} must stay {_told(before)}, but are {_told(after)}"
    if _keys(source) != _keys(text):
        yield "the JSON must have the keys of the English task"
    if left := _left_in_english(source, text):
        yield f'"{left}" is still in English'
    if _in_another_script(source, text, language):
        yield f"most letters are not in the script of {language.english}"


def _against_whole(seed: Seed, texts: Mapping[str, str], language: Language) -> list[str]:
    source = sum(len(getattr(seed.task, field)) for field in texts)
    length = sum(map(len, texts.values()))
    reasons = []
    least = language.shortest * source - _SLACK_CHARACTERS
    most = language.longest * source + _SLACK_CHARACTERS
    if not least <= length <= most:
        reasons.append(
            f"the translation has {length} characters for {source} in English; "
            f"{max(0, round(least))} to {round(most)} would be usual"
        )
    if language_fits(_prose("\n".join(texts.values())), language.code) is False:
        reasons.append(f"the translation is not in {language.english}")
    return reasons


def _against_numbers(source: str, text: str) -> Iterator[str]:
    """Every number that is in digits must be there again; what stood there as a word may be in digits now."""
    before, after = numbers_in(source), numbers_in(text)
    missing = before - after
    extra = (after - before) - numbers_meant(source)
    if missing:
        yield f"the numbers {_told(missing)} are missing"
    if extra:
        yield f"the numbers {_told(extra)} are not in the English text"


def _urls(text: str) -> Counter[str]:
    return Counter(_URL.findall(text))


def _code_spans(text: str) -> Counter[str]:
    return Counter(_CODE.findall(text))


def _placeholders(text: str) -> Counter[str]:
    return Counter(_PLACEHOLDER.findall(_CODE.sub(" ", text)))


def _labels(text: str) -> Counter[str]:
    """Labels at the beginnings of lines; a full-width `Ａ）` is the same one."""
    return Counter(_LABEL.findall(unicodedata.normalize("NFKC", text)))


def _table_rows(text: str) -> Counter[str]:
    return Counter(f"row of {row.count('|') - 1}" for row in _TABLE_ROW.findall(text))


_EXACT: dict[str, Exact] = {
    "web and mail addresses": _urls,
    "code spans": _code_spans,
    "placeholders": _placeholders,
    "labels of options": _labels,
    "rows of the table": _table_rows,
}


def _keys(text: str) -> object:
    """The shape of a text that is JSON: its keys, in lists and objects; None for any other text."""
    if text.strip()[:1] not in ("{", "["):
        return None
    try:
        return _shape(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    return [_shape(inner) for inner in value] if isinstance(value, list) else ""


def _left_in_english(source: str, text: str) -> str:
    """The first long run of words that the two texts share; names, which begin with capitals, do not count."""
    words, others = _prose(text).split(), _prose(source).split()
    runs = {tuple(others[at : at + _RUN_LEFT_IN_ENGLISH]) for at in range(len(others))}
    for at in range(len(words) - _RUN_LEFT_IN_ENGLISH + 1):
        run = tuple(words[at : at + _RUN_LEFT_IN_ENGLISH])
        if run in runs and sum(_is_lower_word(word) for word in run) >= 2:
            return " ".join(run)
    return ""


def _is_lower_word(word: str) -> bool:
    """Whether it has two letters and no capital in front; `c,` in a list of labels is no word."""
    return word[0].islower() and sum(map(str.isalpha, word)) > 1


def _in_another_script(source: str, text: str, language: Language) -> bool:
    """Whether most letters are foreign to the language, where none of the English text's belongs to it.

    Not asked of a few letters, which may be a name or a symbol, and of JSON, whose keys stay.
    """
    before, after = letters_by_script(_prose(source)), letters_by_script(_prose(text))
    few = before.total() < _FEWEST_LETTERS or not after
    if few or _keys(source) is not None or any(name in language.scripts for name in before):
        return False
    own = sum(after[name] for name in language.scripts)
    return own < _LEAST_SHARE_OF_SCRIPT * after.total()


def _prose(text: str) -> str:
    """A text without what stays the same in every language."""
    for pattern in (_CODE, _URL, _PLACEHOLDER):
        text = pattern.sub(" ", text)
    return text


def _told(counter: Counter[str]) -> str:
    return ", ".join(sorted(counter.elements())) or "none"
