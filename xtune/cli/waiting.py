"""Bars for verbs that keep a person waiting; training has its own in `xtune.report.progress`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def answers_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar over the prompts being answered, gone when done; silent where the output is not a terminal.

    Yields:
        A function of the prompts answered so far and of all prompts.
    """
    console = Console(stderr=True)
    columns = (TextColumn("answering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("answering", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
