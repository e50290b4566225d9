"""Prompts carry the paper's rules, keep braces in tasks as text, and the parser reads what they show."""

from pathlib import Path

import pytest

from selfinstruct.parse import parse_reply
from selfinstruct.prompts import (
    has_native,
    language_name,
    render,
    template,
)
from selfinstruct.types import Task
from xtune.errors import XtuneError

SHOWN = [
    Task(instruction="Cuenta hasta tres.", output="uno, dos, tres"),
    Task(instruction="Suma {first} y {last}.", input="4 y {language}", output="{demonstrations}"),
    Task(instruction="Nombra un color.", output="azul"),
]
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
    assert "<noinput>" in template(language, native=True)


def test_a_language_without_a_prompt_of_its_own_is_asked_for_in_english():
    assert "should be in Swahili." in render([], "sw", native=True)
    assert language_name("pt-BR") == "Portuguese (pt-BR)"
    assert language_name("qu") == "qu"


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
