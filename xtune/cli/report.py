"""`xtune report`: a run as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from xtune import api_results
from xtune.shown import say


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; default: RUN/report.html.")
    ] = None,
) -> None:
    """Write a run as one HTML page: recipe, plan, curves, answers, evaluation, data, environment."""
    say(api_results.report(run, out))
