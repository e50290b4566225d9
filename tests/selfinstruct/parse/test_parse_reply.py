"""Replies in every layout and script give back their tasks; nothing that a model writes raises. Texts invented here."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.labels import languages, words_for
from selfinstruct.parse import is_no_input, parse_reply
from selfinstruct.types import Task

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data" / "selfinstruct"


def parsed(text, **options):
    return [
        (task.instruction, task.input, task.output) for task in parse_reply(text, **options).tasks
    ]


def reasons(text, **options):
    return [dropped.reason for dropped in parse_reply(text, **options).dropped]


def test_a_reply_to_a_prompt_that_ended_with_the_first_label_begins_with_its_text():
    text = "Name a colour.\n4. Input: <noinput>\n4. Output: red\n5. Instruction: Add.\n5. Input: 1 and 2\n5. Output: 3"
    expected = [("Name a colour.", "", "red"), ("Add.", "1 and 2", "3")]
    assert parsed(text) == parsed(text, opened=True) == expected
    assert parsed(text, opened=False) == expected[1:]
    assert reasons(text, opened=False) == ["preamble"]


def test_words_before_the_first_task_are_dropped_by_name():
    text = "Sure, here you are:\n\n1. Instruction: Sing.\n1. Input: <noinput>\n1. Output: La la."
    assert parsed(text) == [("Sing.", "", "La la.")]
    assert reasons(text) == ["preamble"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("４．指示：歌って\n４．入力：なし\n４．出力：ラララ", "ja"),
        ("【指示】歌って\n【入力】なし\n【出力】ラララ", "ja"),
        ("4. 【指示】 歌って\n4. 【入力】 ＜なし＞\n4. 【出力】 ラララ", "en"),
        ("๔. คำสั่ง: 歌って\n๔. ข้อมูลนำเข้า: <ไม่มี>\n๔. ผลลัพธ์: ラララ", "th"),
        ("٤. التعليمات: 歌って\n٤. المدخلات: <لا يوجد>\n٤. المخرجات: ラララ", "ar"),
        ("1. Instrucción : 歌って\n1. Entrada : ninguna\n1. Salida : ラララ", "es"),
        ("1. instruccion: 歌って\n1. ENTRADA: <sin entrada>\n1. Respuesta: ラララ", "es"),
        ("**1. Instruction:** 歌って\n**1. Input:** None\n**1. Output:** ラララ", "en"),
        ("**Instruction**: 歌って\n*Input*: N/A\n**Output**: ラララ", "en"),
        ("### Instruction:\n歌って\n\n### Input:\n\n### Response:\nラララ\n", "en"),
        ("### Instruction\n歌って\n### Response\nラララ", "en"),
        ("## Task 1\n**Instruction:** 歌って\n**Input:** -\n**Output:** ラララ\n\n---", "en"),
        ("1.\nInstruction: 歌って\nInput:\nOutput: ラララ", "en"),
        ("Instruction 1: 歌って\nInput 1: none\nOutput 1: ラララ", "en"),
        ("1) Instruction: 歌って\n1) Input: <NOINPUT>\n1) Output: ラララ", "en"),
        ("- Instruction: 歌って\n- Output: ラララ", "en"),
        ("1. Instruction: 歌って\r\n1. Input: <noinput>\r\n1. Output: ラララ\r\n###\r\n", "en"),
        ("```\n1. Instruction: 歌って\n1. Input: <noinput>\n1. Output: ラララ\n```", "en"),
        ("4. Instruccion: 歌って\n4. Entrada: ninguna\n4. Salida: ラララ", "en"),
        ("1. Huong dan: 歌って\n1. Dau vao: khong co\n1. Dau ra: ラララ", "vi"),
        (
            "\u200f٤. التعليمات: 歌って\n\u200f٤. المدخلات: <لا يوجد>\n\u200f٤. المخرجات: ラララ",
            "ar",
        ),
        ("🔹 **Instruction:** 歌って\n🔹 **Input:** none\n🔹 **Output:** ラララ", "en"),
        ("> 1. Instruction: 歌って\n> 1. Output: ラララ", "en"),
        ("4. Instruction - 歌って\n4. Input - none\n4. Output - ラララ", "en"),
        ("４ ． 指示 ： 歌って\n４ ． 入力 ： なし\n４ ． 出力 ： ラララ", "ja"),
        ('Sure!\n[{"instruction": "歌って", "output": "ラララ"}]\nI hope that helps.', "en"),
        ('[{"instruction": "歌って", "input": "", "output": "ラララ"}]', "en"),
        (
            'Here:\n```json\n{"tasks": [{"instruction": "歌って", "input": null, "output": "ラララ"}]}\n```',
            "en",
        ),
        ('{"지시": "歌って", "입력": "<noinput>", "출력": "ラララ"}', "ko"),
        ('{"instruction": "歌って", "instances": [{"input": "", "output": "ラララ"}]}', "en"),
    ],
)
def test_one_task_in_many_layouts(text, language):
    assert parsed(text, language=language) == [("歌って", "", "ラララ")]


def test_what_looks_like_a_label_inside_a_text_is_text():
    output = "The list:\n1. one\n2020. a year\n### a heading\n14. Output: not a label\n```\nInput: 3\nOutput: 4\n```"
    text = f"4. Instruction: Do.\n4. Input: <noinput>\n4. Output: {output}\n7. Instruction: Go.\n7. Output: gone"
    assert parsed(text) == [("Do.", "", output), ("Go.", "", "gone")]


def test_labels_in_a_fence_are_text_even_where_the_fence_opens_beside_a_label():
    code = "```\nInstruction: x\nOutput: y\n```\nDone"
    text = f"4. Instruction: a\n4. Input: <noinput>\n4. Output: {code}\n5. Instruction: b\n5. Output: c"
    assert parsed(text) == [("a", "", code), ("b", "", "c")]


def test_a_reply_may_mix_languages():
    text = "4. Instrucción: a\n4. Entrada: b\n4. Salida: c\n5. Instruction: d\n5. Input: e\n5. Output: f"
    assert (
        parsed(text, language="en")
        == parsed(text, language="th")
        == [("a", "b", "c"), ("d", "e", "f")]
    )


def test_an_example_with_input_and_output_stays_in_a_numbered_instruction():
    text = "4. Instruction: Double it.\nInput: 2\nOutput: 4\n4. Input: <noinput>\n4. Output: def f(x): return 2 * x"
    assert parsed(text) == [("Double it.\nInput: 2\nOutput: 4", "", "def f(x): return 2 * x")]


def test_a_number_alone_can_open_a_task():
    text = "1. **Sing.**\n   - Input: <noinput>\n   - Output: La:\n1. la\n2. la\n2. Dance\nInput: a waltz\nOutput: 1, 2, 3"
    assert parsed(text) == [("Sing.", "", "La:\n1. la\n2. la"), ("Dance", "a waltz", "1, 2, 3")]


def test_labels_inside_the_last_part_of_a_plain_task_are_text():
    text = "Instruction: a\nInput: b\nOutput: see\nInput: 3\nOutput: 4\n\nInstruction: c\nOutput: d"
    assert parsed(text) == [("a", "b", "see\nInput: 3\nOutput: 4"), ("c", "", "d")]


def test_a_recipes_instructions_are_no_new_task():
    text = "### Instruction:\nBake.\n\n### Response:\nIngredients:\n- flour\nInstructions:\n1. Mix\n2. Bake"
    assert parsed(text) == [("Bake.", "", "Ingredients:\n- flour\nInstructions:\n1. Mix\n2. Bake")]


def test_numbers_may_skip_restart_or_be_missing():
    tasks = [("a", "b", "c"), ("d", "e", "f"), ("g", "h", "i")]
    for numbers in (("4.", "6.", "9."), ("1.", "1.", "1."), ("4.", "", "6."), ("", "", "")):
        text = "\n".join(
            f"{number} Instruction: {a}\n{number} Input: {b}\n{number} Output: {c}".replace(
                "\n ", "\n"
            ).lstrip()
            for number, (a, b, c) in zip(numbers, tasks, strict=True)
        )
        assert parsed(text) == tasks, numbers
    assert (
        parsed(
            "1. Instruction: a\n2. Input: b\n3. Output: c\n4. Instruction: d\n5. Input: e\n6. Output: f"
        )
        == tasks[:2]
    )


def test_indented_code_keeps_its_indent():
    code = "    if x:\n        return 1"
    assert (
        parsed(
            f"1. Instruction: Code.\n1. Input: <noinput>\n1. Output:\n{code}\n\n2. Instruction: a\n2. Output: b"
        )[0][2]
        == code
    )


def test_each_dropped_piece_has_its_reason():
    text = "4. Instruction: a\n4. Input: b\n5. Instruction: c\n5. Input: d\n5. Output:\n6. Instruction:\n6. Output: x\n7. Instruction: e\n7. Input: f\n7. Output: g\n8. Input: h\n8. Output: i"
    assert parsed(text) == [("e", "f", "g")]
    assert reasons(text) == [
        "missing_output",
        "missing_output",
        "missing_instruction",
        "missing_instruction",
    ]
    assert reasons("I would rather not.") == ["no_task"]
    assert reasons(" \n") == ["no_task"]


def test_a_cut_reply_loses_its_last_task_only():
    text = "1. Instruction: a\n1. Output: b\n2. Instruction: c\n2. Output: d and th"
    assert parsed(text, finish_reason="length") == [("a", "", "b")]
    assert reasons(text, finish_reason="length") == ["truncated"]
    assert reasons(text, finish_reason="content_filter") == ["content_filter"]
    half = text[: text.index("2. Output")]
    assert parsed(half, finish_reason="length") == [("a", "", "b")]
    assert reasons(half, finish_reason="length") == ["truncated"]
    array = '[{"instruction": "a", "output": "b"}, {"instruction": "c", "outp'
    assert parsed(array, finish_reason="length") == [("a", "", "b")]
    assert reasons(array, finish_reason="length") == ["truncated"]
    wrapped = '{"tasks": [{"instruction": "a", "output": "b"}, {"instruction": "c", "outp'
    assert parsed(wrapped) == [("a", "", "b")]
    assert reasons(wrapped) == ["broken_json"]


def test_lines_of_json_with_a_broken_one():
    text = '{"instruction": "a", "output": "b"}\n{"instruction": "c" "output": "d"}\n{"instruction": "e", "output": {"k": [1]}}'
    assert parsed(text) == [("a", "", "b"), ("e", "", '{"k": [1]}')]
    assert reasons(text) == ["broken_json"]


def test_a_bare_list_gives_instructions_without_outputs():
    assert parsed(" Write a poem.\n10. Count\nto ten.\n11. Sing.") == [
        ("Write a poem.", "", ""),
        ("Count\nto ten.", "", ""),
        ("Sing.", "", ""),
    ]
    assert parsed("Here are some:\n1. Sing.\n2. Dance.") == [("Sing.", "", ""), ("Dance.", "", "")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<noinput>",
        "<NoInput>.",
        "[no input]",
        "N/A",
        "None",
        "<sin entrada>",
        "Keine Eingabe",
        "aucune entrée",
        "tidak ada",
        "なし",
        "＜なし＞",
        "(없음)",
        "нет",
        "<ไม่มี>",
        "Không có",
        "لا يوجد",
        "sem entrada",
        "-",
        "<noinput> (nothing is needed)",
    ],
)
def test_ways_to_say_no_input(text):
    assert is_no_input(text)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "no",
        "None of the above is true.",
        "<p>text</p>",
        "<b>none</b> of it",
        "[1, 2]",
        "?",
        "x",
        "Nina",
    ],
)
def test_short_inputs_are_inputs(text):
    assert not is_no_input(text)


LINES = st.sampled_from(
    ["### head", "2020. was a year", "1. first", "- item", "* star", "Note: this", "99. Output: text", "a | b", "> quote", "`code`", "", "    indented", "#", "ผลลัพธ์ดี", "結果は出力されます", "Output is good", "---x"]
)  # fmt: skip
WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
TEXTS = st.builds(
    lambda first, lines, last: "\n".join([first, *lines, last]),
    st.builds("w{} {}".format, WORDS, WORDS),
    st.lists(LINES, max_size=4),
    st.builds("w{}.".format, WORDS),
)
DIGITS = {"ar": "٠١٢٣٤٥٦٧٨٩", "th": "๐๑๒๓๔๕๖๗๘๙", "ja": "０１２３４５６７８９"}
LAYOUTS = {
    "plain": "{n}. {label}: {text}",
    "tight": "{n}.{label}:{text}",
    "paren": "{n}) {label} : {text}",
    "bold": "**{n}. {label}:** {text}",
    "bold label": "{n}. **{label}**: {text}",
    "full width": "{n}．{label}：{text}",
    "bracket": "{n}. 【{label}】{text}",
    "heading": "### {n}. {label}:\n{text}",
    "number after": "{label} {n}: {text}",
    "no number": "{label}: {text}",
    "no number bold": "**{label}:** {text}",
    "no number heading": "### {label}:\n{text}",
    "no number bracket": "【{label}】\n{text}",
}


@settings(max_examples=200, deadline=None)
@given(
    tasks=st.lists(st.tuples(TEXTS, st.one_of(st.just(""), TEXTS), TEXTS), min_size=1, max_size=4),
    language=st.sampled_from(sorted(languages())),
    layout=st.sampled_from(sorted(LAYOUTS)),
    start=st.integers(1, 60),
    native=st.booleans(),
    gap=st.sampled_from(["\n", "\n\n", "\n###\n", "\n---\n"]),
    data=st.data(),
)
def test_tasks_rendered_in_every_layout_and_script_parse_back(
    tasks, language, layout, start, native, gap, data
):
    chosen = [
        data.draw(st.sampled_from(words_for(part, language)[:2]))
        for part in ("instruction", "input", "output")
    ]
    if "no number" in layout:
        # a word that heads ordinary paragraphs is no label by itself
        chosen[0] = words_for("instruction", language)[0]
    digits = DIGITS.get(language, "0123456789") if native else "0123456789"
    blocks = []
    for index, task in enumerate(tasks):
        number = "".join(digits[int(digit)] for digit in str(start + index))
        blocks.append(
            "\n".join(
                LAYOUTS[layout].format(n=number, label=label, text=text or "<noinput>")
                for label, text in zip(chosen, task, strict=True)
            )
        )
    found = parse_reply(gap.join(blocks), language=language, opened=False)
    assert found.dropped == ()
    assert [(t.instruction, t.input, t.output) for t in found.tasks] == [
        (instruction.strip(), entry.strip(), output.strip()) for instruction, entry, output in tasks
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.text(), st.text(min_size=1)), min_size=1, max_size=4
    ),
    st.sampled_from([None, 1]),
)
def test_json_gives_back_any_text(tasks, indent):
    rows = [{"instruction": f"i{a}", "input": f"x{b}", "output": f"o{c}."} for a, b, c in tasks]
    found = parse_reply(json.dumps(rows, ensure_ascii=False, indent=indent))
    assert found.tasks == tuple(
        Task(
            instruction=row["instruction"].strip(), input=row["input"].strip(), output=row["output"]
        )
        for row in rows
    )


PIECES = st.sampled_from(
    ["1. Instruction: ", "1. Output:", "Input: ", "\n", "```", '{"instruction": ', '"', "[", "]", "}", "【出力】", "**", "###", "<noinput>", "٤.", "Task 2", "\ud800", "\0", ":", "- ", "\U00011f54. "]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(), st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=40).map("".join)
    ),
    st.sampled_from(["stop", "length", "content_filter", None, "odd"]),
    st.sampled_from(["en", "ja", "pt-BR", "xx", ""]),
    st.sampled_from([None, True, False]),
)
def test_no_text_raises_and_none_vanishes(text, finish_reason, language, opened):
    found = parse_reply(text, finish_reason, language, opened=opened)
    assert found.tasks or found.dropped
    assert all(task.instruction.strip() for task in found.tasks)


PIECES_OF_A_MEGABYTE = ["a", "1. Instruction: a\n", "1. ", "{", "[{", '{"a":', "```\n", "* ", "#", "_", "<", '"', "\\", "4. Output: ", "Input: a\nOutput: b\n", "```json\n{", '{"instruction": ']  # fmt: skip


@pytest.mark.parametrize("piece", PIECES_OF_A_MEGABYTE)
def test_a_long_reply_of_one_piece_over_and_over_is_read(piece):
    # quadratic time would be hours here
    found = parse_reply(piece * (150_000 // len(piece)))
    assert found.tasks or found.dropped


@pytest.mark.shared
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the third-party files do not lie beside the repository"
)
def test_raw_completions_of_a_real_model_are_recovered():
    # labelled by hand: each of the 96 replies is a bare list whose first number the prompt had written; an item ends
    # where a line begins with the next number, and one item (of reply 14) goes on over several lines
    rows = [
        json.loads(line)
        for line in (SHARED / "raw_completions.jsonl").read_text("utf-8").splitlines()
    ]
    labelled = [
        re.sub(r"^\d+\. ", "", item.strip())
        for row in rows
        for item in re.split(r"\n(?=\d+\. )", row["text"])
    ]
    found = [
        task.instruction
        for row in rows
        for task in parse_reply(row["text"], row["finish_reason"]).tasks
    ]
    assert len(labelled) == LABELLED_ITEMS
    assert found == labelled


LABELLED_ITEMS = 455
