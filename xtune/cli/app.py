"""The `xtune` command: its verbs; how one ends is in `ending.py`."""

from typing import Annotated

import typer

from xtune import __version__, api
from xtune.cli.chat import chat
from xtune.cli.data import data_app
from xtune.cli.doctor import doctor
from xtune.cli.ending import Verbs, run_to_end
from xtune.cli.evaluate import evaluate
from xtune.cli.export import export
from xtune.cli.generate import generate
from xtune.cli.merge import merge
from xtune.cli.options import SETTINGS, OverridesArgument, RecipeArgument
from xtune.cli.plan import plan
from xtune.cli.recipes import init, recipes_app
from xtune.cli.report import report
from xtune.cli.runs import runs
from xtune.cli.serve import serve
from xtune.cli.tune_lr import tune_lr
from xtune.shown import say, say_lines

app = typer.Typer(
    name="xtune",
    cls=Verbs,
    help="Fine-tune open language models on the hardware you have.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Fine-tune open language models on the hardware you have."""  # noqa: DOC501 - typer's way to end
    if version:
        say(f"xtune {__version__}")
        raise typer.Exit


def train(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the run folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan and check everything; train nothing.")
    ] = False,
) -> None:
    """Fine-tune a model as a recipe says."""
    if dry_run:
        say_lines(api.check(recipe, overrides or ()))
    else:
        say(api.train(recipe, overrides or (), resume=resume))


def check(recipe: RecipeArgument, overrides: OverridesArgument = None) -> None:
    """Check a recipe and its data without training; exit code 2 if anything is wrong."""
    say_lines(api.check(recipe, overrides or ()))


# in the order in which they are used, which is that of the help
app.command()(init)
app.command(context_settings=SETTINGS)(check)
app.command(context_settings=SETTINGS)(plan)
app.command("tune-lr", context_settings=SETTINGS)(tune_lr)
app.command(context_settings=SETTINGS)(train)
app.command()(evaluate)
app.command()(chat)
app.command()(generate)
app.command()(report)
app.command()(runs)
app.command()(merge)
app.command()(export)
app.command()(serve)
app.command()(doctor)
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")


def main() -> None:
    """Run the command line."""
    run_to_end(app)
