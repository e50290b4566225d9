"""Refusals and requests beyond text in odd wordings, and good tasks that look like them, in twelve languages."""

from collections import defaultdict
from pathlib import Path

import pytest

from selfinstruct.rules import RuleSettings
from selfinstruct.rules.demands import beyond_text, refusal
from selfinstruct.types import Task

LEAST_FOUND = 0.7
"""Share of the sentences of a kind and a language; what is not found is known, and worth less than a good task."""


def read_wordings() -> dict[str, dict[str, list[Task]]]:
    """Tasks by language and kind, as written down in `wordings.txt`."""
    found: dict[str, dict[str, list[Task]]] = defaultdict(lambda: defaultdict(list))
    language = ""
    for line in Path(__file__).with_name("wordings.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            language = line[3:]
        elif not line.startswith("#"):
            instruction, _, output = line[2:].partition(" | ")
            found[language][line[0]].append(Task(instruction=instruction, output=output or "x"))
    return found


WORDINGS = read_wordings()


@pytest.mark.parametrize("language", WORDINGS)
def test_a_good_task_that_looks_like_a_refusal_or_a_request_beyond_text_stays(language):
    tasks = WORDINGS[language]["T"]
    assert len(tasks) >= 20
    for task in tasks:
        assert refusal(task, language, RuleSettings()) is None, task
        assert beyond_text(task, language, RuleSettings()) is None, task


@pytest.mark.parametrize("language", WORDINGS)
def test_most_refusals_in_odd_words_are_found(language):
    tasks = WORDINGS[language]["R"]
    found = [task for task in tasks if refusal(task, language, RuleSettings())]
    assert len(tasks) >= 24
    assert len(found) >= LEAST_FOUND * len(tasks), [one for one in tasks if one not in found]


@pytest.mark.parametrize("language", WORDINGS)
def test_most_requests_beyond_text_in_odd_words_are_found(language):
    tasks = WORDINGS[language]["B"]
    found = [task for task in tasks if beyond_text(task, language, RuleSettings())]
    assert len(tasks) >= 24
    assert len(found) >= LEAST_FOUND * len(tasks), [one for one in tasks if one not in found]
