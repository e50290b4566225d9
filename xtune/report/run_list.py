"""The runs in a folder side by side: state, losses, sizes, speed, and only what differs in their recipes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from xtune.errors import RunError
from xtune.report.html import page_html, table_html
from xtune.report.pace import bytes_text, duration_text, rate_text
from xtune.report.run_files import RunFiles, is_finite
from xtune.report.task_results import TaskResult, read_task_results
from xtune.run.folder import RECIPE
from xtune.run.lock import is_held
from xtune.shown import visible

DEEPEST = 3
"""Folders within folders that are searched."""

SECONDARY = frozenset({"run.folder", "run.trackers"})
"""Settings in which runs always differ, or that change nothing."""


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run."""

    name: str
    """Its folder, from the folder that was asked about."""

    state: str
    steps: str
    """Steps done, and of how many; empty before the first."""

    problem: str = ""
    """What cannot be read of it; empty if all can."""

    settings: Mapping[str, Any]
    """Its recipe, by dotted names."""

    numbers: Mapping[str, Any]
    """Losses in nats per trained token, exact match in 0 to 1, tokens/s, seconds, bytes; None where unknown."""

    tasks: Sequence[TaskResult] = ()
    """What evaluations on tasks found."""


@dataclass(frozen=True, kw_only=True)
class RunList:
    """All of them."""

    folder: Path
    runs: Sequence[ListedRun]

    @property
    def differing(self) -> list[str]:
        """Dotted names of the settings that are not the same in all readable recipes."""
        read = [run.settings for run in self.runs if run.settings]
        names = dict.fromkeys(name for settings in read for name in settings)
        return [
            name
            for name in names
            if name not in SECONDARY and len({repr(one.get(name)) for one in read}) > 1
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        names = self.differing
        return {
            "folder": str(self.folder),
            "differing": names,
            "runs": [
                {
                    "name": run.name,
                    "state": run.state,
                    "steps": run.steps,
                    "problem": run.problem,
                    **run.numbers,
                    "tasks": [one.to_json() for one in run.tasks],
                    "settings": {name: run.settings.get(name) for name in names},
                }
                for run in self.runs
            ],
        }

    def table(self) -> RenderableType:
        """Tables for a terminal: how the runs did, in what they differ, and what tasks found."""
        tables: list[RenderableType] = []
        for head, rows in (self._results(), self._settings(), self._tasks()):
            if rows:
                tables += [_table(head, rows), Text()]
        problems = [f"{run.name}: {run.problem}" for run in self.runs if run.problem]
        return Group(*tables, *(Text(visible(problem), style="yellow") for problem in problems))

    def _results(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        head = (
            "run",
            "state",
            "steps",
            "loss",
            "held out",
            "exact",
            "time",
            "tok/s",
            "memory",
            "result",
        )
        return head, [(run.name, run.state, run.steps, *_cells(run.numbers)) for run in self.runs]

    def _settings(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        names = self.differing
        rows = [
            (run.name, *(_value(run.settings.get(name)) for name in names))
            for run in self.runs
            if run.settings
        ]
        return ("run", *names), rows if names else []

    def _tasks(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """A row for everything that a run was asked, and the runs beside one another."""
        asked = [run for run in self.runs if run.tasks]
        by_run = [{one.name: one for one in run.tasks} for run in asked]
        names = dict.fromkeys(name for results in by_run for name in results)
        rows = []
        for name in names:
            found = [results.get(name) for results in by_run]
            rows.append((name, *("-" if one is None else one.change for one in found)))
        return ("task, base \N{RIGHTWARDS ARROW} tuned", *(run.name for run in asked)), rows

    def _repr_html_(self) -> str:
        tables = "<p></p>".join(
            table_html(*part, css="wide")
            for part in (self._results(), self._settings(), self._tasks())
        )
        problems = "".join(
            f'<p class="bad">{escape(f"{run.name}: {run.problem}")}</p>'
            for run in self.runs
            if run.problem
        )
        return page_html(title="", body=tables + problems, part=True)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    results = "state" in head
    for place, name in enumerate(head):
        whole = results and place > 0  # the runs' names give way
        table.add_column(Text(name), overflow="fold", no_wrap=whole, min_width=None if whole else 8)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def list_runs(folder: Path) -> RunList:
    """Read the runs in a folder, in the order of their names.

    Raises:
        RunError: There is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise RunError(
            f"There is no folder {folder}.", advice="Give the folder that holds the runs."
        )
    found = sorted(_run_folders(folder, DEEPEST))
    if not found:
        raise RunError(
            f"There is no run in {folder}, and none in the folders in it.",
            advice="A run is a folder with a recipe.yaml; `xtune train` makes them under runs/.",
        )
    return RunList(folder=folder, runs=[_listed(path, folder) for path in found])


def _run_folders(folder: Path, deep: int) -> Iterator[Path]:
    """Folders with a recipe, and those with other files of a run and without; a run's own folders are not searched."""
    if any((folder / name).is_file() for name in (RECIPE, "status.json", "metrics.jsonl")):
        yield folder
        return
    if deep == 0:
        return
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return
    for path in inside:
        if not path.name.startswith("."):
            yield from _run_folders(path, deep - 1)


def _listed(path: Path, folder: Path) -> ListedRun:
    name = str(path.relative_to(folder)) if path != folder else path.resolve().name
    try:
        files = RunFiles.read(path)
    except (RunError, OSError) as error:
        return ListedRun(
            name=name, state="broken", steps="", problem=str(error), settings={}, numbers={}
        )
    is_ours = isinstance(files.recipe.get("model"), Mapping) and "method" in files.recipe
    if files.recipe and not is_ours:
        problem = f"{RECIPE} is no recipe of xtune"
        return ListedRun(
            name=name, state="broken", steps="", problem=problem, settings={}, numbers={}
        )
    tasks, unread = read_task_results(path)
    damaged = [*files.damaged, *unread]
    problem = f"damaged: {', '.join(damaged)}" if damaged else ""
    state = files.state.replace("_", " ")
    if files.state == "running" and not is_held(path):
        problem = "; ".join(
            filter(None, [problem, "killed: nothing trains in it; --resume goes on"])
        )
        state = "killed"
    held_out, exact = files.best_held_out, files.evaluation.get("after")
    return ListedRun(
        name=name,
        state="broken" if not files.recipe else state,
        steps=files.steps_text,
        problem=problem,
        settings=dict(_flat(files.recipe)),
        tasks=tasks,
        numbers={
            "loss": files.last_loss,
            "held_out_loss": held_out[1] if held_out else None,
            "held_out_step": held_out[0] if held_out else None,
            "exact_match": _exact(exact),
            "elapsed_s": files.elapsed_s,
            "tokens_per_s": files.tokens_per_s,
            "peak_bytes": files.peak_bytes,
            "result_bytes": files.result_bytes,
        },
    )


def _exact(after: Any) -> float | None:
    share = after.get("exact_match") if isinstance(after, Mapping) else None
    value = share.get("value") if isinstance(share, Mapping) else None
    return float(value) if is_finite(value) else None


def _flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{dotted}.")
        else:
            yield dotted, value


def _cells(numbers: Mapping[str, Any]) -> Iterator[str]:
    shown = {
        "loss": lambda value: f"{value:.4f}",
        "held_out_loss": lambda value: f"{value:.4f}",
        "exact_match": lambda value: f"{value:.1%}",
        "elapsed_s": duration_text,
        "tokens_per_s": rate_text,
        "peak_bytes": bytes_text,
        "result_bytes": bytes_text,
    }
    for name, text in shown.items():
        value = numbers.get(name)
        yield "-" if value is None else text(value)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
