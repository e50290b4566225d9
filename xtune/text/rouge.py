"""ROUGE-L (Lin 2004) on tokens of any language, equal to `rouge_score` to the last bit on the same tokens.

`rouge_score` itself lower-cases and keeps only a-z and 0-9, so that two identical Thai texts score 0. The
measure is kept here and the tokens come from `xtune.text.segment`.
"""

from collections.abc import Sequence
from unicodedata import normalize

from rapidfuzz.distance import LCSseq

from xtune.text.segment import UNSPEAKABLE, least_tokens, tokenize


def rouge_l(a: str, b: str, language: str) -> float:
    """ROUGE-L F of two texts in a language, 0 to 1; which of the two is the reference makes no difference.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    return rouge_l_of(tokenize(a, language), tokenize(b, language))


_ROUNDING = 1e-9
"""By how much more a bound is kept away, since the same number on paper is another double."""


def rouge_l_above(tokens: Sequence[str], text: str, language: str, most: float) -> float | None:
    """ROUGE-L F of two texts where it is above `most`, else None; nearly always without cutting the second one.

    That shares no token that does not stand in it letter by letter, and has as many tokens as it shares at least.

    Args:
        tokens: Of one text, as `tokenize` has them.
        text: The other one.
        language: BCP-47 code of both.
        most: 0 to 1.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    letters = normalize("NFC", text)
    if not UNSPEAKABLE.search(letters):  # of these, tokens have others
        common = sum(map(letters.__contains__, tokens))
        others = max(common, least_tokens(letters, language))
        if f_measure(common, len(tokens), others) <= most - _ROUNDING:
            return None
    score = rouge_l_of(tokens, tokenize(text, language))
    return score if score > most else None


def rouge_l_of(a: Sequence[str], b: Sequence[str]) -> float:
    """ROUGE-L F of two texts given as tokens; 0 if either has none."""
    if not a or not b:
        return 0.0
    return f_measure(LCSseq.similarity(a, b), len(a), len(b))


def f_measure(common: int, m: int, n: int) -> float:
    """F of a longest common subsequence of `common` tokens between texts of `m` and `n` tokens.

    Computed as `rouge_score` does, operation by operation: 2 * common / (m + n) is the same number on paper
    and another double at ties, (21, 23, 37) lands below 0.7 and (7, 7, 13) above.
    """
    if not common:
        return 0.0
    precision, recall = common / n, common / m
    return 2 * precision * recall / (precision + recall)
