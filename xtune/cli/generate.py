"""`xtune generate`: answers to many rows at once; it only parses and prints."""

from typing import Annotated

import typer

from xtune import api
from xtune.cli.options import (
    ModelArgument,
    NewTokensOption,
    SeedOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
)
from xtune.cli.template import TemplateArguments, template_arguments
from xtune.errors import XtuneError
from xtune.shown import say, say_json


def generate(
    run: ModelArgument,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", help="A prompt; repeatable.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Rows, in any format that training reads."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE", help="JSON lines: the rows with their answers."),
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="System prompt of rows that have none.")
    ] = None,
    max_new_tokens: NewTokensOption = 512,
    temperature: TemperatureOption = 0.0,
    top_p: TopPOption = 1.0,
    top_k: TopKOption = 0,
    seed: SeedOption = 0,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Only the first N rows.")] = None,
    field: Annotated[str, typer.Option(help="Column of the answer.")] = "answer",
    base: Annotated[bool, typer.Option("--base", help="Ask the base model instead.")] = False,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Let rounding turn close choices: an answer may depend on its batch."
        ),
    ] = False,
    template_arg: TemplateArguments = None,
) -> None:
    """Answer prompts or a file of rows in batches; stopped and started again, it goes on."""  # noqa: DOC501 - shown as help
    if (prompt is None) == (file is None):
        raise XtuneError("Nothing to answer, or two things.", advice="Give --prompt or --file.")
    if file is not None and out is None:
        raise XtuneError("The answers of a file need a file.", advice="Give --out FILE.jsonl.")
    from xtune.cli.waiting import answers_bar
    from xtune.generate.decoding import Decoding
    from xtune.generate.options import Options

    decoding = Decoding(
        temperature=temperature, top_p=top_p, top_k=top_k, seed=seed, max_new_tokens=max_new_tokens
    )
    options = Options(
        decoding=decoding,
        system=system,
        template=template_arguments(template_arg),
        max_rows=max_rows,
        column=field,
        exact=not fast,
        base_only=base,
    )
    with answers_bar() as progress:
        rows = api.generate(
            run,
            file if file is not None else prompt or (),
            out=out,
            options=options,
            progress=progress,
        )
    if len(rows) == 1:
        say(rows[0][field])
        return
    for row in rows:
        say_json(row)
    if out is not None:
        say(f"answers  {out}")
