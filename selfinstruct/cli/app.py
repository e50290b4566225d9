"""The `selfinstruct` command: its verbs; how one ends is in `xtune.cli.ending`."""

from typing import Annotated, Literal

import typer

from xtune import __version__
from xtune.cli.ending import Verbs, run_to_end
from xtune.shown import say, say_json

app = typer.Typer(
    name="selfinstruct",
    cls=Verbs,
    help="Make instruction data in any language from a few seed tasks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
seeds_app = typer.Typer(no_args_is_help=True, help="Check, show and count seeds.")
FolderArgument = Annotated[str, typer.Argument(metavar="FOLDER", help="The folder of a run.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Make instruction data in any language from a few seed tasks."""  # noqa: DOC501 - typer's way to end
    if version:
        say(f"selfinstruct {__version__}")
        raise typer.Exit


@app.command(context_settings={"ignore_unknown_options": True})
def run(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A YAML file, or `demo` or `multialpaca`.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Overrides: `llm.model=gpt-4o-mini run.folder=out/x`."
        ),
    ] = None,
    target: Annotated[
        int | None, typer.Option(min=1, help="Tasks to keep in each language.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds in each language.")] = None,
    budget: Annotated[str | None, typer.Option(help="Most to spend: `5USD`.")] = None,
    max_tokens_total: Annotated[
        int | None, typer.Option(min=1, help="Most tokens, prompts and answers.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Requests at a time, at most.")
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Ask through the batch API.")] = False,
    keep_ties: Annotated[
        bool,
        typer.Option("--keep-ties", help="Drop only what exceeds `novelty.threshold`."),
    ] = False,
) -> None:
    """Grow the pools of all languages; the same command goes on where it stopped."""
    from selfinstruct.run.verbs import Options, run_recipe

    options = Options(
        target=target,
        rounds=rounds,
        budget=budget,
        max_tokens_total=max_tokens_total,
        concurrency=concurrency,
        batch=batch,
        keep_ties=keep_ties,
    )
    say(run_recipe(recipe, overrides or (), options))


@app.command()
def status(folder: FolderArgument) -> None:
    """How a run stands: kept, dropped, replies, tokens, cost."""
    from selfinstruct.run import verbs

    say(verbs.status(folder))


@app.command()
def stats(
    folder: FolderArgument,
    examples: Annotated[int, typer.Option(min=0, help="Dropped texts to show of each reason.")] = 1,
) -> None:
    """The numbers of a run: by language, reason and round."""
    from selfinstruct.run import verbs

    verbs.stats(folder, examples=examples)


@app.command()
def export(
    folder: FolderArgument,
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="The data set's folder; must not exist.")
    ],
    form: Annotated[
        Literal["alpaca", "messages", "sharegpt"],
        typer.Option("--format", help="Shape of the rows."),
    ] = "alpaca",
    split: Annotated[float, typer.Option(help="Part of each language to hold out: `0.05`.")] = 0.0,
) -> None:
    """Write the kept tasks as a data set with a card; xtune trains on it as it is."""
    from selfinstruct.run import verbs

    say(verbs.export_run(folder, out, form=form, split=split))


@app.command(context_settings={"ignore_unknown_options": True})
def translate(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Whose LLM translates.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the recipe.")
    ] = None,
    to: Annotated[str, typer.Option(help="Languages: `ar,de,es`; there is no default.")] = "",
    out: Annotated[str, typer.Option(help="Folder of the translated files.")] = "seeds",
    seeds: Annotated[str, typer.Option(help="The English seeds; default: those that ship.")] = "en",
    give_up_after: Annotated[
        int,
        typer.Option(
            min=0,
            help="Leave a language where its first N tasks all fail, four answers each; 0: never.",
        ),
    ] = 8,
) -> None:
    """Translate the seeds; checked, resumable, never over a task that was edited by hand."""
    from selfinstruct.run import verbs

    languages = [name.strip() for name in to.split(",") if name.strip()]
    say(
        verbs.translate_seeds(
            recipe,
            languages,
            overrides or (),
            out=out,
            seeds=seeds,
            give_up_after=give_up_after,
        )
    )


@seeds_app.command("check")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A seed file of either layout.")],
) -> None:
    """Check a seed file; exit code 2 if anything is wrong."""
    from selfinstruct.run import verbs

    say(verbs.check_seeds(file))


@seeds_app.command("show")
def show(
    lang: Annotated[str, typer.Option(help="A language that ships, or a file.")] = "en",
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="This task alone; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Rows of a seed file.")] = False,
) -> None:
    """Print seeds, to be read or as JSON lines."""
    from selfinstruct.run import verbs

    verbs.show_seeds(lang, ids or (), as_json=as_json)


@seeds_app.command("stats")
def seeds_stats(
    lang: Annotated[
        list[str] | None,
        typer.Option(help="A language that ships, or a file; repeatable. Default: all that ship."),
    ] = None,
    tokenizer: Annotated[
        str, typer.Option(metavar="MODEL", help="A folder, a hub id, or `bundled:demo`.")
    ] = "bundled:demo",
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON.")] = False,
) -> None:
    """Count seeds by language: tasks, categories, lengths, and how well a tokenizer fits."""
    from selfinstruct.run import verbs

    found = verbs.seed_stats(lang or (), tokenizer=tokenizer)
    if as_json:
        say_json(found.to_json(), indent=2)
    else:
        found.print()


app.add_typer(seeds_app, name="seeds")


def main() -> None:
    """Run the command line."""
    run_to_end(app)
