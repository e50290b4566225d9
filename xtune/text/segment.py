"""Cuts a text into the tokens that ROUGE-L and token F1 count; these are not a model's tokens.

Languages that put spaces between words use `wordpunct` (runs of word characters, runs of the rest), as the
MultiAlpaca paper did. Japanese, Thai and Korean need a segmenter, an optional package whose data lies in the
wheel; without it, as in other scripts without spaces, character bigrams come closest to words.
"""

import importlib.util
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

Tokenizer: TypeAlias = Callable[[str], list[str]]

_WORDPUNCT = re.compile(r"\w+|[^\w\s]+")
"""nltk's wordpunct tokeniser, the paper's (arXiv 2307.06018, section 5.1)."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_WITHOUT_SPACES = frozenset({"bo", "dz", "km", "lo", "my", "wuu", "yue", "zh"})
_BIGRAMS = "character bigrams"
_SEGMENTERS = {
    "ja": ("unidic-lite", ("fugashi", "unidic_lite")),
    "ko": ("kiwi", ("kiwipiepy", "kiwipiepy_model")),
    "th": ("newmm", ("newmm_tokenizer",)),
}
"""Language to its segmenter's name and the modules it needs."""


def tokenize(text: str, language: str) -> list[str]:
    """The tokens of a text, in NFC, with its case.

    Args:
        text: Any text.
        language: BCP-47 code, `es` or `pt-BR`; only its first part counts.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    return _tokenizer(tokenizer_name(language))(unicodedata.normalize("NFC", text))


@cache
def tokenizer_name(language: str) -> str:
    """What cuts texts of a language here: `wordpunct`, `unidic-lite`, `kiwi`, `newmm` or `character bigrams`.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    if not _LANGUAGE.fullmatch(language):
        raise ValueError(f"`{language}` is no language code; `es`, `th` or `pt-BR` are")
    main = language.partition("-")[0].lower()
    if main in _SEGMENTERS:
        name, modules = _SEGMENTERS[main]
        return name if all(map(importlib.util.find_spec, modules)) else _BIGRAMS
    return _BIGRAMS if main in _WITHOUT_SPACES else "wordpunct"


@cache
def _tokenizer(name: str) -> Tokenizer:
    return _MAKERS[name]()


def _japanese() -> Tokenizer:
    import fugashi  # noqa: PLC0415 - an optional package
    import unidic_lite  # noqa: PLC0415

    # -Owakati: the surface forms alone; the tagger's features would cost ten times as much
    tagger = fugashi.GenericTagger(
        f'-Owakati -d "{unidic_lite.DICDIR}" -r "{unidic_lite.DICDIR}/mecabrc"'
    )
    return lambda text: tagger.parse(text).split()


def _korean() -> Tokenizer:
    import kiwipiepy  # noqa: PLC0415 - an optional package

    # one worker: threads would make the first call slow and the rest no faster on short texts
    kiwi = kiwipiepy.Kiwi(num_workers=1)
    return lambda text: [token.form for token in kiwi.tokenize(text)]


def _thai() -> Tokenizer:
    from newmm_tokenizer.tokenizer import word_tokenize  # noqa: PLC0415 - an optional package

    return lambda text: [token for token in word_tokenize(text) if not token.isspace()]


def _bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters within each run without white space; a run of one is a token itself."""
    return [run[start : start + 2] for run in text.split() for start in range(max(1, len(run) - 1))]


_MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "wordpunct": lambda: _WORDPUNCT.findall,
    "unidic-lite": _japanese,
    "kiwi": _korean,
    "newmm": _thai,
    _BIGRAMS: lambda: _bigrams,
}
