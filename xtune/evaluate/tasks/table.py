"""The table of tasks, `tasks.yaml` and files like it: what a task's entry may say. It reads no rows."""

import difflib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xtune.errors import DataError, Problem
from xtune.evaluate.metrics.texts import TEXT_MEASURES

TABLE = Path(__file__).with_name("tasks.yaml")

CHOICE_MEASURES = ("accuracy", "accuracy_norm")

AREAS = ("understanding", "question answering", "generation", "translation")

Place: TypeAlias = str | dict[str, str]
"""A file's pattern; or of files that are read line by line beside one another, by column."""

Words: TypeAlias = dict[str, str]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hub(_Entry):
    """Where the rows are on Hugging Face; every text may use the words of a language, `{code}` among them."""

    name: str
    subset: str | None = None
    test: str = "test"
    """Split that is scored."""

    shots: str | None = None
    """Split that examples are drawn from."""

    paths: str | None = None
    """Pattern of the files, where their names do not tell the split."""

    revision: str | None = None


class Task(_Entry):
    """A test set in several languages and how a model is asked. Texts in Jinja see a row's columns and the language's words."""

    title: str
    area: Literal["understanding", "question answering", "generation", "translation"]
    languages: dict[str, Words]
    """BCP-47 code to the words that prompts and file names use; `code` is the language's name in files."""

    test: list[Place]
    """Files that are scored, the first that is there; below the folder of `--task-data`."""

    shots: list[Place] = []
    """Files that examples are drawn from."""

    hub: Hub | None = None
    keep: str | None = None
    """Jinja expression of the rows that count, where a file holds more; default: all."""

    prompt: str
    """What is asked, in Jinja."""

    choices: list[str] = []
    """Answers to choose from; none: the answer is written."""

    contexts: list[str] = []
    """In the place of `prompt` and `choices`: texts of which one is right, all with the ending `prompt`."""

    right: str | None = None
    """The right choice's number, from 0, in Jinja."""

    references: str | None = None
    """Jinja expression of the right answers, a text or a list, where the answer is written."""

    join: str = " "
    """What stands between a prompt and its answer; a language's word `join` goes before it."""

    measures: Annotated[list[str], Field(min_length=1)]
    answer_language: str | None = None
    """Language of the answers where it is not the task's."""

    max_new_tokens: int = 32

    @model_validator(mode="after")
    def _fits(self) -> "Task":
        """Refuse what contradicts itself.

        Raises:
            ValueError: In words.
        """
        is_choice = bool(self.choices or self.contexts)
        if is_choice == (self.right is None) or is_choice == (self.references is not None):
            raise ValueError(
                "either `choices` (or `contexts`) with `right`, or `references` must be given"
            )
        allowed = CHOICE_MEASURES if is_choice else tuple(TEXT_MEASURES)
        wrong = [name for name in self.measures if name not in allowed]
        if wrong:
            raise ValueError(f"measures {wrong} are not of {list(allowed)}")
        return self

    @property
    def is_choice(self) -> bool:
        """Whether an answer is chosen by its likelihood, not written."""
        return bool(self.choices or self.contexts)

    def words(self, language: str) -> Words:
        """The words of a language, `code`, `language` and `join` among them."""
        return {"code": language, "join": self.join, "language": language} | self.languages[
            language
        ]


@functools.cache
def shipped() -> Mapping[str, Task]:
    """The tasks that xtune knows."""
    return read_table(TABLE)


def read_table(path: Path) -> dict[str, Task]:
    """The tasks of a table by name.

    Raises:
        DataError: The file cannot be read, or an entry is not what it may be; all faults together.
    """
    try:
        table: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise DataError(
            [Problem(what=f"The table of tasks {path} cannot be read: {reason}")]
        ) from error
    if not isinstance(table, dict) or not table:
        raise DataError(
            [
                Problem(
                    what=f"{path} holds no tasks",
                    allowed="it maps names to entries as docs/evaluate.md says",
                )
            ]
        )
    tasks: dict[str, Task] = {}
    problems: list[Problem] = []
    for name, entry in table.items():
        try:
            tasks[str(name)] = Task.model_validate(entry)
        except ValidationError as error:
            problems += [
                Problem(
                    what=f"`{'.'.join([str(name), *map(str, fault['loc'])])}`: {fault['msg']}",
                    where=str(path),
                )
                for fault in error.errors()
            ]
    if problems:
        raise DataError(problems)
    return tasks


def choose_tasks(wanted: Sequence[str]) -> dict[str, Task]:
    """Tasks by name, by area (`question-answering`), `all`, or by a YAML file that holds tasks.

    Raises:
        DataError: A name that is none of these; the message lists what is.
    """
    chosen: dict[str, Task] = {}
    problems = []
    for name in wanted:
        if name.endswith((".yaml", ".yml")):
            chosen |= read_table(Path(name))
            continue
        area = name.replace("-", " ")
        found = {
            key: task
            for key, task in shipped().items()
            if name in {key, "all"} or area == task.area
        }
        if not found:
            problems.append(_unknown(name))
        chosen |= found
    if problems:
        raise DataError(problems)
    return chosen


def choose_languages(
    tasks: Mapping[str, Task], wanted: Sequence[str] | None
) -> dict[str, list[str]]:
    """The languages of each task that are wanted: all without a wish; tasks that have none are left out.

    Raises:
        DataError: A language that none of the tasks has.
    """
    if wanted is None:
        return {name: list(task.languages) for name, task in tasks.items()}
    known = sorted({code for task in tasks.values() for code in task.languages})
    strange = [code for code in wanted if code not in known]
    if strange:
        raise DataError(
            [
                Problem(
                    what=f"No task of {', '.join(tasks)} has the language `{code}`",
                    where="--languages",
                    allowed=f"they have {', '.join(known)}",
                )
                for code in strange
            ]
        )
    chosen = {
        name: [code for code in task.languages if code in wanted] for name, task in tasks.items()
    }
    return {name: codes for name, codes in chosen.items() if codes}


def _unknown(name: str) -> Problem:
    known = [*shipped(), *(area.replace(" ", "-") for area in AREAS), "all"]
    near = difflib.get_close_matches(name, known, n=1)
    return Problem(
        what=f"There is no task `{name}`",
        where="--tasks",
        allowed=f"known are {', '.join(known)}, and YAML files of tasks",
        advice=f"did you mean `{near[0]}`?" if near else "",
    )
