"""What a run has come to, read from its folder: numbers by language, round and reason. It changes nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from selfinstruct.pool.events import is_event
from selfinstruct.pool.folder import RECIPE
from selfinstruct.pool.journal import read_lines
from selfinstruct.types import Usage
from xtune.errors import RunError

_SAMPLE = 10_000
"""Tasks of a language whose lengths are taken for the medians: the first ones."""


@dataclass(kw_only=True)
class LanguageStats:
    """One language's numbers."""

    kept: int = 0
    replies: int = 0
    cut: int = 0
    """Replies that ended for length."""

    with_input: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    """A few of the dropped texts of each reason."""

    rounds: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Replies and kept tasks of each round."""

    lengths: list[tuple[int, int]] = field(default_factory=list)
    """Letters of instruction and output."""

    usage: Usage = field(default_factory=Usage)
    models: Counter[str] = field(default_factory=Counter)


def read_stats(folder: Path, *, examples: int = 0) -> dict[str, LanguageStats]:
    """The numbers of every language of a run folder, sorted by language.

    Raises:
        RunError: The folder holds no run.
    """
    check_run(folder)
    found: dict[str, LanguageStats] = {}
    for path in sorted((folder / "pool").glob("*.jsonl")):
        stats = found[path.stem] = LanguageStats()
        for row in events(path):
            _add(stats, row, examples)
    return found


def check_run(folder: Path) -> None:
    """Refuse a folder without a run.

    Raises:
        RunError: It has none.
    """
    if not (folder / RECIPE).is_file():
        what = "is no folder" if not folder.is_dir() else "holds no run of selfinstruct"
        raise RunError(f"{folder} {what}.", advice="Name the run.folder of a recipe.")


def events(path: Path) -> Iterator[Mapping[str, Any]]:
    """The events of the whole replies of a pool; a run under way may be in the middle of one.

    Raises:
        RunError: A line is not one that a run wrote.
    """
    pending: list[Mapping[str, Any]] = []
    for row, start, _ in read_lines(path, torn=True):
        if not is_event(row):
            raise RunError(f"{path} holds a line that no run wrote, at byte {start}.")
        pending.append(row)
        if row["event"] == "reply":
            yield from pending
            pending = []


def _add(stats: LanguageStats, row: Mapping[str, Any], examples: int) -> None:
    kind = row["event"]
    number = int(row["prompt"].split("/")[1])
    replies, kept = stats.rounds.get(number, (0, 0))
    if kind == "kept":
        stats.kept += 1
        stats.with_input += bool(row["input"])
        kept += 1
        if len(stats.lengths) < _SAMPLE:
            stats.lengths.append((len(row["instruction"]), len(row["output"])))
    elif kind == "dropped":
        stats.drops[row["reason"]] += 1
        shown = stats.examples.setdefault(row["reason"], [])
        if len(shown) < examples:
            shown.append(f"{row['text']} [{row['detail']}]" if row["detail"] else row["text"])
    else:
        stats.replies += 1
        stats.cut += row["finish_reason"] == "length"
        stats.models[row["model"]] += 1
        stats.usage += Usage(
            prompt_tokens=row["prompt_tokens"], completion_tokens=row["completion_tokens"]
        )
        replies += 1
    stats.rounds[number] = replies, kept


def print_stats(stats: Mapping[str, LanguageStats], console: Console) -> None:
    """Print the numbers: languages, reasons with examples, rounds."""
    table = Table("language", box=None)
    for title in (
        "kept",
        "dropped",
        "replies",
        "kept/reply",
        "input",
        "asked",
        "answered",
        "tokens",
    ):
        table.add_column(title, justify="right")
    for language, one in stats.items():
        asked = median(length for length, _ in one.lengths) if one.lengths else 0
        answered = median(length for _, length in one.lengths) if one.lengths else 0
        tokens = one.usage.prompt_tokens + one.usage.completion_tokens
        table.add_row(
            language,
            f"{one.kept:,}",
            f"{sum(one.drops.values()):,}",
            f"{one.replies:,}",
            f"{one.kept / max(one.replies, 1):.1f}",
            f"{one.with_input / max(one.kept, 1):.0%}",
            f"{asked:.0f}",
            f"{answered:.0f}",
            f"{tokens:,}",
        )
    for one_table in (table, _reasons(stats), _rounds(stats)):
        _print_whole(one_table, console)
    console.print("asked, answered: characters of instructions and outputs, medians")
    for language, one in stats.items():
        for reason, texts in one.examples.items():
            for text in texts:
                shown = " ".join(text.split())
                console.print(f"{language} {reason}: {shown[:200]}", markup=False, soft_wrap=True)


def _print_whole(table: Table, console: Console) -> None:
    """Print a table without a cell cut short: one of eleven languages is wider than many terminals, which then fold its lines."""
    needed = Measurement.get(console, console.options.update(max_width=1_000), table).maximum
    before = console.width
    console.width = max(before, needed)
    console.print(table)
    console.width = before


def _reasons(stats: Mapping[str, LanguageStats]) -> Table:
    total = sum((one.drops for one in stats.values()), Counter())
    table = Table("dropped because", box=None)
    for language in (*stats, "all"):
        table.add_column(language, justify="right")
    for reason, count in total.most_common():
        cells = [f"{one.drops[reason]:,}" for one in stats.values()]
        table.add_row(reason, *cells, f"{count:,}")
    return table


def _rounds(stats: Mapping[str, LanguageStats]) -> Table:
    table = Table("kept in round", box=None)
    numbers = sorted({number for one in stats.values() for number in one.rounds})
    for number in numbers:
        table.add_column(str(number), justify="right")
    for language, one in stats.items():
        table.add_row(language, *(f"{one.rounds.get(number, (0, 0))[1]:,}" for number in numbers))
    return table
