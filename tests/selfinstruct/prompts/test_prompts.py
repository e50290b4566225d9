"""Prompts carry the paper's rules, keep braces in tasks as text, and the parser reads what they show."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.labels import label_of
from selfinstruct.parse import parse_reply
from selfinstruct.prompts import (
    has_native,
    json_request,
    language_name,
    render,
    template,
)
from selfinstruct.rules.content import left_label
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task
from xtune.errors import XtuneError

SHOWN = [
    Task(instruction="Cuenta hasta tres.", output="uno, dos, tres"),
    Task(instruction="Suma {first} y {last}.", input="4 y {language}", output="{demonstrations}"),
    Task(instruction="Nombra un color.", output="azul"),
]
TEXTS = st.lists(
    st.text("abcdefgéñßруслошажтайไทยあいう漢字한글عرب", min_size=2, max_size=8),
    min_size=2,
    max_size=8,
).map(" ".join)
NATIVE = ["ar", "de", "es", "fr", "id", "ja", "ko", "pt", "ru", "th", "vi"]


def test_the_english_prompt_asks_for_tasks_four_to_twenty_in_the_language():
    prompt = render(SHOWN, "es")
    assert "The instructions should be in Spanish." in prompt
    assert "starting with task 4" in prompt
    assert "less than 200 words" in prompt
    assert (
        "1. Instruction: Cuenta hasta tres.\n1. Input: <noinput>\n1. Output: uno, dos, tres"
        in prompt
    )
    assert prompt.endswith("3. Output: azul\n\n4. Instruction:")


def test_braces_in_a_task_are_text():
    assert (
        "2. Instruction: Suma {first} y {last}.\n2. Input: 4 y {language}\n2. Output: {demonstrations}"
        in render(SHOWN, "es")
    )


@pytest.mark.parametrize("language", ["en", *NATIVE])
def test_the_parser_reads_the_demonstrations_of_every_prompt(language):
    prompt = render(SHOWN, language, native=True)
    shown = prompt[
        prompt.index(f"\n1. {prompt.splitlines()[-1].partition(' ')[2]} ") : prompt.rindex("\n")
    ]
    assert parse_reply(shown, language=language).tasks == tuple(SHOWN)


@pytest.mark.parametrize("language", NATIVE)
def test_every_language_of_the_paper_has_a_prompt_of_its_own(language):
    assert has_native(language)
    assert template(language, native=True) != template(language)


@pytest.mark.parametrize("language", NATIVE)
def test_a_native_prompt_names_the_labels_and_the_tag_that_its_demonstrations_bear(language):
    rules, _, shown = render(SHOWN, language, native=True).rpartition("\n\n1. ")
    assert "noinput" not in rules + shown
    labels = [line.partition(". ")[2].partition(":")[0] for line in f"1. {shown}".splitlines()[:3]]
    assert [label_of(label, language) for label in labels] == ["instruction", "input", "output"]
    assert all(f"4. {label}:" in rules.replace("\u00a0:", ":") for label in labels)
    (tag,) = re.findall("<.*?>", shown.splitlines()[1])
    assert rules.count(tag) == 1
    assert left_label(Task(instruction=tag, output="x"), language, RuleSettings()) is not None


@settings(max_examples=50, deadline=None)
@given(
    language=st.sampled_from(NATIVE),
    tasks=st.lists(st.tuples(TEXTS, st.just("") | TEXTS, TEXTS), min_size=1, max_size=5),
)
def test_a_reply_that_goes_on_as_a_native_prompt_began_is_read(language, tasks):
    wanted = tuple(Task(instruction=one, input=two, output=three) for one, two, three in tasks)
    prompt = render(wanted, language, native=True)
    label = prompt.splitlines()[-1].partition(" ")[2]
    reply = prompt[prompt.index(f"\n1. {label} ") : prompt.rindex("\n")]
    # the prompt ended with the first label, as every prompt does
    assert parse_reply(reply.partition(label)[2], language=language).tasks == wanted


@pytest.mark.parametrize("language", NATIVE)
def test_json_is_asked_for_in_the_language_of_the_prompt(language):
    assert json_request(language).startswith("Answer with one JSON object: {")
    asked, _, shape = json_request(language, native=True).partition("JSON")
    assert not re.search(r"\b(answer|with|one|object)\b", asked.casefold())
    assert '"tasks": [{"instruction": ..., "input": ..., "output": ...}' in shape


def test_a_language_without_a_prompt_of_its_own_is_asked_for_in_english():
    assert "should be in Swahili." in render([], "sw", native=True)
    assert language_name("es-MX") == "Spanish (es-MX)"
    assert language_name("pt-BR") == "Brazilian Portuguese"
    assert language_name("qu") == "qu"


@pytest.mark.parametrize(("code", "name"), [("bg", "Bulgarian"), ("ka", "Georgian"), ("nb", "Norwegian Bokmål"), ("zh-Hant", "Traditional Chinese"), ("en", "English")])  # fmt: skip
def test_a_language_that_is_an_entry_in_the_table_is_named_in_prompts(code, name):
    assert f"should be in {name}." in render([], code)


def test_a_prompt_file_without_its_placeholders_says_which(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("Give me {demonstrations}", encoding="utf-8")
    with pytest.raises(XtuneError, match=r"mine\.txt lacks \{first\}, \{last\}"):
        render(SHOWN, "es", file=tmp_path / "mine.txt")
    with pytest.raises(XtuneError, match="cannot be read: No such file"):
        render(SHOWN, "es", file=tmp_path / "none.txt")
    (tmp_path / "mine.txt").write_bytes(b"\xff\xfe{")
    with pytest.raises(XtuneError, match="not UTF-8"):
        render(SHOWN, "es", file=tmp_path / "mine.txt")


def test_a_prompt_that_asks_for_nothing_is_refused():
    with pytest.raises(XtuneError, match="must be at least 4"):
        render(SHOWN, "es", last_number=3)
