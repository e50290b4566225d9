"""The measures of written answers by name: what a task or a data file asks for, made from answers and references."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xtune.evaluate.metrics.answers import exact_match, token_f1
from xtune.evaluate.metrics.bootstrap import Measure, mean_measure
from xtune.evaluate.metrics.translation import bleu, chrf
from xtune.text import rouge_l


@dataclass(frozen=True, kw_only=True)
class Written:
    """Answers in one language and what would be right; several references of an answer are alternatives."""

    answers: Sequence[str]
    references: Sequence[Sequence[str]]
    language: str
    """BCP-47 code of the answers' language."""


def measure(name: str, written: Written) -> Measure:
    """One measure of the answers.

    Raises:
        MissingPackageError: BLEU or chrF without sacrebleu.
        KeyError: There is no measure of that name.
    """
    return TEXT_MEASURES[name](written)


def _rows(written: Written, score: Callable[[str, Sequence[str]], float]) -> list[float]:
    return [score(*row) for row in zip(written.answers, written.references, strict=True)]


def _exact(written: Written) -> Measure:
    return mean_measure(
        "exact match", _rows(written, lambda a, r: exact_match(a, r, written.language, "squad"))
    )


def _f1(written: Written) -> Measure:
    return mean_measure(
        "F1", _rows(written, lambda a, r: token_f1(a, r, written.language, "squad"))
    )


def _word_f1(written: Written) -> Measure:
    return mean_measure(
        "word F1", _rows(written, lambda a, r: token_f1(a, r, written.language, "words"))
    )


def _rouge(written: Written) -> Measure:
    def best(answer: str, references: Sequence[str]) -> float:
        return max((rouge_l(answer, right, written.language) for right in references), default=0.0)

    return mean_measure("ROUGE-L", _rows(written, best))


TEXT_MEASURES: dict[str, Callable[[Written], Measure]] = {
    "exact_match": _exact,
    "f1": _f1,
    "word_f1": _word_f1,
    "rouge_l": _rouge,
    "bleu": lambda written: bleu(written.answers, written.references, written.language),
    "chrf": lambda written: chrf(written.answers, written.references),
}
"""Name in the table of tasks to what makes it."""
