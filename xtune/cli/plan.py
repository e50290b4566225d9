"""`xtune plan`: whether a recipe or a model fits on a machine, before a byte is loaded."""

from typing import Annotated

import typer

from xtune import api_plan
from xtune.cli.options import JsonOption
from xtune.shown import say, say_json


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
    tokens: Annotated[int | None, typer.Option(min=1, help="Length of a sequence.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether it fits, what was chosen and why, how long a context fits, and how fast it would be."""
    target_machine = api_plan.Target(vram=vram, gpu=gpu, ram=ram, disk=disk)
    answer = api_plan.plan(target, overrides or (), on=target_machine, tokens=tokens)
    if as_json:
        say_json(answer.to_json(), indent=2)
    else:
        say("\n".join(answer.lines()))
