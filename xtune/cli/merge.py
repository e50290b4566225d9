"""`xtune merge`: an adapter into its base; it only parses, calls and prints."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from xtune import api
from xtune.shown import say


def merge(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or an adapter folder.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the merged model goes; must not exist.")
    ],
    base: Annotated[
        Literal["unquantised", "dequantised"],
        typer.Option(
            help="For QLoRA. `unquantised`: into the original weights, to train further from or to quantise by "
            "another method. `dequantised`: into the very weights it was trained on; keeps the trained loss, best "
            "where the result is served in 16 bit."
        ),
    ] = "unquantised",
) -> None:
    """Merge an adapter into its base, file by file: a standard transformers folder, compared with the adapter first."""
    from xtune.cli.waiting import bar

    with bar("merging") as progress:
        merged = api.merge(run, folder, base=base, progress=progress)
    say(merged)
