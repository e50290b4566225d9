"""The tuned model beside its base on public tasks: prepares the questions, asks both, compares with intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from xtune.adapter.open import Opened
from xtune.errors import DataError, Interrupted, Problem
from xtune.evaluate.compare import on_both
from xtune.evaluate.evaluate import Progress, make_encoder
from xtune.evaluate.kept import Kept
from xtune.evaluate.metrics.bootstrap import LEAST_ROWS, Compared, average, compare
from xtune.evaluate.metrics.translation import bleu_signature, require
from xtune.evaluate.numbers import (
    MOST_BARS,
    Bar,
    change_text,
    comparison_table,
    draw_bars,
    few_rows_note,
    interval_text,
)
from xtune.evaluate.suite import Asker, Scored
from xtune.evaluate.tasks.archive import PICTURE, archive
from xtune.evaluate.tasks.items import Asked, Drawing, ask
from xtune.evaluate.tasks.rows import has_files, read_task
from xtune.evaluate.tasks.table import Task, choose_languages, choose_tasks, shipped
from xtune.generate.job import fingerprint_of
from xtune.recipe import Recipe
from xtune.run.folder import RECIPE

KEPT = "tasks.part"
"""Where a run keeps the answers of an evaluation that is not over."""


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which tasks are run, and how."""

    languages: tuple[str, ...] | None = None
    """BCP-47 codes; None: all that a task has rows in."""

    folder: Path | None = None
    """Where the test sets lie; None: the hub."""

    drawing: Drawing = field(default_factory=Drawing)
    """Examples and how many questions."""

    template: bool = False
    """Ask in the chat template of the run; else in plain text."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Both models on one task in one language."""

    asked: Asked
    base: Scored
    tuned: Scored
    compared: tuple[Compared, ...]
    """A comparison of each measure."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Both models on all tasks."""

    outcomes: tuple[Outcome, ...]
    options: TaskOptions
    notes: tuple[str, ...]

    def averages(self) -> dict[str, list[Compared]]:
        """Of each task in several languages, the means over its languages."""
        parts: dict[str, list[tuple[Compared, ...]]] = {}
        for outcome in self.outcomes:
            parts.setdefault(outcome.asked.name, []).append(outcome.compared)
        return {
            name: [average(column) for column in zip(*rows, strict=True)]
            for name, rows in parts.items()
            if len(rows) > 1
        }

    def to_json(self) -> dict[str, Any]:
        """All numbers, and every answer of both models."""
        drawing = self.options.drawing
        return {
            "shots": drawing.shots,
            "limit": drawing.limit,
            "seed": drawing.seed,
            "template": self.options.template,
            "notes": list(self.notes),
            "averages": {
                name: {each.name: each.to_json() for each in row}
                for name, row in self.averages().items()
            },
            "tasks": [_outcome_json(outcome) for outcome in self.outcomes],
        }

    def draw(self, target: Path) -> Path | None:
        """A picture of every task and language, or of the tasks' means where those are too many to be read."""
        each = [
            Bar(label=f"{o.asked.name} {o.asked.language}, {part.name}", compared=part)
            for o in self.outcomes
            for part in o.compared
        ]
        if len(each) > MOST_BARS and (averages := self.averages()):
            each = [
                Bar(label=f"{name}, {part.name}", compared=part)
                for name, row in averages.items()
                for part in row
            ]
        shots = self.options.drawing.shots
        return draw_bars(each, target, title=f"tasks, {f'{shots}-shot' if shots else 'zero-shot'}")

    def table(self) -> RenderableType:
        """The comparison for a terminal."""
        shots = self.options.drawing.shots
        title = f"{shots}-shot" if shots else "zero-shot"
        table = comparison_table(title, "task", "measure", "rows")
        averages = self.averages()
        previous = ""
        for outcome in self.outcomes:
            name = outcome.asked.name
            if previous not in {"", name}:
                _add(table, previous, "mean", averages.get(previous, ()))
                table.add_section()
            _add(table, name, outcome.asked.language, outcome.compared)
            previous = name
        _add(table, previous, "mean", averages.get(previous, ()))
        notes = [Text(f"note: {note}", style="yellow") for note in self.notes]
        return Group(table, *notes)


def judge_run(
    run: Path,
    tasks: Sequence[str],
    options: TaskOptions | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Judgement:
    """Ask a finished run and its base the questions of tasks, and keep what comes of it in RUN (`tasks.archive`).

    Args:
        run: The run; or an adapter's own folder, into which nothing is written.
        tasks: Names, areas, `all`, or YAML files of tasks.
        options: Languages, examples, how many questions, and where the rows are.
        device: Where to compute.
        progress: Told how many questions are answered, of both models together, and of how many.

    Raises:
        DataError: A task or its rows are not to be had; before any model is loaded.
        MissingPackageError: A measure needs a package that is not installed.
        RunError: The folder holds no finished run, or another process evaluates it.
        Interrupted: Stopped by Ctrl-C or SIGTERM; the same again goes on with the answers so far.
        KeyboardInterrupt: The same where nothing is written.
    """
    options = options or TaskOptions()
    prepared, notes = prepare(tasks, options)
    total, done = 2 * sum(len(asked.items) for asked in prepared), 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    sides = iter(("tuned", "base"))  # the order of `on_both`

    def measure(opened: Opened, recipe: Recipe) -> list[Scored]:
        asker = Asker(
            model=opened.model,
            tokenizer=opened.tokenizer,
            encoder=make_encoder(recipe, opened.tokenizer) if options.template else None,
            autocast=opened.autocast,
            kept=kept,
            side=next(sides),
        )
        return [asker.score(asked, count) for asked in prepared]

    has_run = (run / RECIPE).exists()
    kept = Kept(run / KEPT if has_run else None, _identity(run, prepared, options))
    try:
        base, tuned, more = on_both(run, measure, device=device)
    except KeyboardInterrupt:
        if not has_run:
            raise
        raise Interrupted(
            f"Stopped. {done:,} of {total:,} questions are answered, in {run / KEPT}; the same command goes on."
        ) from None
    finally:
        kept.close()
    outcomes = tuple(
        _outcome(asked, before, after, options)
        for asked, before, after in zip(prepared, base, tuned, strict=True)
    )
    notes += [*_remarks(outcomes), *more]
    judgement = Judgement(outcomes=outcomes, options=options, notes=tuple(notes))
    if has_run:
        judgement.draw(run / PICTURE)
        archive(run, judgement.to_json())
        kept.finish()
    return judgement


def _remarks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What a reader of the numbers should know."""
    cut = sum(outcome.tuned.cut for outcome in outcomes)
    if cut:
        yield f"{cut} texts were longer than the model reads and lost their beginning"
    rows = [one.rows for outcome in outcomes for one in outcome.compared]
    yield from few_rows_note(min(rows, default=LEAST_ROWS))


def _identity(run: Path, prepared: Sequence[Asked], options: TaskOptions) -> dict[str, Any]:
    """What the answers to all questions depend on, as JSON takes it."""
    weights = [run / "adapter", run / "model", run]
    return {
        "weights": [fingerprint_of(folder) for folder in weights],
        "template": options.template,
        "tasks": [
            {
                "name": asked.name,
                "language": asked.language,
                "max_new_tokens": asked.task.max_new_tokens,
                "items": [asdict(item) for item in (*asked.shots, *asked.items)],
                "shots": len(asked.shots),
            }
            for asked in prepared
        ],
    }


def prepare(tasks: Sequence[str], options: TaskOptions) -> tuple[list[Asked], list[str]]:
    """The questions of all tasks, and what a person should know of them.

    Raises:
        DataError: An unknown task or language, a folder that is none, or rows that are not to be had.
        MissingPackageError: A measure needs a package that is not installed.
    """
    if options.folder is not None and not options.folder.is_dir():
        raise DataError([Problem(what=f"There is no folder {options.folder}", where="--task-data")])
    chosen = choose_tasks(tasks)
    languages: Mapping[str, list[str]] = choose_languages(chosen, options.languages)
    if any({"bleu", "chrf"} & set(task.measures) for task in chosen.values()):
        require()
    prepared: list[Asked] = []
    notes: list[str] = []
    languages, left = _without_absent(tasks, chosen, languages, options.folder)
    if left:
        notes.append(f"{options.folder} has no rows of {', '.join(left)}")
    for name, codes in languages.items():
        task = chosen[name]
        present, note = _present(name, task, codes, options)
        notes += note
        parts = []
        for code in present:
            rows = read_task(name, task, code, options.folder, with_shots=options.drawing.shots > 0)
            parts.append(ask(name, task, code, rows, options.drawing))
        if taken := sum(asked.taken for asked in parts):
            notes.append(
                f"{name} has no rows for examples, so they came from the rows to be scored; "
                f"{taken:,} rows, the examples and those on the same paragraphs, are not scored"
            )
        prepared += parts
    return prepared, notes


def _without_absent(
    wanted: Sequence[str],
    chosen: Mapping[str, Task],
    languages: Mapping[str, list[str]],
    folder: Path | None,
) -> tuple[Mapping[str, list[str]], list[str]]:
    """Leaves out tasks that stand for an area or for all and that the folder has not; others must be there."""
    if folder is None:
        return languages, []
    left = [
        name
        for name, codes in languages.items()
        if name in shipped()
        and name not in wanted
        and not any(has_files(chosen[name], code, folder) for code in codes)
    ]
    if len(left) == len(languages):
        return languages, []
    return {name: codes for name, codes in languages.items() if name not in left}, left


def _present(
    name: str, task: Task, codes: Sequence[str], options: TaskOptions
) -> tuple[list[str], list[str]]:
    """The languages to run: those wished for, or those that the folder has rows in, if it has any."""
    if options.languages is not None or options.folder is None:
        return list(codes), []
    present = [code for code in codes if has_files(task, code, options.folder)]
    if not present:
        return list(codes), []
    left = [code for code in codes if code not in present]
    note = f"{name}: {options.folder} has no rows in {', '.join(left)}" if left else ""
    return present, [note] if note else []


def _outcome(asked: Asked, base: Scored, tuned: Scored, options: TaskOptions) -> Outcome:
    pairs = zip(base.measures, tuned.measures, strict=True)
    compared = tuple(compare(before, after, seed=options.drawing.seed) for before, after in pairs)
    return Outcome(asked=asked, base=base, tuned=tuned, compared=compared)


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    asked = outcome.asked
    rows = zip(asked.items, outcome.base.answers, outcome.tuned.answers, strict=True)
    language = asked.task.answer_language or asked.language
    return {
        "task": asked.name,
        "language": asked.language,
        "source": asked.source,
        "questions": len(asked.items),
        "texts_cut": outcome.tuned.cut,
        **({"bleu_words": bleu_signature(language)} if "bleu" in asked.task.measures else {}),
        "measures": {each.name: each.to_json() for each in outcome.compared},
        "rows": [
            {
                "prompt": item.prompt,
                "choices": list(item.choices or item.contexts),
                "right": item.right if item.right is not None else list(item.references),
                "base": before,
                "tuned": after,
            }
            for item, before, after in rows
        ],
    }


def _add(table: Table, task: str, language: str, compared: Sequence[Compared]) -> None:
    for place, each in enumerate(compared):
        table.add_row(
            "" if place else f"{task} {language}",
            each.name,
            f"{each.rows:,}",
            interval_text(each.base, each.unit),
            interval_text(each.tuned, each.unit),
            change_text(each),
            style="bold" if language == "mean" else None,
        )
