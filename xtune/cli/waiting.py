"""Bars for verbs that keep a person waiting; training has its own in `xtune.report.progress`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(word: str) -> Iterator[Callable[[int, int], None]]:
    """A bar under a word, gone when done; silent where the output is not a terminal.

    Yields:
        A function of how many things are done and of all of them.
    """
    console = Console(stderr=True)
    columns = (TextColumn(word), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task(word, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def answers_bar() -> AbstractContextManager[Callable[[int, int], None]]:
    """A bar over the prompts being answered."""
    return bar("answering")
