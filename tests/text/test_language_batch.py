"""What is ruled out for many texts at once is what is ruled out for each; the model's numbers are fastText's own."""

import random

import fasttext
import pytest

from selfinstruct.seeds.read import read_seeds
from xtune.text import is_surely_another, may_be_another
from xtune.text.language_model import LanguageModel, language_model, model_path

LANGUAGES = ["ar", "de", "en", "es", "fr", "id", "ja", "ko", "pt", "ru", "th", "vi"]
AWKWARD = [
    "",
    " ",
    "42",
    "…",
    "\x00",
    "\ud800",
    "a\x00b c",
    "Er sagte: “The quick brown fox jumps over the lazy dog” und ging.",
    "`print(1)` druckt eine Eins; mehr nicht.",
    "Siehe https://a.example/ürgendwo und x@y.example 😀",
    "f(the value of x) ist (nicht) klar",
    "El 2 de mayo (sí).\x1cThe end is near, my friend",
    "Cafe\u0301 au lait, s’il vous plai\u0302t",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8 hello there",
    "東京タワーへ行きます。He said hello to everybody there.",
    "漢字漢字漢字漢字漢字漢字漢字の",
    "「これはとても長い引用です」 This is the text that is left over here",
    "ราคา 20 บาท (twenty baht only, please)",
    "ราคาhttps://a.example/ไทย ไม่แพง",
    "한국어 3개 and then some English words follow here",
    "Привет, мир! Ça va? Well then",
    "١٢٣ مرحبا بالعالم",
    "word " * 700,
    "the and of to in is that it was for on are with as his they at be this from " * 40,
    " ".join(f"w{number}x" for number in range(20_000)),
]


def texts_of(language: str) -> list[str]:
    tasks = [seed.task for seed in read_seeds(language)]
    return [text for task in tasks for text in (task.instruction, task.input, task.output) if text]


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    return {language: texts_of(language) for language in LANGUAGES}


def test_the_model_gives_what_fasttext_gives(texts: dict[str, list[str]]) -> None:
    model, theirs = language_model(), fasttext.load_model(str(model_path()))
    names = [name for name in LANGUAGES if model.knows(name)]
    questions = model.questions(names)
    for line in (
        line for each in texts.values() for text in each[:40] for line in text.split("\n")
    ):
        if not line.strip():
            continue
        vector = model.sums(line.split()).sum(axis=0) + model.end()
        (ours,) = questions.probabilities(vector[None, :-1] / vector[-1]).tolist()
        labels, shares = theirs.predict(" ".join(line.split()), k=176)
        given = dict(zip(labels, shares, strict=True))
        assert ours == pytest.approx(
            [given.get(f"__label__{name}", 0.0) for name in names], abs=1e-5
        )


def test_a_model_in_another_layout_is_refused() -> None:
    data = bytearray(model_path().read_bytes())
    data[4] += 1
    with pytest.raises(ValueError, match="layout"):
        LanguageModel(bytes(data))


@pytest.mark.parametrize("wanted", [*LANGUAGES, "pt-BR", "ms", "sr", "zh", "el", "pa", "uk", "xx"])
def test_a_text_is_ruled_out_only_where_it_is_not_surely_another(
    texts: dict[str, list[str]], wanted: str
) -> None:
    draw = random.Random(wanted)
    chosen = [text for each in texts.values() for text in draw.sample(each, 30)] + AWKWARD
    chosen += [f"{a} {b}" for a, b in zip(chosen, draw.sample(chosen, len(chosen)), strict=True)]
    draw.shuffle(chosen)
    for at in range(0, len(chosen), 40):
        some = chosen[at : at + 40]
        for text, may in zip(some, may_be_another(some, wanted), strict=True):
            assert may or not is_surely_another(text, wanted), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_most_texts_in_the_language_are_ruled_out(
    texts: dict[str, list[str]], language: str
) -> None:
    own = [text for text in texts[language] if not is_surely_another(text, language)]
    assert sum(may_be_another(own, language)) < 0.2 * len(own)


def test_no_texts_are_no_answers() -> None:
    assert may_be_another([], "es") == []
