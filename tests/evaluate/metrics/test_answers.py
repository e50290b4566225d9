"""Token F1 and exact match against values worked out by hand from the rules of the official scripts."""

import pytest

from xtune.evaluate.metrics.answers import Rules, exact_match, normalised, token_f1


@pytest.mark.parametrize(
    ("text", "language", "rules", "tokens"),
    [
        # SQuAD: lower case, no ASCII punctuation, no English articles, whatever the language
        ("The Denver Broncos!", "en", "squad", ["denver", "broncos"]),
        ("un año, el Sol", "es", "squad", ["un", "año", "el", "sol"]),
        ("«Вена»", "ru", "squad", ["«вена»"]),
        ("在1934年", "zh", "squad", ["在1934年"]),
        # MLQA: all of Unicode's punctuation, the language's articles, a Chinese character a word
        ("un año, el Sol", "es", "words", ["año", "sol"]),
        ("«Вена»", "ru", "words", ["вена"]),
        ("das Haus der Frau", "de", "words", ["haus", "frau"]),
        ("những con mèo", "vi", "words", ["con", "mèo"]),
        ("الكتاب", "ar", "words", ["كتاب"]),
        ("在1934年，第2次", "zh", "words", ["在", "1934", "年", "第", "2", "次"]),
        ("the theatre", "en", "words", ["theatre"]),
        ("サ・テ", "ko", "words", ["サテ"]),
    ],
)
def test_texts_are_cut_as_the_official_scripts_cut_them(
    text: str, language: str, rules: Rules, tokens: list[str]
) -> None:
    assert normalised(text, language, rules) == tokens


@pytest.mark.parametrize(
    ("answer", "references", "language", "rules", "f1"),
    [
        # two of three tokens are among the two: P = 2/3, R = 1, F = 4/5
        ("in Denver Broncos", ["the Denver Broncos"], "en", "squad", 0.8),
        ("in Denver Broncos", ["Carolina", "the Denver Broncos"], "en", "squad", 0.8),
        # counted with repetition: one of two against one of one, F = 2/3
        ("no no", ["no"], "en", "squad", 2 / 3),
        # without spaces the SQuAD script sees one word, and it is another
        ("在1934年", ["1934年"], "zh", "squad", 0.0),
        # four of five characters and numbers: P = 2/3, R = 1
        ("在1934年", ["1934年"], "zh", "words", 0.8),
        ("", ["yes"], "en", "squad", 0.0),
        ("the", ["a"], "en", "squad", 0.0),
    ],
)
def test_token_f1_is_what_pen_and_paper_say(
    answer: str, references: list[str], language: str, rules: Rules, f1: float
) -> None:
    assert token_f1(answer, references, language, rules) == pytest.approx(f1)


def test_a_thai_answer_has_words_although_it_has_no_spaces() -> None:
    pytest.importorskip("newmm_tokenizer")
    # cat | sees | fish against cat | sees | bird: two of three
    assert token_f1("แมวเห็นปลา", ["แมวเห็นนก"], "th", "words") == pytest.approx(2 / 3)
    assert token_f1("แมวเห็นปลา", ["แมวเห็นนก"], "th", "squad") == 0.0


def test_exact_match_looks_past_case_marks_and_articles_and_takes_any_reference() -> None:
    assert exact_match("The Broncos.", ["broncos"], "en", "squad") == 1.0
    assert exact_match("Broncos", ["Panthers", "the broncos"], "en", "squad") == 1.0
    assert exact_match("Broncos 2", ["broncos"], "en", "squad") == 0.0
