"""`xtune recipes` and `xtune init`: look at the shipped recipes, copy one, write the schema; nothing is trained here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from xtune.catalog import copy_recipe, find_recipe, list_recipes, read_text
from xtune.recipe.read import recipe_schema
from xtune.shown import say, say_json

recipes_app = typer.Typer(help="List the recipes that come with xtune.", no_args_is_help=False)


def recipe_names(incomplete: str) -> list[str]:
    """The shipped recipes that begin so, for the shell's completion."""
    return [entry.name for entry in list_recipes() if entry.name.startswith(incomplete)]


@recipes_app.callback(invoke_without_command=True)
def list_all(context: typer.Context) -> None:
    """List the recipes that come with xtune."""
    if context.invoked_subcommand is not None:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", style="bold", no_wrap=True)
    table.add_column("what it is for")
    for entry in list_recipes():
        table.add_row(entry.name, entry.summary)
    console = Console()
    console.print(table)
    console.print(
        "\nRead one with `xtune recipes show NAME`, copy it to edit with `xtune init NAME`,"
    )
    console.print("run it with `xtune train NAME`. To begin with: `xtune train quickstart`.")


@recipes_app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A recipe's name, or a YAML file.", autocompletion=recipe_names
        ),
    ],
) -> None:
    """Print a recipe."""
    say(read_text(find_recipe(name)), end="")


@recipes_app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors: `xtune recipes schema > schema.json`."""
    say_json(recipe_schema(), indent=2)


def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A recipe that `xtune recipes` lists.",
            autocompletion=recipe_names,
        ),
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The new file; default: NAME.yaml here.")
    ] = None,
) -> None:
    """Copy a recipe to edit; an existing file is never overwritten."""
    copied = copy_recipe(name, file)
    say(f"{copied} is yours to edit. Then: xtune train {copied}")
