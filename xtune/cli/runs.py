"""`xtune runs`: the runs in a folder side by side."""

from typing import Annotated

import typer

from xtune import api_results
from xtune.cli.options import JsonOption
from xtune.shown import say_json


def runs(
    folder: Annotated[
        str, typer.Argument(metavar="[FOLDER]", help="A folder with runs in it, at any depth.")
    ] = "runs",
    as_json: JsonOption = False,
) -> None:
    """Compare runs: how they stand, losses, sizes, speed, and in what their recipes differ."""
    found = api_results.runs(folder)
    if as_json:
        say_json(found.to_json(), indent=2)
        return
    from rich.console import Console

    from xtune.cli.terminal import Harmless

    Console().print(Harmless(found.table()))
