"""Counts what the words and letters of a text say for each language of its script; what follows from that is decided elsewhere."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import regex

from xtune.text.language_classes import is_in_bmp, written_out
from xtune.text.language_tables import (
    FUNCTION_WORDS,
    GENRE_WORDS,
    LETTERS,
    MANY_LANGUAGES,
    RARE,
)

RARE_WEIGHT = 0.25
WORD_WEIGHT = 3.0
"""Both tried on 8,400 short texts in 13 languages, 2026-11-24."""

MOST_EVIDENCE = 200.0

_IN_WORDS = r"\p{L}\p{M}'’-"
_WORD = regex.compile(f"[{_IN_WORDS}]+")


class Speakers(NamedTuple):
    """What speaks for the languages of a script."""

    languages: Sequence[str]
    """Those with function words."""

    words: Mapping[str, Sequence[tuple[int, float]]]
    """Word to the languages that have it, by their places, each with its worth: less where several have it, more for a verb."""

    letters: Callable[[str], Sequence[str]]
    """Finds the letters that set some of them apart, none of which is in ASCII."""

    owners: Mapping[str, Sequence[int]]
    """Letter to the places of the languages it speaks for."""


@cache
def speakers(script: str) -> Speakers:
    """What speaks for the languages of a script."""
    languages = [name for name in MANY_LANGUAGES.get(script, ()) if name in FUNCTION_WORDS]
    listed = [
        (word, place, worth)
        for table, worth in ((FUNCTION_WORDS, 1.0), (GENRE_WORDS, 2.0))
        for place, language in enumerate(languages)
        for word in frozenset(table.get(language, "").split())
    ]
    known = Counter(word for word, _, _ in listed)
    words: dict[str, list[tuple[int, float]]] = {}
    for word, place, worth in listed:
        words.setdefault(word, []).append((place, worth / known[word] ** 2))
    owners: dict[str, list[int]] = {}
    for place, language in enumerate(languages):
        for letter in LETTERS.get(language, ""):
            owners.setdefault(letter, []).append(place)
    letters = re.compile(f"[{''.join(owners)}]" if owners else r"(?!)")
    return Speakers(languages, words, letters.findall, owners)


@lru_cache(maxsize=8)
def evidence(prose: str, script: str) -> Sequence[float]:
    """By what factor function words and letters multiply the probability of each of a script's `Speakers.languages`."""
    languages, known, letters, owners = speakers(script)
    hits = [0.0] * len(languages)
    for speaking in filter(None, map(known.get, words_of(prose))):
        for place, worth in speaking:
            hits[place] += worth
    if not prose.isascii():
        for letter in set(letters(prose.lower())):
            for place in owners[letter]:
                hits[place] += 1
    return [
        WORD_WEIGHT ** (hit if hit < MOST_EVIDENCE else MOST_EVIDENCE) if hit else 1.0
        for hit in hits
    ]


@cache
def weights_of_others(script: str, language: str) -> Sequence[float]:
    """What the model's opinion counts for each of a script's `Speakers.languages`; nothing for one of them."""
    return [
        0.0 if name == language else RARE_WEIGHT if name in RARE else 1.0
        for name in speakers(script).languages
    ]


@lru_cache(maxsize=8)
def words_of(prose: str) -> Sequence[str]:
    """The words of a text in lower case."""
    lower = prose.lower()
    return _word().findall(lower) if is_in_bmp(lower) else _WORD.findall(lower)


@cache
def _word() -> "re.Pattern[str]":
    """`_WORD` for `re`."""
    return re.compile(f"[{written_out(_IN_WORDS)}]+")
