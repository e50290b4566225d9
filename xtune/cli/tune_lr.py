"""`xtune tune-lr`: the learning rate below the first spike."""

from pathlib import Path
from typing import Annotated

import typer

from xtune import api_results
from xtune.cli.options import JsonOption, OverridesArgument, RecipeArgument, new_file
from xtune.shown import say, say_json


def tune_lr(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    first: Annotated[float, typer.Option("--from", help="The first rate.")] = 1e-6,
    last: Annotated[float, typer.Option("--to", help="The last rate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Steps between; one rate each.")] = 120,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The picture, as a page; default: NAME-lr.html."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find a learning rate: raise it on the recipe's model and data until the gradient norm spikes; nothing is saved.

    Ctrl-C ends it early with what was seen.
    """
    picture = new_file(out or Path(f"{Path(recipe).stem}-lr.html"), "--out")
    found = api_results.tune_lr(recipe, overrides or (), first=first, last=last, steps=steps)
    # first what was found: it took many steps
    if as_json:
        say_json({**found.to_json(), "picture": str(picture)}, indent=2)
    else:
        say(found)
    found.save(picture)
    if not as_json:
        say(f"Picture: {picture}")
