"""Stands in for parsing, rules, prompts and seeds until they are here: the smallest thing that works."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from selfinstruct.types import Dropped, Task


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
