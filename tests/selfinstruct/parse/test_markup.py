"""Labels in HTML and between quotation marks, numbers with letters, and replies in YAML give back the tasks they were written from."""

import csv
import io
import json
from xml.sax.saxutils import escape

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.labels import languages, usual_label
from selfinstruct.parse import parse_reply
from selfinstruct.types import Task

LINE = st.text(
    alphabet=st.sampled_from("abcdefg zéñüßжщяعربيกขคเ日本語한국어 12"), min_size=4, max_size=40
).map(lambda text: "x" + " ".join(text.split()) + "y")
TASKS = st.lists(
    st.builds(Task, instruction=LINE, input=LINE, output=st.lists(LINE, min_size=1, max_size=3).map("\n".join)),
    min_size=1,
    max_size=3,
)  # fmt: skip
FORMS = {
    "b": "<b>{word}:</b> {text}",
    "b, colon behind": "<b>{word}</b>: {text}",
    "b with a number": "<b>{number}. {word}:</b> {text}",
    "number before b": "{number}. <b>{word}:</b> {text}",
    "strong in p": "<p><strong>{word}:</strong> {text}</p>",
    "h3": "<h3>{word}</h3>\n{text}",
    "li": "<li><em>{word}:</em> {text}</li>",
    "br": "<b>{word}:</b> {text}<br>",
    "span": '<span class="label">{word}:</span> {text}',
    "quotation marks": '"{word}": {text}',
    "numbered quotation marks": '{number}. "{word}": {text}',
    "values in quotation marks": '"{word}": "{text}",',
    "curly marks": "“{word}”: {text}",
    "guillemets": "«{word}»: {text}",
    "4a.": "{number}{letter}. {word}: {text}",
    "4(a)": "{number}({letter}) {word}: {text}",
    "4-1.": "{number}-{place}. {word}: {text}",
    "a)": "{letter}) {word}: {text}",
    "(4)": "({number}) {word}: {text}",
    "Task 4 -": "Task {number} - {word}: {text}",
    "equals": "{word} = {text}",
    "dashes": "{word} — {text}",
    "numbered keys": "{number}\ufe0f\u20e3 **{word}:** {text}",
    "numbered equals": "{number}. {word} = {text}",
    "bold equals": "**{word}** = {text}",
    "equals and quotation marks": '{word} = """{text}"""',
    "bars": "{number} | {word} | {text}",
    "bars around": "| {number} | **{word}** | {text} |",
    "bars without numbers": "| {word} | {text} |",
}


def written(tasks: list[Task], form: str, language: str) -> str:
    blocks = []
    for number, task in enumerate(tasks, start=4):
        parts = zip(("instruction", "input", "output"), (task.instruction, task.input, task.output), "abc", "123", strict=True)  # fmt: skip
        lines = [
            FORMS[form].format(number=number, word=usual_label(part, language).capitalize(), text=text, letter=letter, place=place)
            for part, text, letter, place in parts
        ]  # fmt: skip
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None)
@given(tasks=TASKS, language=st.sampled_from(languages()))
def test_tasks_in_a_rare_form_come_back(form: str, tasks: list[Task], language: str) -> None:
    found = parse_reply(written(tasks, form, language), "stop", language)
    assert list(found.tasks) == tasks


@settings(max_examples=60, deadline=None)
@given(tasks=TASKS, fenced=st.booleans(), wrapped=st.booleans(), width=st.sampled_from([20, 1000]))
def test_what_a_yaml_library_writes_is_read(
    tasks: list[Task], fenced: bool, wrapped: bool, width: int
) -> None:
    rows = [{"instruction": task.instruction, "input": task.input, "output": task.output} for task in tasks]  # fmt: skip
    text = yaml.safe_dump({"tasks": rows} if wrapped else rows, allow_unicode=True, sort_keys=False, width=width)  # fmt: skip
    found = parse_reply(f"Here they are:\n```yaml\n{text}```" if fenced else text)
    assert list(found.tasks) == tasks


TITLES = {
    "**Task 4**": "**Task {number}**",
    "### Task 4": "### Task {number}",
    "## 4.": "## {number}.",
    "- Task 4:": "- Task {number}:",
    "**4.**": "**{number}.**",
}
BULLETS = {
    "- **Instruction:**": "- **{word}:** {text}",
    "* **Instruction**:": "* **{word}**: {text}",
    "**Instruction:**": "**{word}:** {text}",
}


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("bullet", BULLETS)
@settings(max_examples=25, deadline=None)
@given(tasks=TASKS, language=st.sampled_from(languages()), around=st.booleans())
def test_tasks_under_titles_come_back(
    title: str, bullet: str, tasks: list[Task], language: str, around: bool
) -> None:
    blocks = [
        "\n".join(
            [
                TITLES[title].format(number=number),
                *(
                    BULLETS[bullet].format(word=usual_label(part, language).capitalize(), text=text)
                    for part, text in (
                        ("instruction", task.instruction),
                        ("input", task.input),
                        ("output", task.output),
                    )
                ),
            ]
        )
        for number, task in enumerate(tasks, start=4)
    ]
    text = "\n\n".join(blocks)
    found = parse_reply(f"Here are the tasks:\n\n{text}" if around else text, "stop", language)
    assert list(found.tasks) == tasks
    assert [one.reason for one in found.dropped] == (["preamble"] if around else [])


@settings(max_examples=80, deadline=None)
@given(
    tasks=TASKS,
    form=st.sampled_from(["json", "python", "assigned"]),
    indent=st.sampled_from([None, 2]),
    fence=st.sampled_from(["", "```", "```json", "```python"]),
    more=st.booleans(),
)
def test_arrays_of_json_and_python_come_back_with_what_a_model_says_around_them(
    tasks: list[Task], form: str, indent: int | None, fence: str, more: bool
) -> None:
    rows = [
        {"instruction": task.instruction, "input": task.input, "output": task.output}
        for task in tasks
    ]
    if more:
        rows = [{"id": number, "category": "other", **row} for number, row in enumerate(rows, 4)]  # type: ignore[list-item]
    text = json.dumps(rows, ensure_ascii=False, indent=indent) if form == "json" else repr(rows)
    if form == "assigned":
        text = f"tasks = {text}"
    if fence:
        text = f"Sure! Here are the tasks:\n\n{fence}\n{text}\n```\n\nI can write more if you like."
    assert list(parse_reply(text).tasks) == tasks


@settings(max_examples=60, deadline=None)
@given(tasks=TASKS, on_a_line=st.booleans(), numbered=st.booleans(), fenced=st.booleans())
def test_xml_comes_back(tasks: list[Task], on_a_line: bool, numbered: bool, fenced: bool) -> None:
    between = "" if on_a_line else "\n"
    blocks = []
    for number, task in enumerate(tasks, start=4):
        parts = [
            f"<{part}>{escape(text)}</{part}>"
            for part, text in (
                ("instruction", task.instruction),
                ("input", task.input),
                ("output", task.output),
            )
        ]
        opening = f'<task id="{number}">' if numbered else "<task>"
        blocks.append(between.join([opening, *parts, "</task>"]))
    text = "\n".join(["<tasks>", *blocks, "</tasks>"])
    found = parse_reply(f"```xml\n{text}\n```" if fenced else text)
    assert list(found.tasks) == tasks


@settings(max_examples=40, deadline=None)
@given(tasks=TASKS, mark=st.sampled_from(",;\t"), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))  # fmt: skip
def test_what_a_csv_library_writes_is_read(tasks: list[Task], mark: str, quoting: int) -> None:
    file = io.StringIO()
    table = csv.writer(file, delimiter=mark, quoting=quoting)
    table.writerow(["Instruction", "Input", "Output"])
    table.writerows([task.instruction, task.input, task.output] for task in tasks)
    assert list(parse_reply(file.getvalue()).tasks) == tasks


def test_signs_inside_answers_stay_text() -> None:
    text = '4. Instruction: Write TOML.\n4. Input: <noinput>\n4. Output:\ninstruction = "x"\noutput = "y"\n\n5. Instruction: Draw a table.\n5. Input: <noinput>\n5. Output:\n| input | a |\n| output | b |'
    first, second = parse_reply(text).tasks
    assert first.output == 'instruction = "x"\noutput = "y"'
    assert second.output == "| input | a |\n| output | b |"
    python = """[{"instruction": "Make a dictionary.", "input": "", "output": "d = {'a': None, 'it': \\"it's\\"}"}]"""
    assert parse_reply(python).tasks[0].output == "d = {'a': None, 'it': \"it's\"}"


def test_blocks_of_yaml_keep_their_lines_and_deeper_keys_are_text() -> None:
    text = "```yaml\n- instruction: Write settings.\n  input: ''\n  output: |\n    output: nested\n    list:\n      - one\n- instruction: >\n    Say\n    hello.\n  output: Hello.\n```"
    assert parse_reply(text).tasks == (
        Task(instruction="Write settings.", output="output: nested\nlist:\n  - one"),
        Task(instruction="Say hello.", output="Hello."),
    )


def test_html_and_quoted_words_inside_answers_stay_text() -> None:
    html = "<ul>\n<li><b>Input:</b> a field</li>\n</ul>"
    text = f'4. Instruction: Write HTML.\n4. Input: <noinput>\n4. Output: {html}\n\n5. Instruction: Write JSON.\n5. Input: <noinput>\n5. Output:\n"instruction": "x"\n"output": "y"'
    first, second = parse_reply(text).tasks
    assert first.output == html
    assert second.output == '"instruction": "x"\n"output": "y"'
    labelled = f"<b>Instruction:</b> Write HTML.\n<b>Output:</b> {html}\n<b>Instruction:</b> Say hi.\n<b>Output:</b> Hi."
    assert [task.output for task in parse_reply(labelled).tasks] == [html, "Hi."]


def test_numbered_lines_of_json_are_read() -> None:
    rows = [{"instruction": f"Say {word}.", "input": "", "output": word} for word in ("one", "two")]
    text = "\n".join(f"{number}. {json.dumps(row)}" for number, row in enumerate(rows, start=4))
    assert [task.output for task in parse_reply(text).tasks] == ["one", "two"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(['"Instruction": ', "<b>Output:</b>", "<h3>4.</h3>", "- instruction: ", "  output: |", "Output = ", "4 | Instruction | ", "{'instruction': '", "', 'output': None}", "instruction,output", "```yaml", "[", "&a *a", '"', "\n", "\n", "</p>", "4a. Input:"]), max_size=40).map("".join))  # fmt: skip
def test_no_mixture_of_marks_raises(text: str) -> None:
    parse_reply(text)
