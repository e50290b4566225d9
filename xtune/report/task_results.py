"""What evaluations on tasks found, read from a run's folder for people; damaged files are left out and named."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtune.report.run_files import is_finite

LAST, EACH = "tasks.json", "tasks"
"""As `xtune evaluate --tasks` writes them; older runs have the first alone."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """Both models on one task in one language, by one measure."""

    task: str
    language: str
    measure: str
    how: str
    """How it was asked: "zero-shot", "3-shot, first 100, in the template"."""

    questions: int
    base: Mapping[str, Any]
    """`value`, `low` and `high` of the 95 % interval."""

    tuned: Mapping[str, Any]
    difference: Mapping[str, Any]
    verdict: str

    @property
    def name(self) -> str:
        """What was measured, in a line."""
        return f"{self.task} {self.language}, {self.measure}, {self.how}"

    @property
    def change(self) -> str:
        """Both values: "0.525 → 0.61"."""
        return f"{self.base['value']:.4g} \N{RIGHTWARDS ARROW} {self.tuned['value']:.4g}"

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return dict(vars(self))


def read_task_results(folder: Path) -> tuple[list[TaskResult], list[str]]:
    """The last result of everything that a run was asked, and the names of files that cannot be read."""
    damaged: list[str] = []
    found: dict[str, TaskResult] = {}
    for path in _files(folder):
        value = _read(path)
        if value is None:
            damaged.append(str(path.relative_to(folder)))
            continue
        found |= {result.name: result for result in _results(value)}
    order = sorted(found.values(), key=lambda one: (one.task, one.how, one.language))
    return order, damaged


def _files(folder: Path) -> list[Path]:
    """The oldest first."""
    try:
        each = [path for path in (folder / EACH).glob("*.json") if path.is_file()]
        last = [folder / LAST] if (folder / LAST).is_file() else []
        return sorted([*each, *last], key=lambda path: (path.stat().st_mtime_ns, path.name))
    except OSError:
        return []


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("tasks"), list) else None


def _results(value: Mapping[str, Any]) -> Iterator[TaskResult]:
    how = _how(value)
    for part in map(_mapping, value["tasks"]):
        questions = part.get("questions")
        for name, measure in _mapping(part.get("measures")).items():
            base, tuned, difference = (
                _mapping(_mapping(measure).get(key)) for key in ("base", "tuned", "difference")
            )
            if all(is_finite(side.get("value")) for side in (base, tuned, difference)):
                yield TaskResult(
                    task=str(part.get("task", "?")),
                    language=str(part.get("language", "?")),
                    measure=str(name),
                    how=how,
                    questions=questions if isinstance(questions, int) else 0,
                    base=base,
                    tuned=tuned,
                    difference=difference,
                    verdict=str(measure.get("verdict", "")),
                )


def _mapping(value: object) -> Mapping[str, Any]:
    """The object that a file should hold here; empty if it holds something else."""
    return value if isinstance(value, dict) else {}


def _how(value: Mapping[str, Any]) -> str:
    shots, limit = value.get("shots"), value.get("limit")
    parts: Sequence[str] = (
        f"{shots}-shot" if shots else "zero-shot",
        f"first {limit}" if limit else "",
        "in the template" if value.get("template") else "",
    )
    return ", ".join(filter(None, parts))
