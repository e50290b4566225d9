"""A reply that is read as a whole gives what the reading of any layout gives, and replies in the usual layout are read so."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.labels import languages, usual_label
from selfinstruct.parse.reply import read_labelled
from selfinstruct.parse.usual import read_usual
from selfinstruct.types import Dropped, Task

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data" / "selfinstruct"
PARTS = ("instruction", "input", "output")
FORMS = ["{n}. {word}: {text}", "{n}. {word}：{text}", "**{n}. {word}:** {text}", "**{n}. {word}**: {text}",
         "{n}. **{word}:** {text}", "{n}. **{word}**: {text}", "{word}: {text}", "**{word}:** {text}"]  # fmt: skip


def written(tasks, language="en", form=FORMS[0], numbers=None, gap="\n"):
    """Tasks in the layout that a prompt in the language asks for."""
    words = [usual_label(part, language) for part in PARTS]
    labels = [word[0].upper() + word[1:] for word in words]
    return gap.join(
        "\n".join(
            form.format(n=n, word=label, text=text)
            for label, text in zip(labels, task, strict=True)
        )
        for n, task in zip(numbers or range(4, 4 + len(tasks)), tasks, strict=True)
    )


THREE = [
    ("Sing.", "<noinput>", "La\n1. la\n\n- la"),
    ("\u200fAdd.", "1\nx2", "3"),
    ("Go.", "", "gone"),
]
READ = [("Sing.", "", "La\n1. la\n\n- la"), ("Add.", "1\nx2", "3"), ("Go.", "", "gone")]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("language", languages())
def test_the_layout_that_prompts_ask_for_is_read_as_a_whole_in_every_language(language, form):
    text = written(THREE, language, form)
    expected = [Task(instruction=a, input=b, output=c) for a, b, c in READ], []
    for opened in (None, True, False):
        assert read_usual(text, language, opened) == expected
    # a reply to a prompt that ended with the first label
    inside = "Sing.\n" + text.partition("\n")[2]
    assert read_usual(inside, language, None) == read_usual(inside, language, True) == expected


def test_words_before_the_first_task_and_a_last_task_that_was_cut_are_dropped():
    text = f"Here they are:\n\n---\n{USUAL[: USUAL.index('6. Output')]}"
    tasks, before = read_usual(text, "en", None)
    assert tasks[:2] == [Task(instruction=a, input=b, output=c) for a, b, c in READ[:2]]
    assert tasks[2:] == [
        Dropped(
            reason="missing_output",
            detail="no output label",
            text="6. Instruction: Go.\n6. Input:",
        )
    ]
    assert before == [
        Dropped(reason="preamble", detail="text before the first task", text="Here they are:")
    ]


def test_a_task_that_was_cut_has_its_own_lines_where_the_prompt_ended_with_the_first_label():
    tasks, before = read_usual(INSIDE[: INSIDE.index("6. Output")], "en", None)
    assert (tasks[2].text, before) == ("6. Instruction: Go.\n6. Input:", [])


def test_a_rule_with_a_space_behind_it_is_said_before_the_first_task():
    text = f"Sure:\n--- \n{USUAL}"
    assert read_usual(text, "en", None) == read_labelled(text, "en", None)


USUAL = written(THREE)
UNNUMBERED = written(THREE, form="{word}: {text}")
INSIDE = USUAL.partition(": ")[2]


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("", None),
        ("4. Instruction: a\n4. Input: b\n4. Output: c", None),
        (f"Sure:\n{USUAL}", True),
        (f"Instruction = x\nOutput = y\n{USUAL}", None),
        (f"3. **Songs**\n{USUAL}", None),
        (INSIDE, False),
        (INSIDE.replace("- la", "5. **Sums**"), None),
        (USUAL.replace("4. Input", "5. Input"), None),
        (USUAL.replace("4. ", ""), None),
        (UNNUMBERED.replace("La", "```"), None),
        (UNNUMBERED[: UNNUMBERED.index("Output: gone")], None),
        (USUAL.replace("5. ", "4. "), None),
        (USUAL.replace("6. ", "3. "), None),
        (USUAL.replace("4. Input: <noinput>\n", ""), None),
        (USUAL.replace("5. Output: 3", "5. Output:"), None),
        (USUAL.replace("5. Input", "5. Output").replace("5. Output: 3", "5. Input: 3"), None),
        (USUAL.replace("6. Input", "6. Entrée "), None),
        (USUAL.replace("- la", "Output: la"), None),
        (USUAL.replace("- la", "14. Respuesta: la"), None),
        (USUAL.replace("Sing.", "```").replace("3", "```"), None),
        (USUAL.replace("1\nx2", "~~~"), None),
        (USUAL.replace("5. Output: 3", "5. Output:*3*"), None),
        (USUAL.replace("6. Output", "**6. Output**"), None),
        (USUAL[: USUAL.index("5. Output")], None),
        (f"{USUAL.replace('Output: gone', 'Output:')}\n7. Instruction: Stop.", None),
        (f"{USUAL.replace('Input', 'Entrada')}\n7. Instruction: Stop.", None),
        (f"{USUAL}\n7. Instruction: Stop.\nOutput = x\nInstruction = y", None),
    ],
)  # fmt: skip
def test_anything_else_is_left_to_the_reading_of_any_layout(text, opened):
    assert read_usual(text, "en", opened) is None


def test_titles_above_every_label_but_that_of_the_prompt_begin_tasks():
    text = "Sing.\n4. Input: a\n4. Output: b\n\n5. **Adding**\n5. Instruction: Add.\n5. Input: c\n5. Output: d\n\n6. **Going**\n6. Instruction: Go.\n6. Input: e\n6. Output: f"
    assert read_usual(text, "en", None) is None
    tasks, _ = read_labelled(text, "en", None)
    assert [task.output for task in tasks] == ["b", "d", "f"]


LINES = st.sampled_from(
    ["### head", "###", "---", "2020.", "5.", "4.", "1. first", "5. **Five**", "Task 5", "- item", "Note: this", "99. Output: text", "Input: 3", "Output: 4", "5. Instruction: x", "5. Salida: x", "7) Input: x", "**5. Output:** x",
     "a | b", "> quote", "`code`", "```", "```python", "~~~", "", " ", "    indented", "\u200ftext", "\u200f", "word", "x = [1]", "42", "*", "\x0b", "\u2028"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(LINES, st.text(max_size=8)), min_size=1, max_size=3).map("\n".join)
WORDS = st.text("abcdéж語ข", min_size=1, max_size=8)
RARELY_ODD = st.one_of(WORDS, WORDS, WORDS, WORDS, TEXTS)
PLACES = st.tuples(st.integers(0, 200), st.integers(0, 200), st.sampled_from(["drop", "put", "swap", "cut", "repeat"]), LINES)  # fmt: skip


def changed(text, changes):
    """A text with lines dropped, put in, swapped, cut anywhere or repeated."""
    lines = text.split("\n")
    for first, second, change, line in changes:
        at, other = first % len(lines), second % len(lines)
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "put":
            lines.insert(at, line)
        elif change == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        elif change == "repeat":
            lines.insert(at, lines[other])
        elif change == "cut":
            lines = [*lines[:at], lines[at][: second % (len(lines[at]) + 1)]]
    return "\n".join(lines)


@settings(max_examples=400, deadline=None)
@given(
    tasks=st.lists(st.tuples(RARELY_ODD, RARELY_ODD, RARELY_ODD), min_size=2, max_size=4),
    language=st.sampled_from(languages()),
    form=st.sampled_from(FORMS),
    numbers=st.one_of(st.just([4, 5, 6, 7]), st.lists(st.integers(1, 9), min_size=4, max_size=4)),
    gap=st.sampled_from(["\n", "\n\n", "\n###\n", "\n---\n\n", "\n5. **Title**\n"]),
    changes=st.one_of(st.just([]), st.lists(PLACES, max_size=3)),
    head=st.sampled_from(
        ["", "", "inside", "Sure:\n\n", "4. **Title**\n", "--- \n", "Tasks 4 to 9:\n", "Note = x\n"]
    ),
    end=st.one_of(st.none(), st.integers(0, 60)),
    opened=st.sampled_from([None, True, False]),
)
def test_both_ways_of_reading_agree(
    tasks, language, form, numbers, gap, changes, head, end, opened
):
    text = changed(written(tasks, language, form, numbers[: len(tasks)], gap), changes)
    text = text.partition(":")[2] if head == "inside" else head + text
    text = text[: -end or None] if end is not None else text
    usual = read_usual(text, language, opened)
    assert usual is None or usual == read_labelled(text, language, opened)


@pytest.mark.shared
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the third-party files do not lie beside the repository"
)
def test_both_ways_of_reading_agree_on_published_tasks():
    rows = map(json.loads, (SHARED / "multialpaca_es.jsonl").read_text("utf-8").splitlines())
    tasks = [(row["instruction"], row["input"] or "<noinput>", row["output"]) for row in rows]
    read = 0
    for start in range(0, len(tasks), 17):
        text = written(tasks[start : start + 17])
        for reply in (text, re.sub(r"^4\. Instruction: ", "", text)):
            usual = read_usual(reply, "es", None)
            assert usual is None or usual == read_labelled(reply, "es", None)
            read += usual is not None
    # the others have an empty output, code with labels, or a first answer with lines
    assert read > 0.7 * 2 * (len(tasks) / 17)
