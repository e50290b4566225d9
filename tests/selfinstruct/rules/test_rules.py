"""Single rules on texts invented here: what each takes, what it leaves, and what it says."""

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from selfinstruct.rules import Rules, RuleSettings
from selfinstruct.seeds import read_seeds
from selfinstruct.types import Task
from xtune.errors import XtuneError


def judged(
    instruction="Explain how tides work.",
    entry="",
    output="The moon pulls on the sea.",
    language="en",
    **options,
):
    return Rules(language, RuleSettings(**options)).judge(
        Task(instruction=instruction, input=entry, output=output)
    )


def reason(**parts):
    dropped = judged(**parts).dropped
    return dropped.reason if dropped else None


def test_a_task_without_fault_is_kept_as_it_is():
    judgement = judged()
    assert judgement.dropped is None
    assert judgement.changes == ()
    assert judgement.task == Task(
        instruction="Explain how tides work.", output="The moon pulls on the sea."
    )


@pytest.mark.parametrize("output", ["", " \n", "...", "…", "。", "-", "\u200b"])
def test_nothing_and_dots_are_no_output(output):
    assert reason(output=output) == "missing_part"


@pytest.mark.parametrize("output", ["4", "+", "?", "B", "はい", "🙂", "∅", "→"])
def test_one_sign_can_be_an_output(output):
    assert reason(output=output) is None


@pytest.mark.parametrize(
    "text",
    [
        "See https://example.org/a",
        "see HTTP://x.y",
        "go to www.example.org now",
        "ｈｔｔｐｓ：／／example.org",
        "日本語https://example.jp/です",
        "Read more at bit.ly/3xYz.",
        "詳しくはexample.co.jp/tripをご覧ください。",
    ],
)
def test_web_links(text):
    assert reason(output=text) == "web_link"


FETCH = """```python
import requests
print(requests.get("https://api.weather.test/v1").text)
```"""


@pytest.mark.parametrize(
    "output", [FETCH, FETCH.replace("```", "~~~"), "Run `curl https://a.org`."]
)
def test_links_in_code_are_kept_unless_the_switch_is_off(output):
    assert reason(output=output) is None
    assert reason(output=output, links_in_code=False) == "web_link"


def test_a_link_beside_the_code_is_still_a_link():
    assert reason(output=f"{FETCH}\nMore at https://a.org/b") == "web_link"


@pytest.mark.parametrize(
    "text",
    [
        "The WWW began in 1989.",
        "http is a protocol",
        "e.g. this and that",
        "3.14 and 2.71",
        "node.js and/or booking.com",
        "i.e./e.g.",
    ],
)
def test_words_about_the_web_are_no_links(text):
    assert reason(output=text) is None


def test_an_input_inside_the_instruction_is_blanked_and_recorded():
    judgement = judged(
        instruction='Correct this sentence: "He go home."',
        entry="He go home.",
        output="He goes home.",
    )
    assert judgement.task.input == ""
    assert judgement.changes == ("input_in_instruction",)
    assert judgement.dropped is None
    kept = judged(instruction="Add the numbers 12 and 5.", entry="2", output="17")
    assert kept.task.input == "2"
    japanese = judged(
        instruction="次の文を直してください：彼が行くた。",
        entry="彼が行くた。",
        output="彼が行った。",
        language="ja",
    )
    assert japanese.task.input == ""


def test_an_input_that_says_the_instruction_again_is_dropped_by_threshold():
    # tokens 6 and 6, common subsequence 4: F = 4/6
    instruction, entry = "alpha beta gamma delta one two", "alpha beta gamma delta three four"
    assert reason(instruction=instruction, entry=entry) == "input_like_instruction"
    assert reason(instruction=instruction, entry=entry, input_rouge=0.67) is None
    assert reason(instruction=instruction, entry=entry, input_rouge_by_language={"en": 0.9}) is None
    assert RuleSettings(paper_input_rouge=True).input_threshold("ar") == 0.2
    assert RuleSettings(paper_input_rouge=True).input_threshold("ko-KR") == 0.3
    assert RuleSettings(paper_input_rouge=True).input_threshold("es") == 0.5
    assert RuleSettings().input_threshold("ar") == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "Output: The moon.",
        "The moon.\n5. Instruction: Sing.",
        "**5. Input:** x",
        "The moon. <nooutput>",
        "<No Input>",
    ],
)
def test_labels_left_in_an_output(text):
    assert reason(output=text) == "left_label"


@pytest.mark.parametrize(
    "text",
    ["Step 1: mix.\nStep 2: bake.", "Ingredients:\n1. flour\nInstructions:\n1. Mix.", "The input: a number. The output: its square.", "Answer: B", "`<noinput>` is a tag.", "Task: none of them", "1. Input devices: keyboard"],
)  # fmt: skip
def test_ordinary_headings_are_no_labels(text):
    assert reason(output=text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Dear [Your Name],",
        "Call XXX-XXXX today.",
        "I love {topic} very much.",
        "Write to <insert address here>.",
        "at [place] on [date]",
        "「〇」に入る語",
    ],
)
def test_placeholders(text):
    assert reason(output=text) == "placeholder"


@pytest.mark.parametrize(
    "text",
    ["See [the name of the rose](page 3).", "`{topic}` is replaced.", "```\nf'{name}'\n```", 'print(f"Hello {name}")', "a[index] = 1", "The set {a, b} and {x}.", "\\frac{topic}{name}", "[1, 2, 3]", "He wrote [sic] that.", "$x_{name}$", "body {color: red}", "Super Bowl XX", "[laughs] Well."],
)  # fmt: skip
def test_code_links_and_formulas_are_no_placeholders(text):
    assert reason(output=text) is None


def test_a_gap_that_the_input_has_may_be_in_the_output():
    assert (
        reason(
            instruction="Shorten the letter.",
            entry="Dear [Name], I thank you so very much.",
            output="Dear [Name], thanks.",
        )
        is None
    )


def test_a_template_may_have_gaps():
    assert (
        reason(
            instruction="Write an email template for new customers.",
            output="Dear [Customer Name], welcome.",
        )
        is None
    )
    assert (
        reason(
            instruction="Escribe una plantilla de carta.",
            output="Estimado [nombre]:",
            language="es",
        )
        is None
    )
    assert reason(instruction="Write 30 in Roman numerals.", output="XXX") is None


def test_refusals_count_at_the_opening_only():
    assert reason(output="Tides rise. Some sites say: sorry, I cannot help you with that.") is None
    assert reason(output='"I\'m sorry, I cannot help you," said the wizard.') is None
    assert reason(output="I'm sorry, but I can't help with that.") == "refusal"


def test_length_counts_graphemes():
    family = "👨‍👩‍👧‍👦"  # one grapheme of seven code points
    assert reason(output=family * 5, longest_output=5) is None
    assert reason(output=family * 6, longest_output=5) == "length"
    assert reason(instruction="กี่", language="th", output="สาม", shortest_instruction=2) == "length"
    assert reason(instruction="詩を書いて", language="ja", output="海") is None
    assert reason(instruction="Go", output="Gone.") == "length"


@pytest.mark.parametrize(
    "text",
    ["ha" * 40, "I am very happy. " * 8, "とても楽しいです。" * 8, "มีความสุขมาก" * 8, "1. Clean the room\n2. Clean the room\n3. Clean the room\n4. Clean the room\n5. Clean the room\n6. Clean the room\n7. Clean the room", "Well. " + "سعيد جدا اليوم " * 9],
)  # fmt: skip
def test_loops_in_any_script(text):
    assert reason(output=text, wrong_language=False) == "repetition"


def test_a_paragraph_said_six_times_is_a_loop():
    paragraph = "The ferry leaves at nine, so the baker rows across the bay with two baskets of rye bread, waits for the mill to open, and carries the flour home before the tide has turned against her small boat."
    assert reason(output=" ".join([paragraph] * 6)) == "repetition"
    assert reason(output=" ".join([paragraph] * 3)) is None


@pytest.mark.parametrize(
    "text",
    ["No, no, no, no!", "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0", "| --- | --- | --- | --- | --- | --- | --- | --- |", "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.", "The cat sat. The cat ran. The cat slept. The cat ate.", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
)  # fmt: skip
def test_songs_tables_and_numbers_are_no_loops(text):
    assert reason(output=text) is None


@pytest.mark.parametrize(
    "text",
    ["Write to ana.perez@correo.es.", "ａｎａ＠correo.es", "Call +34 912 345 678.", "Tel: 030 1234567", "(212) 345-6789", "03-1234-5678", "Phone: ٠١٠ ١٢٣٤ ٥٦٧٨", "โทร. ๐๘-๑๒๓๔-๕๖๗๘", "card 4111 1111 1111 1111", "5500-0000-0000-0004", "IBAN GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "番号は4111 1111 1111 1111です。", "연락처는 010-9876-5432입니다.", "โทร.081-234-5678ได้", "口座DE89370400440532013000へ", "電話は03-1234-5678まで"],
)  # fmt: skip
def test_personal_data(text):
    assert reason(output=text, wrong_language=False) == "personal_data"


@pytest.mark.parametrize(
    "text",
    ["card 4111 1111 1111 1112", "GB82 WEST 1234 5698 7654 33", "From 1914-1918 and 1939-1945.", "299,792,458 metres", "1.403.500.365 people", "3.14159265358979", "ISBN 978-3-16-148410-0", "2024-11-24 10:30:00", "@home and user@", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "120-45-30 = 45", "Calories: 350-400-2000", "12345678901234567890", "phone number of 9 digits", "0000 0000 0000 0000", "4 8 1 5 1 6 2 3 4 2 1 0 8 7 6 3 2 9 0 1"],
)  # fmt: skip
def test_dates_numbers_and_wrong_checksums_are_no_personal_data(text):
    assert reason(output=text, wrong_language=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "Write to maria@example.com or to Tom.Li@mail.example.org.",
        "ａｎａ＠example.net",
        "root@db.shop.test and admin@corp.example and x@y.invalid",
        "Call (212) 555-0147.",
        "phone: +1 415 555 0199",
    ],
)
def test_contacts_that_can_be_nobodys_are_kept_unless_the_switch_is_off(text):
    assert reason(output=text) is None
    assert reason(output=text, reserved_contacts=False) == "personal_data"


@pytest.mark.parametrize(
    "text",
    [
        "maria@example.com, copy to maria@correo.es",
        "tom@notexample.com",
        "tom@example.community",
        "tom@example.com.br",
        "Call (212) 555-0247.",
        "(212) 555-0147 or (212) 345-6789",
    ],
)
def test_a_real_contact_beside_or_like_a_reserved_one_is_personal_data(text):
    assert reason(output=text) == "personal_data"


def test_overlap_with_a_named_evaluation_set(tmp_path):
    held = "A farmer has seventeen sheep and all but nine of them run away one night, how many are left?"
    (tmp_path / "sums.jsonl").write_text(
        json.dumps({"question": held, "choices": ["9", "8"]}) + "\n", encoding="utf-8"
    )
    (tmp_path / "words.txt").write_text(
        "日本の首都はどこですか。世界一高い山は？\n", encoding="utf-8"
    )
    rules = Rules(
        "en", RuleSettings(evaluation_sets=(tmp_path / "sums.jsonl", tmp_path / "words.txt"))
    )
    same = rules.judge(Task(instruction=held.upper(), output="Nine."))
    assert same.dropped is not None
    assert (same.dropped.reason, same.dropped.detail) == (
        "evaluation_overlap",
        "instruction equals an item of sums.jsonl",
    )
    inside = rules.judge(Task(instruction=f"Solve this. {held[2:80]} then?", output="Nine."))
    assert inside.dropped is not None
    assert "shares 13 tokens with sums.jsonl" in inside.dropped.detail
    assert (
        rules.judge(Task(instruction="How many sheep does a farmer need?", output="9")).dropped
        is None
    )
    japanese = Rules("ja", RuleSettings(evaluation_sets=(tmp_path / "words.txt",)))
    assert (
        japanese.judge(
            Task(instruction="日本の首都はどこですか 世界一高い山は", output="東京")
        ).dropped
        is not None
    )


def test_an_evaluation_set_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(XtuneError, match=r"none\.txt cannot be read: No such file"):
        Rules("en", RuleSettings(evaluation_sets=(tmp_path / "none.txt",)))
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(XtuneError, match="is no JSONL"):
        Rules("en", RuleSettings(evaluation_sets=(tmp_path / "bad.jsonl",)))
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(XtuneError, match="holds no text"):
        Rules("en", RuleSettings(evaluation_sets=(tmp_path / "empty.txt",)))


def test_settings_are_strict():
    with pytest.raises(ValidationError, match="web_links"):
        RuleSettings.model_validate({"web_links": False})
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        RuleSettings(input_rouge=2)


@settings(max_examples=80, deadline=None)
@given(
    st.builds(Task, instruction=st.text(), input=st.text(), output=st.text()),
    st.sampled_from(["en", "ja", "th", "ar", "ru", "es", "pt-BR", "sw"]),
)
def test_no_task_raises(task, language):
    judgement = Rules(language).judge(task)
    assert judgement.task.instruction == task.instruction


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "(a",
        "[",
        "{a",
        "X",
        "1 ",
        "+1",
        "@",
        "a@",
        "「",
        '"',
        "あ(a) ",
        "GB82",
        "in the ",
        "1. ",
        "**",
        "www.",
        "a.",
    ],
)
def test_a_long_text_of_one_piece_is_judged(piece):
    long = piece * (60_000 // len(piece))
    for language in ("en", "ja"):
        task = Task(instruction=long[:2_000], output=long)
        assert Rules(language, RuleSettings(length=False)).judge(task).task.output == long


SHARED = Path(__file__).parents[3] / ".." / "shared" / "data" / "selfinstruct"


@pytest.mark.shared
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the third-party files do not lie beside the repository"
)
def test_few_rows_of_a_published_set_are_dropped_and_each_for_what_a_reader_sees():
    # read by hand: gaps in brackets, pictures asked for, English left in, addresses, refusals; none blanked, as the
    # set's authors did that themselves
    rows = [
        json.loads(line)
        for line in (SHARED / "multialpaca_es.jsonl").read_text("utf-8").splitlines()
    ][::20]
    rules = Rules("es")
    judgements = [
        rules.judge(
            Task(instruction=row["instruction"], input=row["input"] or "", output=row["output"])
        )
        for row in rows
    ]
    dropped = Counter(judgement.dropped.reason for judgement in judgements if judgement.dropped)
    assert set(dropped) <= {
        "placeholder",
        "beyond_text",
        "wrong_language",
        "personal_data",
        "refusal",
        "left_label",
    }
    assert 0.01 <= dropped.total() / len(rows) <= 0.035
    assert not any(judgement.changes for judgement in judgements)


@pytest.mark.parametrize("language", ["en", "ja", "th"])
def test_tasks_that_are_judged_together_are_judged_as_each_alone(language):
    draw = random.Random(3)
    tasks = [seed.task for seed in read_seeds(language)[:60]]
    for number in range(0, 60, 2):
        unit = "".join(draw.choices("abcdefghij ขคงดทนมアイウカキサ", k=draw.randrange(1, 220)))
        loop = unit * draw.randrange(2, 9)
        field = draw.choice(["instruction", "input", "output"])
        text = getattr(tasks[number], field)
        at = draw.randrange(len(text) + 1)
        tasks[number] = replace(tasks[number], **{field: f"{text[:at]}{loop}{text[at:]}"})
    rules = Rules(language)
    alone = [rules.judge(task) for task in tasks]
    reasons = Counter(one.dropped.reason for one in alone if one.dropped)
    assert reasons["repetition"] > 5
    for size in (1, 4, 17, 60):
        groups = [tasks[start : start + size] for start in range(0, 60, size)]
        assert [one for group in groups for one in rules.judge_all(group)] == alone
    # a text that has the letter which is put between texts
    odd = [Task(instruction="Say it in Icelandic.", output="þú " * 40), *tasks[:4]]
    assert list(rules.judge_all(odd)) == [rules.judge(task) for task in odd]
