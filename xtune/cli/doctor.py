"""`xtune doctor`: print what this machine can do; the looking and trying is in `xtune.report.doctor`."""

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xtune.errors import EXIT_USER


def doctor() -> None:
    """Show what this machine can do: devices, methods tried here just now, packages, disk."""  # noqa: DOC501 - typer's way to end
    from xtune.report.doctor import diagnose, summary

    found = diagnose()
    console = Console()
    for line in summary(found):
        console.print(line, markup=False, highlight=False)
    if found.trials:
        trials = Table("device", "what", "outcome", "detail", box=None, pad_edge=False)
        for trial in found.trials:
            trials.add_row(trial.device, trial.what, trial.outcome, escape(trial.detail))
        console.print("", trials)
    packages = Table("package", "version, or how to get it", "for", box=None, pad_edge=False)
    for package in found.packages:
        packages.add_row(package.name, escape(package.version or package.command), package.purpose)
    console.print("", packages)
    for package in found.missing:
        line = f"Missing: {package.name}. Install it: {package.command}"
        console.print(line, markup=False, highlight=False)
    if found.missing:
        raise typer.Exit(EXIT_USER)
