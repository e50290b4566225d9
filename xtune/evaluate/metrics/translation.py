"""BLEU and chrF by sacrebleu, as sums over rows, so that the bootstrap needs the texts only once."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xtune.errors import MissingPackageError
from xtune.evaluate.metrics.bootstrap import Floats, Measure
from xtune.text import tokenizer, tokenizer_name

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

PACKAGE = "sacrebleu"
COMMAND = "pip install 'xtune[bleu]'"


def bleu(answers: Sequence[str], references: Sequence[Sequence[str]], language: str) -> Measure:
    """Corpus BLEU (Papineni et al. 2002), 0 to 100, on words of the language.

    sacrebleu's `13a` where words stand between spaces, its `zh` for Chinese; elsewhere `xtune.text` cuts
    the texts, as sacrebleu needs other packages or a download there.

    Raises:
        MissingPackageError: sacrebleu is not installed.
    """
    metric, cut = _bleu_of(language)
    rights = [[cut(text) for text in alternatives] for alternatives in references]
    return _measured("BLEU", metric, [cut(text) for text in answers], rights)


def chrf(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """Corpus chrF2 of character 6-grams (Popović 2015), 0 to 100: the same in every language.

    Raises:
        MissingPackageError: sacrebleu is not installed.
    """
    return _measured("chrF", _metrics().CHRF(), answers, references)


def bleu_signature(language: str) -> str:
    """What cuts the words that BLEU counts, to be told with the number."""
    main = language.partition("-")[0].lower()
    if main == "zh":
        return "zh"
    name = tokenizer_name(language)
    return "13a" if name in {"wordpunct", "indic words"} else name


def require() -> None:
    """Nothing, where sacrebleu is installed.

    Raises:
        MissingPackageError: It is not.
    """
    _metrics()


def is_available() -> bool:
    """Whether sacrebleu is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def _bleu_of(language: str) -> tuple["BLEU", Any]:
    signature, kinds = bleu_signature(language), _metrics()
    if signature in {"13a", "zh"}:
        return kinds.BLEU(tokenize=signature, force=True), str
    words = tokenizer(language)
    return kinds.BLEU(tokenize="none", force=True), lambda text: " ".join(words(text))


def _measured(
    name: str, metric: "BLEU | CHRF", answers: Sequence[str], references: Sequence[Sequence[str]]
) -> Measure:
    # as many for each: one that is there twice changes neither BLEU's counts nor chrF's best
    most = max(len(alternatives) for alternatives in references)
    streams = [
        [alternatives[place if place < len(alternatives) else 0] for alternatives in references]
        for place in range(most)
    ]
    # sacrebleu's own bootstrap stands on these two; they are not public, and the tests hold them to corpus_score
    rows = metric._extract_corpus_statistics(list(answers), streams)

    def value_of(sums: Floats) -> Floats:
        whole = np.rint(sums).astype(np.int64).tolist()
        return np.array([metric._compute_score_from_stats(row).score for row in whole])

    return Measure(
        name=name, statistics=np.array(rows, np.float64), value_of=value_of, unit="points"
    )


def _metrics() -> Any:
    try:
        import sacrebleu.metrics  # noqa: PLC0415 - an optional package
    except ImportError:
        raise MissingPackageError(PACKAGE, purpose="BLEU and chrF", command=COMMAND) from None
    return sacrebleu.metrics
