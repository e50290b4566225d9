"""`xtune chat`: a conversation in the terminal; it only parses and calls."""

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


def chat(
    run: ModelArgument,
    prompt: Annotated[str | None, typer.Option(help="Answer this one prompt and exit.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    max_new_tokens: NewTokensOption = 512,
    temperature: TemperatureOption = 0.0,
    top_p: TopPOption = 1.0,
    top_k: TopKOption = 0,
    seed: SeedOption = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the base model's answer before each.")
    ] = False,
    template_arg: TemplateArguments = None,
) -> None:
    """Talk to a fine-tuned model, with the template it was trained with.

    /help lists the commands, /set temperature=0.7 changes a setting. Ctrl-C stops an answer, and at the prompt the chat.
    """
    from xtune.generate.decoding import Decoding

    decoding = Decoding(
        temperature=temperature, top_p=top_p, top_k=top_k, seed=seed, max_new_tokens=max_new_tokens
    )
    api.chat(
        run,
        prompt=prompt,
        system=system,
        compare=compare,
        decoding=decoding,
        template=template_arguments(template_arg),
    )
