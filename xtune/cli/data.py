"""`xtune data`: look at what is trained on, check it, compare tokenizers, list known data sets; nothing is trained here."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from xtune import api_data
from xtune.cli.options import SETTINGS, JsonOption
from xtune.shown import say, say_json

data_app = typer.Typer(
    help="Look at the data: what is trained on, what was dropped and why, which tokenizer suits a language.",
    no_args_is_help=True,
)
RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A shipped recipe's name, a YAML file, a run folder; with --data, a model.",
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides: `data.train=my.jsonl`."),
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="FILE", help="Rows for the model named as RECIPE.")
]

TERMINAL_ROWS, PAGE_ROWS = 5, 200
"""Rows shown unasked: what a terminal's page holds; what a browser opens at once (200 rows of 2,000 tokens: 20 MB)."""


@data_app.command(context_settings=SETTINGS)
def show(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--count",
            min=1,
            help="Rows to show; default: 5, with --html 200, with --json all.",
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option("--row", min=0, help="Show this row of a file, from 0, token by token."),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="The evaluation rows instead of the training rows.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page to look at.")
    ] = None,
) -> None:
    """Show the very tokens that training uses: the trained ones in colour (in brackets where there is none)."""
    usual = None if as_json else PAGE_ROWS if html is not None else TERMINAL_ROWS
    view = api_data.data_show(
        recipe,
        overrides or (),
        data=data,
        count=count if count is not None else usual,
        row=row,
        evaluate=evaluate,
    )
    if html is not None:
        say(
            f"{view.write_html(html)} holds {view.heading}",
            stream=sys.stderr if as_json else None,
        )
    if as_json:
        for line in view.json_lines():
            say(line)
    elif html is None:
        view.print(table=row is not None)


@data_app.command(context_settings=SETTINGS)
def check(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rows, formats, tokens, lengths, drops, repeats and languages; exit code 2 if training would refuse."""
    found = api_data.data_check(recipe, overrides or (), data=data)
    if as_json:
        say_json(found.to_json(), indent=2)
    else:
        found.print(reasons=False)
    found.raise_any()


@data_app.command()
def tokens(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A folder, a hub id, or `bundled:demo`.")
    ],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Texts, data files, XML files, folders.")
    ],
    more: Annotated[
        list[str] | None, typer.Option("--model", metavar="MODEL", help="One more; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """How well a model's tokenizer fits a language: characters a token, byte tokens, unknown tokens."""
    report = api_data.data_tokens([model, *(more or ())], files)
    if as_json:
        say_json(report.to_json(), indent=2)
    else:
        report.print()


@data_app.command()
def template(
    name: Annotated[
        str, typer.Argument(metavar="MODEL|FILE", help="A model, or a Jinja file of a template.")
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="For a file: the tokenizer to try it with."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a chat template can do and what is trained on with it; exit code 2 if nothing can be."""
    view = api_data.data_template(name, model=model)
    if as_json:
        say_json(view.to_json(), indent=2)
    else:
        view.print()
    view.raise_refused()


@data_app.command()
def sets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One set, in full.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="CODE", help="Those in a language: `th`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The data sets that recipes may name as `set:NAME`."""
    found = api_data.data_sets(name, language=language)
    if as_json:
        say_json(found.to_json(), indent=2)
    else:
        found.print()
