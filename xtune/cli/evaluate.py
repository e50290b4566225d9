"""`xtune evaluate`: a run beside its base, on held-out rows, on public tasks, or by lm-evaluation-harness."""

from pathlib import Path
from typing import Annotated

import typer

from xtune import api_evaluate
from xtune.errors import XtuneError


def evaluate(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, or an adapter folder and --data.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Held-out rows; default: the recipe's `data.evaluate`, unless --tasks or --lm-eval is given."
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Public test sets: `xcopa,xquad`, an area such as `understanding`, `all`, or a YAML file of tasks.",
        ),
    ] = None,
    languages: Annotated[
        str | None, typer.Option(metavar="CODES", help="Languages of the tasks: `th,vi`.")
    ] = None,
    task_data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the test sets lie; default: the hub."),
    ] = None,
    shots: Annotated[
        int, typer.Option(min=0, help="Solved examples before each question of a task.")
    ] = 0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first N questions of a task and language."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of examples and resamples.")] = 0,
    template: Annotated[
        bool, typer.Option("--template", help="Ask tasks in the chat template; else in plain text.")
    ] = False,
    lm_eval: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Tasks that lm-evaluation-harness runs."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Language of the held-out answers; default: found out from them."
        ),
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option(min=1, help="Use only the first N held-out rows.")
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Longest answer to a held-out row; default: as the rows need."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write all numbers here.")
    ] = None,
) -> None:
    """Loss and answers of the tuned model beside its base's, with intervals, on held-out rows or public tasks."""
    from rich.console import Console

    from xtune.cli.terminal import Harmless
    from xtune.cli.waiting import answers_bar

    asked = api_evaluate.Asked(
        data=data,
        tasks=_names(tasks) or (),
        languages=_names(languages),
        task_data=task_data,
        shots=shots,
        limit=limit,
        seed=seed,
        template=template,
        lm_eval=_names(lm_eval) or (),
        language=language,
        max_rows=max_rows,
        max_new_tokens=max_new_tokens,
    )
    for part in api_evaluate.judge(run, asked, bar=answers_bar, json_file=json_file):
        Console().print(Harmless(part.table()))


def _names(text: str | None) -> tuple[str, ...] | None:
    """The names of a list with commas.

    Raises:
        XtuneError: There is none in it.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise XtuneError(f"`{text}` holds no name.", advice="Names are separated by commas: a,b.")
    return names
