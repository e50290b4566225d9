"""Arguments and options that several verbs have, each written once; what a verb does with them is its own."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from xtune.cli.recipes import recipe_names
from xtune.errors import XtuneError

SETTINGS = {"ignore_unknown_options": True}
"""Of verbs with overrides: a setting written like an option (`--epochs 3`) must reach their reader, who knows what to say."""

RecipeArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A shipped recipe's name (`xtune recipes`) or a YAML file.",
        autocompletion=recipe_names,
    ),
]
OverridesArgument: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Overrides: `train.learning_rate=1e-4 data.train=my.jsonl`."
    ),
]
ModelArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, an adapter folder or a model folder.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON for programs.")]

# how answers are chosen; the fields of `xtune.generate.decoding.Decoding`
NewTokensOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
TemperatureOption: TypeAlias = Annotated[float, typer.Option(min=0.0, help="0 is greedy.")]
TopPOption: TypeAlias = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Sample from tokens of this probability.")
]
TopKOption: TypeAlias = Annotated[
    int, typer.Option(min=0, max=2**31 - 1, help="Sample from this many tokens; 0: all.")
]
SeedOption: TypeAlias = Annotated[
    int, typer.Option(help="Seed of the sampling; every answer has its own of it.")
]


def new_file(path: Path, option: str) -> Path:
    """The path of a file that an option names, before the work that fills it.

    Raises:
        XtuneError: It is a folder, or would be in one that is not there.
    """
    folder = path.resolve().parent
    if path.is_dir() or not folder.is_dir():
        raise XtuneError(
            f"{path} is a folder." if path.is_dir() else f"There is no folder {folder}.",
            advice=f"Name another file with {option}.",
        )
    return path
