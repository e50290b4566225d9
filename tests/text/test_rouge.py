"""ROUGE-L equals rouge_score to the last bit on the same tokens."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from rouge_score.rouge_scorer import _score_lcs

from xtune.text import f_measure, rouge_l, rouge_l_of, tokenize


def test_thirty_thousand_pairs_have_the_score_of_rouge_score() -> None:
    draw = random.Random(0)
    for _ in range(30_000):
        m, n = draw.randint(0, 12), draw.randint(0, 12)
        a, b = draw.choices("abcde", k=m), draw.choices("abcde", k=n)
        assert rouge_l_of(a, b) == _score_lcs(a, b).fmeasure


@pytest.mark.parametrize("size", range(1, 61))
def test_every_pair_of_lengths_has_the_score_of_rouge_score_at_every_overlap(size: int) -> None:
    """Nested texts: the longest common subsequence of x1..xm and x1..xc y.. is c."""
    from rouge_score import scoring

    for other in range(1, 61):
        for common in range(min(size, other) + 1):
            expected = scoring.fmeasure(common / other, common / size)
            assert f_measure(common, size, other) == expected


@pytest.mark.parametrize(("common", "m", "n", "reaches"), [(21, 23, 37, False), (7, 7, 13, True)])
def test_ties_on_paper_land_where_rouge_score_lands_them(
    common: int, m: int, n: int, reaches: bool
) -> None:
    shared = [f"s{number}" for number in range(common)]
    a = [*shared, *(f"a{number}" for number in range(m - common))]
    b = [*shared, *(f"b{number}" for number in range(n - common))]
    assert 20 * common == 7 * (m + n)
    assert (rouge_l_of(a, b) >= 0.7) is reaches
    assert rouge_l_of(a, b) == _score_lcs(a, b).fmeasure == rouge_l_of(b, a)


@settings(deadline=None)
@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(["es", "zh", "th"]))
def test_any_two_texts_have_the_score_of_rouge_score_with_our_tokens(
    a: str, b: str, language: str
) -> None:
    class Ours:
        def tokenize(self, text: str) -> list[str]:
            return tokenize(text, language)

    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Ours())
    assert rouge_l(a, b, language) == scorer.score(a, b)["rougeL"].fmeasure


def test_identical_texts_score_one_in_scripts_that_rouge_score_has_no_tokens_for() -> None:
    for language, text in [
        ("th", "สวัสดีชาวโลก"),
        ("ar", "مرحبا بالعالم"),
        ("ko", "안녕하세요 세계"),
    ]:
        assert rouge_l(text, text, language) == 1.0
