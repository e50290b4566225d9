"""Checks a seed file and says what it holds: problems, things to look at, counts; it changes nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfinstruct.novelty import NoveltyPool
from selfinstruct.novelty.search import NumpyNearest
from selfinstruct.seeds.read import numbered_seeds
from selfinstruct.seeds.rows import Severity
from selfinstruct.types import Seed
from xtune.errors import Problem
from xtune.text import tokenizer_name

_MOST_LINES = 50
"""Problems, and notes, that are shown; a file in a wrong layout has one in every row."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found in a seed file."""

    path: Path
    seeds: tuple[Seed, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    """Worth a look, but no reason not to use the file."""

    @property
    def ok(self) -> bool:
        """Whether the file can be used."""
        return not self.problems

    def lines(self) -> list[str]:
        """The report for people, one finding a line."""
        lines = [
            *_shown("problem", self.problems),
            *_shown("note", self.notes),
        ]
        if self.seeds:
            translate = Counter(seed.translate for seed in self.seeds)
            categories = Counter(seed.category for seed in self.seeds)
            used = len(self.seeds) - translate["no"]
            lines += [
                f"{_count(len(self.seeds), 'seed')}: {_counts(translate)}; "
                f"{used} of them go into another language",
                f"categories: {_counts(categories)}",
                f"with input: {sum(bool(seed.task.input) for seed in self.seeds)}; "
                f"without: {sum(not seed.task.input for seed in self.seeds)}",
            ]
        verdict = "ok" if self.ok else _count(len(self.problems), "problem")
        return [*lines, f"{self.path}: {verdict}"]


def check_file(path: str | Path, language: str | None = None) -> Report:
    """Check a seed file of either layout.

    Args:
        path: The file.
        language: What its instructions are written in; the file's name says it by default, `es.jsonl`, else English.

    Raises:
        XtuneError: The file cannot be opened.
        ValueError: The language is no BCP-47 code.
    """
    path = Path(path)
    found: dict[Severity, list[Problem]] = {"problem": [], "note": []}
    placed = list(numbered_seeds(path, lambda severity, problem: found[severity].append(problem)))
    found["note"] += _alike(placed, language or _language_of(path))
    return Report(
        path=path,
        seeds=tuple(seed for _, seed in placed),
        problems=tuple(found["problem"]),
        notes=tuple(found["note"]),
    )


def _alike(placed: Sequence[tuple[str, Seed]], language: str) -> list[Problem]:
    """Instructions that reach ROUGE-L 0.7 with one before: a generated task as alike would be dropped."""
    pool = NoveltyPool(language, nearest=NumpyNearest)  # so few texts do not pay for compiling
    kept: list[str] = []
    problems = []
    verdicts = pool.offer_many(seed.task.instruction for _, seed in placed)
    for (where, _), verdict in zip(placed, verdicts, strict=True):
        if verdict.kept or verdict.nearest is None:
            kept.append(where)
            continue
        what = f"the instruction is much like that of {kept[verdict.nearest]}, ROUGE-L {verdict.score:.2f}"
        problems.append(Problem(what=what, where=where, advice="Vary it, or leave one out."))
    return problems


def _language_of(path: Path) -> str:
    try:
        tokenizer_name(path.stem)
    except ValueError:
        return "en"
    return path.stem


def _shown(name: str, problems: Sequence[Problem]) -> list[str]:
    lines = [f"{name}: {problem}" for problem in problems[:_MOST_LINES]]
    more = len(problems) - len(lines)
    return [*lines, f"{name}: and {more} more"] if more > 0 else lines


def _counts(counter: Mapping[Any, int]) -> str:
    return ", ".join(
        f"{number} {name}" for name, number in sorted(counter.items(), key=lambda item: -item[1])
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
