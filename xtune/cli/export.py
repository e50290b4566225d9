"""`xtune export`: a run's model in another format; it only parses, calls and prints."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from xtune import api_results
from xtune.shown import say


def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, an adapter or a whole model's folder.")
    ],
    to: Annotated[
        Literal["awq", "gptq", "auto-round", "gguf", "mlx", "fp8"],
        typer.Option(
            help="awq, gptq, auto-round: made here by AutoRound, calibrated on the run's rows. The others: merged into "
            "FOLDER, then the commands of the tool that makes them are printed."
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Where it goes; must not exist. Default: the run's name and the format, here.",
        ),
    ] = None,
    base: Annotated[
        Literal["unquantised", "dequantised"],
        typer.Option(help="What a QLoRA adapter is merged into first; see `xtune merge --help`."),
    ] = "unquantised",
    steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How often AutoRound improves each layer's rounding; 0 rounds to the nearest, in a fraction of the "
            "time; default: its own, 200.",
        ),
    ] = None,
) -> None:
    """Write a run's model for another engine: merge, then quantise or say how."""
    from xtune.cli.waiting import bar

    with bar("merging") as progress:
        exported = api_results.export(run, folder, to=to, base=base, steps=steps, progress=progress)
    say(exported)
