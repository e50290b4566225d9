"""Exact match and token F1 of short answers, as the official scripts of SQuAD and MLQA count them.

XQuAD and TyDiQA are scored by SQuAD's script, which knows English alone: ASCII punctuation, English articles,
words between spaces. MLQA's script has articles and word borders of seven languages; a language that it does
not know and that puts no spaces between words is cut by `xtune.text` here.
"""

import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, TypeAlias

from xtune.text import tokenize, tokenizer_name

Rules: TypeAlias = Literal["squad", "words"]
"""`squad`: SQuAD 1.1's script, in every language; `words`: MLQA's script, and `xtune.text` where that ends."""

_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": "ال",
}
"""Articles that MLQA's script takes out; its Arabic pattern amounts to every ال, within words too."""

_CHINESE = re.compile("[\u4e00-\u9fa5]")
"""The characters that MLQA's script counts as words of their own."""


def exact_match(answer: str, references: Sequence[str], language: str, rules: Rules) -> float:
    """1.0 if the normalised answer is one of the normalised references, else 0.0."""
    given = normalised(answer, language, rules)
    return float(any(given == normalised(right, language, rules) for right in references))


def token_f1(answer: str, references: Sequence[str], language: str, rules: Rules) -> float:
    """The best F1 of the answer's tokens with those of a reference, both counted with repetition (SQuAD, arXiv 1606.05250).

    An answer or a reference without any token scores 0.
    """
    given = normalised(answer, language, rules)
    return max((_f1(given, normalised(right, language, rules)) for right in references), default=0)


def normalised(text: str, language: str, rules: Rules) -> list[str]:
    """The tokens that count: lower case, without punctuation and articles."""
    main = language.partition("-")[0].lower()
    if rules == "squad":
        kept = "".join(character for character in text.lower() if character not in _ASCII_MARKS)
        return re.sub(_ARTICLES["en"], " ", kept).split()
    kept = "".join(character for character in text.lower() if character not in _marks())
    if main in _ARTICLES:
        kept = re.sub(_ARTICLES[main], " ", kept)
    return _words(main)(kept)


def _f1(given: list[str], right: list[str]) -> float:
    same = sum((Counter(given) & Counter(right)).values())
    if not same:
        return 0.0
    precision, recall = same / len(given), same / len(right)
    return 2 * precision * recall / (precision + recall)


@cache
def _words(language: str) -> Callable[[str], list[str]]:
    if language == "zh":
        return lambda text: _CHINESE.sub(r" \g<0> ", text).split()
    if tokenizer_name(language) in {"wordpunct", "indic words"} or language == "ko":
        return str.split  # Korean has spaces, too
    return lambda text: tokenize(text, language)


_ASCII_MARKS = frozenset(string.punctuation)


@cache
def _marks() -> frozenset[str]:
    """Everything that Unicode calls punctuation, and the ASCII signs that Python does."""
    every = (chr(code) for code in range(sys.maxunicode))
    return _ASCII_MARKS.union(sign for sign in every if unicodedata.category(sign)[0] == "P")
