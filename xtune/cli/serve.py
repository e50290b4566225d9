"""`xtune serve`: an OpenAI-compatible server; it only parses, calls and prints."""

import importlib.util
import os
import sys
from typing import Annotated, Literal

import typer

from xtune import api
from xtune.cli.template import TemplateArguments, template_arguments
from xtune.errors import Interrupted, MissingPackageError, XtuneError
from xtune.shown import say

KEY = "XTUNE_API_KEY"
"""Variable of the environment with the API key."""

OWN = (
    "base",
    "max_input_tokens",
    "max_output_tokens",
    "max_concurrent",
    "max_queued",
    "grace",
    "fast",
    "template_arg",
)
"""Options that xtune's own engine alone knows."""


def serve(
    context: typer.Context,
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run, adapter or model folders; `NAME=FOLDER` names one. Several adapters share one base.",
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar=KEY,
            show_default=False,
            help="Key that clients must send; better given by the environment.",
        ),
    ] = None,
    base: Annotated[
        bool, typer.Option("--base/--no-base", help="Serve the base under its own name, too.")
    ] = True,
    max_input_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest prompt; default: as the model reads.")
    ] = None,
    max_output_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
    max_concurrent: Annotated[int, typer.Option(min=1, help="Answers computed together.")] = 16,
    max_queued: Annotated[
        int, typer.Option(min=0, help="Answers that may wait; beyond, 429.")
    ] = 64,
    grace: Annotated[
        float, typer.Option(min=1.0, help="Seconds that answers have to end after a signal.")
    ] = 30.0,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Let rounding turn close choices: an answer may depend on others beside it.",
        ),
    ] = False,
    engine: Annotated[
        Literal["xtune", "vllm"], typer.Option(help="`vllm` hands over to vLLM, where installed.")
    ] = "xtune",
    template_arg: TemplateArguments = None,
) -> None:
    """Serve models to OpenAI clients: /v1/chat/completions, /v1/completions, /v1/models, /health."""  # noqa: DOC501 - shown as help
    _hide_key(api_key)
    if api_key is not None and not api_key.strip():
        raise XtuneError("The API key is empty.", advice=f"Set {KEY}, or leave --api-key out.")
    if engine == "vllm":
        _refuse_own(context)
        api.serve_with_vllm(runs, host=host, port=port, api_key=api_key)
        return
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(
                package, purpose="`xtune serve`", command='pip install "xtune[serve]"'
            )
    from xtune.serve.limits import Limits

    limits = Limits(
        concurrent=max_concurrent,
        queued=max_queued,
        input_tokens=max_input_tokens,
        output_tokens=max_output_tokens,
    )
    server = api.serve(
        runs,
        address=(host, port),
        api_key=api_key,
        base=base,
        limits=limits,
        exact=not fast,
        template=template_arguments(template_arg),
    )
    if server.warning:
        say(server.warning, stream=sys.stderr)
    say(server)
    if not server.run(grace_s=grace):
        raise Interrupted("Stopped. Answers that were not finished in time are broken off.")


def _refuse_own(context: typer.Context) -> None:
    """Refuse options that vLLM would not be told of.

    Raises:
        XtuneError: One was given.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name in OWN
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise XtuneError(
            f"{', '.join(given)}: not with --engine vllm, which has options of its own.",
            advice="Leave them out; `vllm serve --help=all` names vLLM's.",
        )


def _hide_key(api_key: str | None) -> None:
    """Start again with the key in the environment where it was an argument, which everyone on the machine can read."""
    words = sys.argv[1:]
    if api_key is None or not any(word.split("=")[0] == "--api-key" for word in words):
        return
    kept: list[str] = []
    words.reverse()
    while words:
        word = words.pop()
        if word == "--api-key":
            words.pop()
        elif not word.startswith("--api-key="):
            kept.append(word)
    program = [sys.executable, "-m", "xtune"]
    os.execve(sys.executable, [*program, *kept], {**os.environ, KEY: api_key})
