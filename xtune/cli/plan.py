"""`xtune plan`: whether a recipe or a model fits on a machine, before a byte is loaded."""

from pathlib import Path
from typing import Annotated

import typer

from xtune import api_plan
from xtune.cli.options import JsonOption, new_file
from xtune.shown import say_json, say_lines


def plan(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|MODEL",
            help="A recipe's name or YAML file; or a model: an id, a folder, a bare config.json.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Overrides: `method=qlora method.rank=32`."),
    ] = None,
    vram: Annotated[
        str | None, typer.Option(help="Memory of the card: 8GiB, 24GB.", metavar="SIZE")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help='A card by name: "RTX 3060".', metavar="NAME")
    ] = None,
    ram: Annotated[
        str | None, typer.Option(help="Memory of the host; default: this one's.", metavar="SIZE")
    ] = None,
    disk: Annotated[
        str | None,
        typer.Option(
            help="What is free on its disk; default: of this machine known, of another not judged.",
            metavar="SIZE",
        ),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(help="Length of a sequence: 4096, 32k.", metavar="LENGTH")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw it over lengths of a sequence, as a PNG file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether it fits, what was chosen and why, how long a context fits, and how fast it would be.

    Bytes and lengths are computed, speeds estimated from the card's figures. Exit code 0 also where it does not fit.
    """
    picture = new_file(plot, "--plot") if plot is not None else None
    target_machine = api_plan.Target(vram=vram, gpu=gpu, ram=ram, disk=disk)
    answer = api_plan.plan(target, overrides or (), on=target_machine, tokens=tokens)
    if as_json:
        say_json(answer.to_json(), indent=2)
    else:
        say_lines(answer)
    if picture is not None:
        api_plan.plot_plan(answer).save(picture)
        if not as_json:
            say_lines(f"picture           {picture}")
