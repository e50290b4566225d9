"""The quick ways of language identification find what the patterns of `regex` find that define them, in any text."""

import re
import sys
import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xtune.text import detect_language, is_surely_another, language_fits
from xtune.text.language_classes import is_in_bmp, written_out
from xtune.text.language_evidence import speakers, words_of
from xtune.text.language_prose import prose_of

LETTERS = "aZñßœẞİıſKÅжЖіอำ語ひカ한글ชحه𐍈𠮷e\u0301"
SIGNS = "0١๙９²½Ⅳ①𐵀_/\\=#$%{}|~^<>+*(;)[]`@:.,'’-–“”„«»「」『』\"\u200b\ufe0f😀"
SPACES = " \n\t\r\u00a0\u2028\x1c\x1f\x85"
TEXTS = st.one_of(
    st.text(st.sampled_from(LETTERS + SIGNS + SPACES), max_size=60),
    st.lists(
        st.text(st.sampled_from("añoжอ語" + "1_(;).<=\x1d𐵀😀"), min_size=1, max_size=7), max_size=12
    ).map(" ".join),
    st.text(max_size=80),
)

SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}"
MARKS = r"\d_/\\=#$%{}|~^<>+*"
NO_WORD = regex.compile(
    rf"(?<![^\s{SPACELESS}])[^\s{MARKS}{SPACELESS}]*+[{MARKS}][^\s{SPACELESS}]*"
    r"|(?<![\p{L}.])[\p{L}.]++\([^()\n]{0,200}\)\S*|(?<!\S)[^\s;]++;(?=\s|$)"
)
"""A run with a mark in it, a call, a word that ends in a semicolon."""


@pytest.mark.parametrize(
    "characters", [r"\p{L}\p{M}'’-", r"\p{Han}\p{Thai}", r"\p{L}--\p{Script=Latin}"]
)
def test_a_class_that_is_written_out_holds_the_same_characters(characters):
    slow, quick = regex.compile(f"(?V1)[{characters}]"), re.compile(f"[{written_out(characters)}]")
    every = "".join(map(chr, range(0x10000)))
    assert quick.findall(every) == slow.findall(every)


@pytest.mark.parametrize(
    ("text", "expected"), [("", True), ("abc", True), ("한\ud800\uffff", True), ("a😀", False)]
)
def test_characters_beyond_the_bmp_are_seen(text, expected):
    assert is_in_bmp(text) is expected


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_the_words_of_a_text_are_its_runs_of_letters_and_marks(text):
    assert list(words_of(text)) == regex.findall(r"[\p{L}\p{M}'’-]+", text.lower())


@settings(max_examples=600, deadline=None)
@given(TEXTS)
@example("a b(c d)e f")
@example("x; y")
@example("𐵀 uno dos")
@example("uno 1\x1ddos")
@example("語1語 ไทย๑ไทย")
def test_numbers_paths_and_calls_are_left_out_wherever_they_stand(text):
    text = regex.sub(r"[`@<{\"“”„«»「」『』]|://", "", text)  # code and quotations are other tests'
    if sum(map(text.count, "(){}[]=<>;")) > 0.08 * len(text):
        assert prose_of(text) == ""
        return
    text = unicodedata.normalize("NFC", text)
    left = NO_WORD.sub(" ", text) if re.search(r"[\d_/\\=#$%{}|~^<>+*(;]", text) else text
    assert prose_of(text) == " ".join(left.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uno `dos` tres", "uno tres"),
        (f"uno <b>dos</b> {'tres ' * 12}", f"uno dos {'tres ' * 12}".strip()),
        ("mira https://a.example/x?y ya", "mira ya"),
        ("de ana@example.org a luis", "de a luis"),
        ("él dijo «una cosa muy larga» y se fue a su casa", "él dijo y se fue a su casa"),
        ("él dijo «una cosa muy larga»", "él dijo «una cosa muy larga»"),
        ("  uno \n dos  ", "uno dos"),
        ("dos uno  tres", "dos uno tres"),
        ("f(x) = [y]; {z}", ""),
    ],
)
def test_code_addresses_and_quotations_are_left_out(text, expected):
    assert prose_of(text) == expected


def test_digits_of_other_scripts_begin_with_the_bytes_that_are_looked_for():
    first = {
        chr(code).encode()[0]
        for code in range(0x80, sys.maxunicode + 1)
        if not 0xD800 <= code < 0xE000 and chr(code).isdecimal()
    }
    for lead in first:
        text = next(
            chr(code)
            for code in range(0x80, sys.maxunicode + 1)
            if chr(code).isdecimal() and chr(code).encode()[0] == lead
        )
        assert prose_of(f"uno {text} dos") == "uno dos"


def test_letters_that_set_languages_apart_are_beyond_ascii():
    for script in ("Latin", "Cyrillic", "Arabic"):
        assert all(not letter.isascii() for letter in speakers(script).owners)


SENTENCES = [
    "Escribe un poema corto sobre el mar.",
    "Escreva um poema curto sobre o mar e a lua.",
    "Tulis puisi pendek tentang laut dan bulan.",
    "Schreibe ein kurzes Gedicht über das Meer.",
    "Write a short poem about the sea and the moon.",
    "Напиши короткое стихотворение о море.",
    "Як вберегти велосипед від іржі взимку?",
    "اكتب قصيدة قصيرة عن البحر",
    "چگونه از زنگ زدن دوچرخه‌ام جلوگیری کنم؟",
    "Viết một bài thơ ngắn về biển.",
    "Skriv ett kort brev till din mormor.",
    "海についての短い詩を書いてください。",
    "바다에 관한 짧은 시를 써 주세요.",
    "เขียนบทกวีสั้น ๆ เกี่ยวกับทะเล",
]


@pytest.mark.parametrize("language", ["es", "pt", "id", "de", "en", "ru", "uk", "ar", "fa", "ja", "ko", "th", "sr"])  # fmt: skip
def test_what_is_surely_another_language_is_what_does_not_fit(language):
    texts = SENTENCES + [f"{one} {other}" for one, other in pairwise(SENTENCES)]
    texts += [" ".join(text.split()[:3]) for text in SENTENCES]
    for text in texts:
        assert is_surely_another(text, language) == (language_fits(text, language) is False), text
    assert any(detect_language(text) not in {None, language} for text in texts)
