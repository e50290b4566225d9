"""BLEU and chrF: the corpus scores that sacrebleu's own documentation publishes, and its public functions."""

import numpy as np
import pytest

sacrebleu = pytest.importorskip("sacrebleu")

from xtune.evaluate.metrics.translation import bleu, bleu_signature, chrf  # noqa: E402
from xtune.text import tokenize  # noqa: E402

REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]
ANSWERS = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]


def test_the_published_example_has_the_published_scores() -> None:
    assert bleu(ANSWERS, REFERENCES, "en").value == pytest.approx(48.53, abs=0.005)
    assert chrf(ANSWERS, REFERENCES).value == pytest.approx(59.73, abs=0.005)


def test_references_may_differ_in_number() -> None:
    uneven = [REFERENCES[0], REFERENCES[1][:1], REFERENCES[2]]
    streams = [[row[0] for row in uneven], [row[-1] for row in uneven]]
    assert bleu(ANSWERS, uneven, "en").value == pytest.approx(
        sacrebleu.corpus_bleu(ANSWERS, streams).score
    )
    assert chrf(ANSWERS, uneven).value == pytest.approx(
        sacrebleu.corpus_chrf(ANSWERS, streams).score
    )


def test_a_choice_of_rows_has_the_score_of_those_rows() -> None:
    measure = bleu(ANSWERS, REFERENCES, "en")
    rows = [0, 0, 2]
    expected = sacrebleu.corpus_bleu(
        [ANSWERS[row] for row in rows], [[REFERENCES[row][side] for row in rows] for side in (0, 1)]
    ).score
    sums = measure.statistics[rows].sum(axis=0, keepdims=True)
    assert measure.value_of(np.asarray(sums))[0] == pytest.approx(expected)


def test_chinese_is_cut_by_sacrebleu_and_thai_by_its_segmenter() -> None:
    answer, right = ["我们明天去北京看朋友"], ["我们明天去上海看朋友"]
    assert bleu(answer, [right], "zh").value == pytest.approx(
        sacrebleu.corpus_bleu(answer, [right], tokenize="zh").score
    )
    thai, other = "แมวกินปลาและนอนบนโต๊ะ", "แมวกินปลาและนอนบนเตียง"
    cut = [" ".join(tokenize(text, "th")) for text in (thai, other)]
    assert bleu([thai], [[other]], "th").value == pytest.approx(
        sacrebleu.corpus_bleu(cut[:1], [cut[1:]], tokenize="none", force=True).score
    )
    assert bleu([thai], [[thai]], "th").value == pytest.approx(100)
    assert [bleu_signature(code) for code in ("de", "zh", "hi")] == ["13a", "zh", "13a"]
