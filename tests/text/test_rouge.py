"""ROUGE-L equals rouge_score to the last bit on the same tokens."""

import random
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from rouge_score.rouge_scorer import _score_lcs

from xtune.text import f_measure, rouge_l, rouge_l_above, rouge_l_of, tokenize


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


WORDS = [*"のはをがに、。犬猫がกขคab.,!", "ไป", "กิน", "강아지", "고양이", "the", "dog", "\0", "\ud800", "\ufffd", "e\u0301", "é", "Ð", " ", "  ", "\n"]  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(WORDS), max_size=12).map("".join),
    st.lists(st.sampled_from(WORDS), max_size=12).map("".join),
    st.sampled_from(["es", "hi", "zh", "th", "ja", "ko"]),
    st.sampled_from([0.0, 0.2, 0.3, 0.5, 2 / 3, 1.0]),
)
def test_a_score_is_told_exactly_where_it_is_above(
    a: str, b: str, language: str, most: float
) -> None:
    """Texts of few words have many ties; some of their characters segmenters are not given as they are."""
    score = rouge_l(a, b, language)
    expected = score if score > most else None
    assert rouge_l_above(tokenize(a, language), b, language, most) == expected


@pytest.mark.parametrize("language", ["es", "zh", "th", "ja", "ko"])
def test_tokens_stand_in_the_text_letter_by_letter(language: str) -> None:
    """All of the Basic Multilingual Plane but what `UNSPEAKABLE` has."""
    codes = [code for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000]
    for at in range(0, len(codes), 64):
        text = "".join(f"가a{chr(code)}の {chr(code)}ก" for code in codes[at : at + 64])
        assert all(token in normalize("NFC", text) for token in tokenize(text, language))


def test_identical_texts_score_one_in_scripts_that_rouge_score_has_no_tokens_for() -> None:
    for language, text in [
        ("th", "สวัสดีชาวโลก"),
        ("ar", "مرحبا بالعالم"),
        ("ko", "안녕하세요 세계"),
    ]:
        assert rouge_l(text, text, language) == 1.0
