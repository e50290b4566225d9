"""The `xtune` command: its verbs, and the one place where errors become messages and exit codes."""

import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from xtune import __version__, api
from xtune.cli.doctor import doctor
from xtune.cli.recipes import init, recipes_app
from xtune.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USER, Interrupted, XtuneError


class Verbs(TyperGroup):
    """The group of verbs; Ctrl-C ends one with a word, where typer would end it without."""

    def invoke(self, ctx: Any) -> object:
        """Run the verb.

        Raises:
            Interrupted: In the place of KeyboardInterrupt.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted.") from None


app = typer.Typer(
    name="xtune",
    cls=Verbs,
    help="Fine-tune open language models on the hardware you have.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A shipped recipe's name (`xtune recipes`) or a YAML file."
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Overrides: `train.learning_rate=1e-4 data.train=my.jsonl`."
    ),
]
# a setting written like an option (`--epochs 3`) must reach the reader of overrides, who knows what to say
SETTINGS = {"ignore_unknown_options": True}


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Fine-tune open language models on the hardware you have."""  # noqa: DOC501 - typer's way to end
    if version:
        print(f"xtune {__version__}")
        raise typer.Exit


@app.command(context_settings=SETTINGS)
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
        print(api.check(recipe, overrides or ()))
    else:
        print(api.train(recipe, overrides or (), resume=resume))


@app.command(context_settings=SETTINGS)
def check(recipe: RecipeArgument, overrides: OverridesArgument = None) -> None:
    """Check a recipe and its data without training; exit code 2 if anything is wrong."""
    print(api.check(recipe, overrides or ()))


@app.command()
def evaluate(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, or an adapter folder and --data.")
    ],
    data: Annotated[
        str | None, typer.Option(help="Held-out rows; default: the recipe's `data.evaluate`.")
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Use only the first N rows.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer; default: as the rows need.")
    ] = None,
) -> None:
    """Loss, perplexity and exact match on held-out rows, the base model beside the tuned one."""
    from rich.console import Console

    from xtune.cli.waiting import answers_bar

    with answers_bar() as progress:
        comparison = api.evaluate(
            run, data=data, max_rows=max_rows, max_new_tokens=max_new_tokens, progress=progress
        )
    Console().print(comparison.table())


@app.command()
def chat(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run folder, an adapter folder or a model folder."),
    ],
    prompt: Annotated[str | None, typer.Option(help="Answer this one prompt and exit.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
) -> None:
    """Talk to a fine-tuned model, with the template it was trained with."""
    api.chat(
        run, prompt=prompt, system=system, max_new_tokens=max_new_tokens, temperature=temperature
    )


@app.command()
def merge(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or an adapter folder.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the merged model goes; must not exist.")
    ],
    base: Annotated[
        Literal["unquantised", "dequantised"],
        typer.Option(
            help="`unquantised`: into the original weights; `dequantised`: into what QLoRA trained against."
        ),
    ] = "unquantised",
) -> None:
    """Merge an adapter into its base: a standard transformers folder."""
    print(api.merge(run, folder, base=base))


app.add_typer(recipes_app, name="recipes")
app.command()(init)
app.command()(doctor)


def main() -> None:
    """Run the command line; an error that a person can fix becomes one message and exit code 2.

    Raises:
        OSError: The system refused something that is not a matter of space: a bug.
    """
    try:
        _open_streams()
        app(standalone_mode=True)
    except XtuneError as error:
        _fail(f"{error}", EXIT_USER)
    except (Interrupted, KeyboardInterrupt) as stop:
        _fail(str(stop) or "Interrupted.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # whoever read our output is gone: point stdout at nothing, so that Python's own flush stays quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BUG)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _fail("The disk is full. Free some space, then try again.", EXIT_USER)


def _open_streams() -> None:
    """Make the standard streams fit for any text, and present: cron and `>&-` close them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _fail(message: str, code: int) -> None:
    with contextlib.suppress(OSError):  # what was to be told is in the message
        sys.stdout.flush()
    print(message, file=sys.stderr)
    sys.exit(code)
