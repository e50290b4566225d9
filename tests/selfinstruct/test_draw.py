"""Requests are a function of seed, language, round, index and pool; demonstrations leave room for the answer."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.generate.draw import Drawer
from selfinstruct.generate.settings import GenerateSettings
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.llm.tokens import estimate_tokens
from selfinstruct.types import Seed, Task


def seed(number, letters=20):
    return Seed(
        id=f"s{number}",
        category="c",
        task=Task(instruction=f"seed{number} " + "x" * letters, output="y"),
    )


def pool_task(number):
    return Task(instruction=f"pool{number}", output="y")


DRAWER = Drawer(
    language="es",
    seeds=[seed(number) for number in range(30)],
    render=lambda shown: "\n".join(["frame", *(task.instruction for task in shown)]),
    settings=GenerateSettings(),
    llm=LLMSettings(model="x"),
    count=len,
)


def shown(request):
    return request.messages[0]["content"].split("\n")[1:]


def test_the_first_round_shows_three_seeds_and_later_ones_two_and_one_of_the_pool():
    first = shown(DRAWER.request(1, 0, 0, pool_task))
    assert len({line for line in first if line.startswith("seed")}) == 3
    later = shown(DRAWER.request(2, 0, 50, pool_task))
    assert sorted(line[:4] for line in later) == ["pool", "seed", "seed"]
    assert (DRAWER.prompts(1), DRAWER.prompts(2)) == (10, 100)


def test_a_request_depends_on_nothing_but_its_place():
    again = replace(DRAWER)
    assert DRAWER.request(3, 7, 40, pool_task) == again.request(3, 7, 40, pool_task)
    requests = {
        DRAWER.request(2, index, 40, pool_task).messages[0]["content"] for index in range(50)
    }
    assert len(requests) == 50
    other = replace(DRAWER, settings=GenerateSettings(seed=1)).request(3, 7, 40, pool_task)
    assert other != DRAWER.request(3, 7, 40, pool_task)


@given(st.integers(60, 400), st.integers(1, 300), st.integers(0, 99))
def test_prompt_and_answer_fit_the_context(context, answer, index):
    llm = LLMSettings(model="x", context_tokens=context, answer_tokens=answer)
    seeds = [seed(number, letters=number * 9) for number in range(30)]
    request = replace(DRAWER, llm=llm, seeds=seeds).request(1, index, 0, pool_task)
    assert len(request.messages[0]["content"]) + request.max_tokens <= context
    assert 1 <= request.max_tokens <= answer


def test_seeds_that_can_never_be_shown_are_counted():
    llm = LLMSettings(model="x", context_tokens=200, answer_tokens=100)
    drawer = replace(DRAWER, llm=llm, seeds=[seed(1, 10), seed(2, 6053)])
    assert drawer.too_long() == 1
    assert all("seed1" in line for line in shown(drawer.request(1, 0, 0, pool_task)))


@pytest.mark.parametrize(
    ("text", "real"),
    [
        ("The quick brown fox jumps over the lazy dog.", 10),  # cl100k_base
        (
            "ภาษาไทยเป็นภาษาที่สวยงาม",
            24,
        ),  # one for each character, the most that any of the usual vocabularies takes
    ],
)
def test_tokens_are_rather_over_than_underestimated(text, real):
    assert real <= estimate_tokens(text) <= 2 * real + 8
