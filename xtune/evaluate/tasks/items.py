"""Makes questions of a task's rows, and draws the solved examples that stand before them; it knows no tokens."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from xtune.data.problems import Problems
from xtune.errors import DataError, Problem
from xtune.evaluate.tasks.rows import Row, TaskRows
from xtune.evaluate.tasks.table import Task

FULL_STOPS = ".。।።։"
"""What `unended` takes away: the full stops of the scripts that the tasks are in."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question."""

    prompt: str
    join: str
    choices: tuple[str, ...] = ()
    """Answers to choose from."""

    contexts: tuple[str, ...] = ()
    """Texts to choose from, of which each has `prompt` as its ending."""

    right: int | None = None
    """Place of the right choice or context."""

    references: tuple[str, ...] = ()
    """Right answers, where the answer is written."""

    @property
    def solution(self) -> str:
        """The right answer, as an example shows it."""
        if self.right is None:
            return self.references[0]
        return self.prompt if self.contexts else self.choices[self.right]

    @property
    def question(self) -> str:
        """What stands before the solution, `join` included."""
        if self.contexts and self.right is not None:
            return self.contexts[self.right]
        return self.prompt + self.join


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The questions of a task in one language, with the examples before each of them."""

    name: str
    task: Task
    language: str
    items: list[Item]
    shots: list[Item]
    source: str
    """Where the rows are from."""

    taken: int = 0
    """Rows that are not scored because they, or others on the same paragraph, became examples."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Which questions are asked, and with how many examples."""

    shots: int = 0
    """Examples before each question, the same before all of a task and language."""

    limit: int | None = None
    """Only the first so many questions of a task and language."""

    seed: int = 0
    """Seed of the drawing of examples."""


def ask(name: str, task: Task, language: str, rows: TaskRows, drawing: Drawing) -> Asked:
    """The questions, and examples that are none of them.

    Examples come from the set's training or validation rows. Where it has none, they are taken out of the
    rows to be scored, with all rows on the same paragraph.

    Raises:
        DataError: Rows that the task's texts do not fit, or too few of them.
    """
    test = _kept(name, task, language, rows.test)
    pool = _kept(name, task, language, rows.shots) if rows.shots else []
    chance = random.Random(f"{drawing.seed} {name} {language}")
    whole = len(test)
    if not whole:
        what = f"The task `{name}` has no rows to score in `{language}`"
        raise DataError([Problem(what=what, where=rows.source)])
    shots: list[Row] = []
    if drawing.shots and pool:
        scored = set(map(_identity, test))
        pool = [row for row in pool if _identity(row) not in scored]
        shots = chance.sample(pool, min(drawing.shots, len(pool)))
    elif drawing.shots:
        shots = chance.sample(test, min(drawing.shots, len(test)))
        test = [row for row in test if not _related(row, shots)]
    if len(shots) < drawing.shots or not test:
        raise DataError(
            [
                Problem(
                    what=f"The task `{name}` has {len(test)} rows to score and {len(shots)} for examples in `{language}`",
                    where=rows.source,
                    allowed=f"--shots {drawing.shots} needs that many, and at least one to score",
                )
            ]
        )
    return Asked(
        name=name,
        task=task,
        language=language,
        items=_items(name, task, language, test[: drawing.limit]),
        shots=_items(name, task, language, shots),
        source=rows.source,
        taken=whole - len(test),
    )


def _identity(row: Row) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def _related(row: Row, shots: Sequence[Row]) -> bool:
    """Whether the row is one of the examples, or asks about the same paragraph."""
    return any(
        row is shot
        or (row.get("context") is not None and row.get("context") == shot.get("context"))
        for shot in shots
    )


def _kept(name: str, task: Task, language: str, rows: Sequence[Row]) -> list[Row]:
    if task.keep is None:
        return list(rows)
    texts, problems = _Texts(task, language), Problems()
    kept = []
    for number, row in enumerate(rows):
        try:
            if texts.value(task.keep, row):
                kept.append(row)
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            problems.add(f"`{name}`: `keep` does not fit: {error}", where=f"row {number}")
    problems.raise_any()
    return kept


def _items(name: str, task: Task, language: str, rows: Sequence[Row]) -> list[Item]:
    texts, problems = _Texts(task, language), Problems()
    items = []
    for number, row in enumerate(rows):
        try:
            items.append(_item(task, texts, row))
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            problems.add(
                f"A row does not fit the task `{name}`: {error}", where=f"{language}, row {number}"
            )
    problems.raise_any()
    return items


def _item(task: Task, texts: "_Texts", row: Row) -> Item:
    """One question.

    Raises:
        ValueError: The right answer is none of the choices, or there is none.
    """
    prompt = texts.text(task.prompt, row)
    join = texts.words["join"]
    if task.references is not None:
        found = texts.value(task.references, row)
        references = (found,) if isinstance(found, str) else tuple(map(str, found))
        if not references:
            raise ValueError("it has no right answer")
        return Item(prompt=prompt, join=join, references=references)
    choices = tuple(texts.text(choice, row) for choice in task.choices)
    contexts = tuple(texts.text(context, row) for context in task.contexts)
    right = int(texts.text(task.right or "", row))
    if not 0 <= right < len(choices or contexts):
        raise ValueError(f"the right answer is number {right} of {len(choices or contexts)}")
    return Item(prompt=prompt, join=join, choices=choices, contexts=contexts, right=right)


class _Texts:
    """Jinja texts over a row and a language's words. A table of tasks may be anybody's, so they run in a sandbox."""

    def __init__(self, task: Task, language: str) -> None:
        self.words = task.words(language)
        self._environment = SandboxedEnvironment(
            undefined=StrictUndefined, keep_trailing_newline=True
        )
        self._environment.filters |= {"unended": _unended, "lower_first": _lower_first}
        self._compiled: dict[tuple[str, bool], Any] = {}

    def text(self, template: str, row: Row) -> str:
        key = (template, True)
        if key not in self._compiled:
            self._compiled[key] = self._environment.from_string(template)
        return str(self._compiled[key].render(self._seen(row)))

    def value(self, expression: str, row: Row) -> Any:
        key = (expression, False)
        if key not in self._compiled:
            self._compiled[key] = self._environment.compile_expression(
                expression, undefined_to_none=False
            )
        return self._compiled[key](**self._seen(row))

    def _seen(self, row: Row) -> Mapping[str, Any]:
        columns = {str(key): value for key, value in row.items()}
        # `row` and `words` always name one of the two, where a column is called like a word
        return {**columns, **self.words, "row": row, "words": self.words}


def _unended(text: str) -> str:
    return text.strip().rstrip(FULL_STOPS)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
