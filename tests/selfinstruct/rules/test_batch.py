"""A task is judged alike alone and with others: what is seen for all tasks at once hides nothing from the rules."""

import random
import sys
from unicodedata import is_normalized, normalize

import pytest
import regex

from selfinstruct.rules import RULES, Rules
from selfinstruct.rules.batch import Batch
from selfinstruct.rules.loops import _letters_in, may_repeat, repetition
from selfinstruct.rules.marks import AT, BRACKET, DIGIT, GAP, LABEL, SLASH, TWO_W, TWO_X, kinds_of
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.seeds.read import read_seeds
from selfinstruct.types import Task

LANGUAGES = ["ar", "de", "en", "es", "fr", "id", "ja", "ko", "pt", "ru", "th", "vi"]
FAULTS = [
    "", " ", "...", "\x00", "\ud800", "a", "가", "한", "<noinput>", "4. Output: x", "Instruction: y", "ｗｗｗ．a．example／b",
    "see www.a.example now", "bit.ly/3x", "[your name]", "XXX-XXX", "〇〇さん", "{topic}", "x@y.org", "＋34 912 345 678", "４１１１ 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00", "As an AI language model, I cannot browse the internet.", "Lo siento, como modelo de lenguaje no puedo ver imágenes.",
    "申し訳ありませんが、画像を見ることはできません。", "죄송합니다. 저는 인공지능 언어 모델로서 이미지를 볼 수 없습니다.", "Я языковая модель и не могу открыть файл.",
    "Describe the attached photo.", "Describe la imagen adjunta.", "この画像を説明してください。", "Busca en Internet el precio actual del oro.",
    "こんにちは (konnichiwa) さようなら (sayounara) ありがとう (arigatou)", "na na na na na na na na na na na na na na na na na na na na",
    "The whole text is in English, and nobody has asked for that at all.", "Dieser ganze Text ist auf Deutsch, und niemand hat danach gefragt.",
    "þþþþþþ", "ﬁﬂ①½", "x" * 9000, "e\u0301" * 40,
]  # fmt: skip


def tasks_of(language: str, count: int) -> list[Task]:
    draw = random.Random(language)
    tasks = [seed.task for seed in read_seeds(language)]
    texts = [text for task in tasks for text in (task.instruction, task.input, task.output) if text]
    for _ in range(count):
        parts = [draw.choice(texts) for _ in range(3)]
        if draw.random() < 0.5:
            parts[1] = ""
        at = draw.randrange(3)
        parts[at] = draw.choice((draw.choice(FAULTS), f"{draw.choice(FAULTS)} {parts[at]}"))
        tasks.append(Task(instruction=parts[0], input=parts[1], output=parts[2]))
    return tasks


@pytest.mark.parametrize("language", ["ar", "en", "es", "ja", "ko", "th", "pt-BR"])
def test_tasks_are_judged_together_as_alone(language: str) -> None:
    rules, draw = Rules(language), random.Random(1)
    tasks = tasks_of(language if language in LANGUAGES else "pt", 120)
    alone = [rules.judge(task) for task in tasks]
    together = []
    while len(together) < len(tasks):
        together += rules.judge_all(tasks[len(together) :][: draw.choice([1, 3, 17, 60])])
    assert together == alone
    reasons = {judged.dropped.reason for judged in alone if judged.dropped}
    assert len(reasons) >= 8, "the tasks above are to break most rules"


def test_an_answer_refuses_alike_where_its_input_is_blanked() -> None:
    """An input would excuse it; the rules see none, since the instruction holds it."""
    task = Task(
        instruction="¿Cuál fue el resultado de España contra Italia?",
        input="España contra Italia",
        output="No estoy actualizado con los resultados de los partidos.",
    )
    alone = Rules("es").judge(task)
    assert alone.changes == ("input_in_instruction",)
    assert alone.dropped is not None
    assert alone.dropped.reason == "refusal"
    assert list(Rules("es").judge_all([task] * 20)) == [alone] * 20


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_may_find_what_it_finds(rule) -> None:
    settings, found = RuleSettings(links_in_code=False, reserved_contacts=False), 0
    for language in ("en", "es", "ja", "ko"):
        tasks = tasks_of(language, 300)
        may = rule.may_find(Batch(tasks=tasks, language=language, settings=settings))
        for task, looked_at in zip(tasks, may, strict=True):
            finds = rule.finds(task, language, settings) is not None
            found += finds
            assert looked_at or not finds, task
    assert found, "the tasks above are to break this rule"


def test_no_tasks_are_no_judgements() -> None:
    assert list(Rules("es").judge_all([])) == []


@pytest.mark.parametrize("period", [1, 6, 7, 16, 17, 39, 40, 200])
def test_no_loop_is_overlooked_wherever_it_stands(period: int) -> None:
    """At every place among the windows that are looked at; with letters that are two without regard to case, too."""
    draw = random.Random(period)
    letters = [chr(code) for code in range(0x4E00, 0x5E00)]
    loop = "".join(draw.sample(letters, period)) * max(6, -(-40 // period))
    tasks = [
        Task(
            instruction="".join(draw.choices(letters, k=draw.randrange(200))),
            input="Straße" * draw.randrange(2),
            output="".join(draw.choices(letters, k=before)) + loop[: max(6 * period, 40)],
        )
        for before in range(180)
    ]
    batch = Batch(tasks=tasks, language="zh", settings=RuleSettings())
    assert all(may_repeat(batch))
    assert all(repetition(task, "zh", batch.settings) for task in tasks[::60])


def test_letters_are_found_without_regard_to_case() -> None:
    """All letters of the first plane: what is several letters is folded, and both cases are one number."""
    characters = list(map(chr, range(0x10000)))
    folded = "".join(characters).casefold()
    _, places, _ = _letters_in(["".join(characters)])
    assert places.tolist() == [at for at, one in enumerate(folded) if one.isalpha()]
    single = [one for one in characters if len(one.casefold()) == 1]
    numbers, *_ = _letters_in(["".join(single)])
    of_folded, *_ = _letters_in(["".join(single).casefold()])
    assert numbers.tolist() == of_folded.tolist()


def test_kinds_are_those_of_the_compatible_form() -> None:
    texts = [
        "a／b",
        "ｗw",
        "xＸ",
        "xX",
        "５",
        "＠",
        "（",
        "【",
        "［",
        "：",
        "plain words",
        "",
        "w",
        "x",
    ]
    kinds = kinds_of(texts).tolist()
    named = (LABEL, SLASH, GAP, DIGIT, AT, BRACKET, TWO_W, TWO_X)
    expected = [{SLASH}, {TWO_W}, set(), {TWO_X}, {DIGIT}, {AT}, {BRACKET}, set(), {GAP}, {LABEL}]
    expected += [set()] * 4
    assert [{kind for kind in named if row & kind} for row in kinds] == expected


def test_every_character_with_a_plain_sign_in_its_compatible_form_has_its_kind() -> None:
    characters = [
        one for one in map(chr, range(sys.maxunicode + 1)) if not is_normalized("NFKC", one)
    ]
    plain = {
        kind: [one for one in characters if sign.search(normalize("NFKC", one))]
        for kind, sign in ((SLASH, regex.compile("/")), (DIGIT, regex.compile(r"\d")))
    }
    for kind, those in plain.items():
        assert (kinds_of(those) & kind).all()
        assert len(those) > 2
