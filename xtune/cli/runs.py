"""`xtune runs`: the runs in a folder side by side."""

import json
from typing import Annotated

import typer

from xtune import api_results


def runs(
    folder: Annotated[
        str, typer.Argument(metavar="[FOLDER]", help="A folder with runs in it, at any depth.")
    ] = "runs",
    as_json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False,
) -> None:
    """Compare runs: how they stand, losses, sizes, speed, and in what their recipes differ."""
    found = api_results.runs(folder)
    if as_json:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    Console().print(found.table())
