"""Stands in for parsing, rules, prompts and seeds until they are here: the smallest thing that works."""

from collections.abc import Sequence

from selfinstruct.types import Task


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
