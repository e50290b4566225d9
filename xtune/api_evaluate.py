"""`xtune evaluate` as Python functions: held-out rows, public tasks, lm-evaluation-harness, each with the base beside it.

Importing this module is cheap; torch and transformers come with the first function that needs them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from xtune import api
from xtune.errors import RunError, XtuneError
from xtune.found import find_result
from xtune.run.folder import folder_of

if TYPE_CHECKING:
    from xtune.evaluate.harness import HarnessResult
    from xtune.evaluate.judge import Judgement

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many answers there are, and of how many."""

Bar: TypeAlias = Callable[[], AbstractContextManager[Progress]]
"""Opens what shows progress."""


class Part(Protocol):
    """One part of an evaluation."""

    def table(self) -> Any:
        """What rich prints."""

    def to_json(self) -> dict[str, Any]:
        """All numbers."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be evaluated; without `tasks` and `lm_eval` it is the held-out rows."""

    data: str | None = None
    """A file of rows; None: the recipe's `data.evaluate`."""

    tasks: tuple[str, ...] = ()
    """Names of tasks, areas, `all`, or YAML files of tasks."""

    languages: tuple[str, ...] | None = None
    """BCP-47 codes of the tasks' languages; None: all."""

    task_data: Path | None = None
    """The folder of the test sets; None: the hub."""

    shots: int = 0
    """Solved examples before each question."""

    limit: int | None = None
    """Only the first so many questions of a task and language."""

    seed: int = 0
    template: bool = False
    """Ask tasks in the run's chat template; else in plain text."""

    lm_eval: tuple[str, ...] = ()
    """Tasks that lm-evaluation-harness runs."""

    language: str | None = None
    """Language of the held-out answers; None: found out from them."""

    max_rows: int | None = None
    """Only the first so many held-out rows."""

    max_new_tokens: int | None = None
    """Longest answer to a held-out row, in tokens; None: a little more than the longest expected one."""


def judge(
    run: str | Path, asked: Asked, *, bar: Bar | None = None, json_file: Path | None = None
) -> Iterator[Part]:
    """Evaluate a run in all that is asked, part by part.

    Args:
        run: A run folder, or an adapter's own folder.
        asked: What is to be evaluated.
        bar: Opens what shows progress; None: nothing does.
        json_file: Where the numbers of all parts are written, too.

    Yields:
        Each part when it is done.

    Raises:
        RunError: There is no folder for `json_file`.
        XtuneError: What a person can mend, before a model is loaded where that is possible.
    """
    if json_file is not None and not json_file.resolve().parent.is_dir():
        raise RunError(
            f"There is no folder {json_file.resolve().parent} to write {json_file.name} into.",
            advice="Name another file with --json.",
        )
    for_tasks = asked.languages or asked.shots or asked.template or asked.task_data or asked.limit
    if for_tasks and not asked.tasks and not asked.lm_eval:
        raise XtuneError(
            "--languages, --shots, --limit, --template and --task-data are for tasks, and --tasks names none.",
            advice="`--tasks all` runs those that xtune knows; --max-rows limits the held-out rows.",
        )
    parts: dict[str, Any] = {}
    for name, part in _parts(find_result(run).folder, asked, bar or _silent):
        parts[name] = part.to_json()
        if json_file is not None:
            from xtune.durable import write_json  # noqa: PLC0415

            write_json(json_file, parts)
        yield part


def _parts(run: Path, asked: Asked, bar: Bar) -> Iterator[tuple[str, Part]]:
    if asked.data is not None or not (asked.tasks or asked.lm_eval):
        with bar() as progress:
            held_out = api.evaluate(
                run,
                data=asked.data,
                language=asked.language,
                max_rows=asked.max_rows,
                max_new_tokens=asked.max_new_tokens,
                seed=asked.seed,
                progress=progress,
            )
        yield "held_out", held_out
    if asked.tasks:
        with bar() as progress:
            judgement = on_tasks(run, asked, progress=progress)
        yield "tasks", judgement
    if asked.lm_eval:
        yield "lm_eval", by_harness(run, asked)


def on_tasks(run: str | Path, asked: Asked, *, progress: Progress | None = None) -> "Judgement":
    """Ask a run and its base the questions of public tasks.

    Raises:
        XtuneError: A task or its rows are not to be had, or the run cannot be opened.
    """
    from xtune.evaluate.judge import TaskOptions, judge_run  # noqa: PLC0415 - torch is imported late
    from xtune.evaluate.tasks.items import Drawing  # noqa: PLC0415

    options = TaskOptions(
        languages=asked.languages,
        folder=asked.task_data,
        drawing=Drawing(shots=asked.shots, limit=asked.limit, seed=asked.seed),
        template=asked.template,
    )
    return judge_run(folder_of(run), asked.tasks, options, progress=progress)


def by_harness(run: str | Path, asked: Asked) -> "HarnessResult":
    """Hand a run and its base over to lm-evaluation-harness.

    Raises:
        XtuneError: It is not installed, knows no such task, or the run cannot be opened.
    """
    from xtune.evaluate.harness import HarnessOptions, run_harness  # noqa: PLC0415 - as above

    return run_harness(
        folder_of(run),
        asked.lm_eval,
        HarnessOptions(
            shots=asked.shots,
            limit=asked.limit,
            seed=asked.seed,
            template=asked.template,
            folder=asked.task_data,
        ),
    )


def _silent() -> AbstractContextManager[Progress]:
    return nullcontext(lambda done, total: None)  # noqa: ARG005 - nobody looks
