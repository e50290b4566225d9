"""Stands in for parsing, rules, prompts and seeds until they are here: the smallest thing that works."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from selfinstruct.types import Dropped, Seed, Task
from xtune.errors import XtuneError


@dataclass(frozen=True, kw_only=True)
class Parsed:
    tasks: tuple[Task, ...]
    dropped: tuple[Dropped, ...] = ()


def parse_reply(text: str, finish_reason: str = "stop", language: str = "en") -> Parsed:
    tasks = []
    for match in re.finditer(
        r"^\d+\. Instruction: (.*?)\n\d+\. Input: (.*?)\n\d+\. Output: (.*?)(?=\n\d+\. Instruction|\Z)",
        text,
        re.S | re.M,
    ):
        i, given, o = (part.strip() for part in match.groups())
        tasks.append(Task(instruction=i, input="" if given == "<noinput>" else given, output=o))
    if finish_reason == "length" and tasks:
        last = tasks.pop()
        return Parsed(
            tasks=tuple(tasks), dropped=(Dropped(reason="cut_off", text=last.instruction),)
        )
    return Parsed(
        tasks=tuple(tasks), dropped=() if tasks else (Dropped(reason="no_task", text=text),)
    )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    task: Task
    changes: tuple[str, ...] = ()
    dropped: Dropped | None = None


class RuleSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rules:
    def __init__(self, language: str, settings: RuleSettings) -> None:
        self.language = language

    def judge(self, task: Task) -> Judgement:
        if not task.output:
            return Judgement(
                task=task, dropped=Dropped(reason="missing_output", text=task.instruction)
            )
        return Judgement(task=task)


def render(language: str, demonstrations: Sequence[Task], last: int) -> str:
    lines = [
        f"Write tasks {len(demonstrations) + 1} to {last}. The instructions should be in {language}."
    ]
    for n, task in enumerate(demonstrations, start=1):
        lines += [
            f"{n}. Instruction: {task.instruction}",
            f"{n}. Input: {task.input or '<noinput>'}",
            f"{n}. Output: {task.output}",
        ]
    lines.append(f"{len(demonstrations) + 1}. Instruction:")
    return "\n".join(lines)


def read_seeds(language_or_path: str) -> list[Seed]:
    path = Path(language_or_path)
    if not path.suffix:
        path = Path(__file__).parents[1] / "seeds" / "en.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise XtuneError(f"{path} cannot be read: {error.strerror}.") from None
    return [
        Seed(
            id=r["id"],
            category=r["category"],
            task=Task(instruction=r["instruction"], input=r["input"], output=r["output"]),
        )
        for r in rows
    ]
