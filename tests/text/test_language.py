"""Which language a short text is in: sentences invented here, in every language that is supported."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.text import detect_language, language_fits, scripts_of, scripts_of_language

SENTENCES = {
    "ar": ["اكتب قصيدة قصيرة عن البحر", "ما هي فوائد شرب الماء كل يوم؟"],
    "de": [
        "Schreibe ein kurzes Gedicht über das Meer.",
        "Wie wird das Wetter morgen in den Bergen?",
    ],
    "en": ["Write a short poem about the sea.", "How do I keep my bicycle from rusting?"],
    "es": ["Escribe un poema corto sobre el mar.", "¿Cómo evito que se oxide mi bicicleta?"],
    "fr": ["Écris un court poème sur la mer.", "Comment éviter que mon vélo ne rouille ?"],
    "id": [
        "Tulis puisi pendek tentang laut.",
        "Bagaimana cara merawat sepeda agar tidak berkarat?",
    ],
    "ja": ["海についての短い詩を書いてください。", "PythonでCSVを読み込む関数を書いて"],
    "ko": ["바다에 관한 짧은 시를 써 주세요.", "자전거가 녹슬지 않게 하려면?"],
    "pt": ["Escreva um poema curto sobre o mar.", "Como evito que a minha bicicleta enferruje?"],
    "ru": ["Напиши короткое стихотворение о море.", "Как уберечь велосипед от ржавчины?"],
    "th": ["เขียนบทกวีสั้น ๆ เกี่ยวกับทะเล", "ทำอย่างไรไม่ให้จักรยานเป็นสนิม"],
    "vi": ["Viết một bài thơ ngắn về biển.", "Làm sao để xe đạp không bị gỉ?"],
    "zh": ["请写一首关于大海的短诗。", "怎样才能让自行车不生锈？"],
    "uk": ["Як вберегти велосипед від іржі?"],
    "fa": ["چگونه از زنگ زدن دوچرخه‌ام جلوگیری کنم؟"],
    "ur": ["میں اپنی سائیکل کو زنگ سے کیسے بچاؤں؟"],
    "it": ["Come evito che la mia bicicletta si arrugginisca?"],
    "nl": ["Hoe voorkom ik dat mijn fiets gaat roesten?"],
    "el": ["Γράψε ένα σύντομο ποίημα για τη θάλασσα."],
    "he": ["כתוב שיר קצר על הים"],
    "hi": ["समुद्र के बारे में एक छोटी कविता लिखो"],
}


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_a_short_sentence_is_told_in_its_language(language):
    assert [detect_language(text) for text in SENTENCES[language]] == [language] * len(
        SENTENCES[language]
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "42",
        "x = 3",
        "E = mc^2",
        "def f(x): return x + 1",
        "for i in range(10): print(i)",
        "int main() { return 0; }",
        "https://example.org/una/pagina/en/espanol",
        "Berlin",
        "Ada Lovelace",
        "New York City",
        "Positive",
        "OK",
        "日本",
        "\0\ud800",
        "a b c d e f g",
        "🙂🙂🙂🙂🙂🙂🙂",
    ],
)
def test_code_numbers_names_and_single_words_are_in_no_language(text):
    assert detect_language(text) is None
    assert language_fits(text, "es") is not False


def test_what_is_quoted_or_in_code_does_not_outweigh_the_sentence_around_it():
    assert (
        detect_language('Traduce esta frase al inglés: "The cat that lives next door is asleep"')
        == "es"
    )
    assert (
        detect_language("Erkläre, was dieser Befehl tut: `for file in the folder do print it`")
        == "de"
    )


def test_close_languages_are_not_ruled_out_and_distant_ones_are():
    assert language_fits("Tulis puisi pendek tentang laut.", "id") is True
    assert language_fits("Tulis puisi pendek tentang laut.", "ms") is not True
    assert language_fits("Write a short poem about the sea and the moon.", "pt-BR") is False
    assert language_fits("Escreva um poema curto sobre o mar.", "pt-BR") is True
    assert language_fits("海についての短い詩を書いてください。", "ko") is False


def test_shares_of_scripts_count_letters_and_nothing_else():
    assert scripts_of("กขabc 123 !? 🙂") == {"Latin": 0.6, "Thai": 0.4}
    assert scripts_of("12 + 34 = 46") == {}
    assert scripts_of("漢字かなカナ") == {"Han": 2 / 6, "Hiragana": 2 / 6, "Katakana": 2 / 6}
    assert scripts_of_language("th-TH") == {"Thai"}
    assert scripts_of_language("sw") == {"Latin"}


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_no_text_raises(text):
    assert (found := detect_language(text)) is None or found.isascii()
    assert language_fits(text, "ja") in {True, False, None}


@pytest.mark.parametrize("piece", ["a", "a@", "<a ", "(a", '"', "a.", "a;", "{", "`", "漢", "_"])
def test_a_text_of_a_megabyte_without_spaces_is_read_in_linear_time(piece):
    assert detect_language(piece * (1_000_000 // len(piece))) in {None, "zh", "ja"}


SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.mark.shared
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the third-party files do not lie beside the repository"
)
def test_paragraphs_of_the_declaration_of_human_rights_are_told_in_twelve_languages():
    right = wrong = total = 0
    for language in ["ar", "de", "en", "es", "fr", "id", "ja", "ko", "pt", "ru", "th", "vi", "zh"]:
        root = ElementTree.parse(SHARED / "corpora" / "udhr" / f"{language}.xml")
        for element in root.iter():
            text = "".join(element.itertext()).strip()
            if element.tag.endswith("para") and len(text) > 20:
                found = detect_language(text)
                total, right, wrong = (
                    total + 1,
                    right + (found == language),
                    wrong + (found not in {language, None}),
                )
    assert total > 700
    assert right / total >= 0.98
    assert wrong / total <= 0.01


@pytest.mark.shared
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the third-party files do not lie beside the repository"
)
def test_short_spanish_instructions_are_spanish():
    lines = (SHARED / "selfinstruct" / "multialpaca_es.jsonl").read_text("utf-8").splitlines()[::10]
    found = [detect_language(json.loads(line)["instruction"]) for line in lines]
    assert found.count("es") / len(found) >= 0.985
