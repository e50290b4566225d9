"""Every error that xtune raises on purpose, and the exit code each one ends a command with.

The tree:

    XtuneError                  the person can fix it           exit 2, one message, no traceback
    |-- RecipeError             problems in a recipe, all together
    |-- DataError               a file, a row or a template that does not fit
    |-- ModelError              a model that cannot be found, loaded or adapted
    |-- HardwareError           the machine cannot run the plan
    |-- MissingPackageError     an optional package; names the pip command
    |-- RunError                a run folder: in use, finished, damaged, full
    `-- DivergedError           the loss became NaN or infinite   exit 2, names step, rows, checkpoint
    Interrupted                 Ctrl-C, SIGTERM, SIGHUP; saved   exit 130

Anything else that escapes is a bug: exit 1, with a traceback.
"""

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_USER = 2
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141
"""What a shell reports of a program that SIGPIPE ended: whoever read the output is gone."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong: what, where, what is allowed, what to do next."""

    what: str
    """What is wrong and what was found, as a clause: "`method.rank` is 0"."""

    where: str = ""
    """The place: "recipes/x.yaml:7", "rows.jsonl:12", or "command line"."""

    allowed: str = ""
    """What would be right, as a clause: "it must be at least 1"."""

    advice: str = ""
    """What to do next: "did you mean `learning_rate`?"."""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        allowed = f"; {self.allowed}" if self.allowed else ""
        advice = f" {self.advice[0].upper()}{self.advice[1:]}" if self.advice else ""
        return f"{self.what}{place}{allowed}.{advice}"


class XtuneError(Exception):
    """A failure that the person can fix; ends a command with exit code 2."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(f"{message} {advice}".strip())
        self.message = message
        self.advice = advice


class ProblemsError(XtuneError):
    """Several problems of one kind, reported together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RecipeError(ProblemsError):
    """Everything that is wrong with one recipe and its overrides."""


class DataError(ProblemsError):
    """Files or rows that cannot be read, fit no format, or leave nothing to train on."""


class ModelError(XtuneError):
    """A model, tokenizer or adapter that cannot be found, loaded or adapted."""


class HardwareError(XtuneError):
    """This machine cannot do what the plan asks."""


class MissingPackageError(XtuneError):
    """An optional package is not installed; the message gives the exact pip command."""

    def __init__(self, package: str, *, purpose: str, command: str) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`, which is not installed.",
            advice=f"Install it: {command}",
        )
        self.package = package


class RunError(XtuneError):
    """A run folder that is in use, finished, damaged, or on a full disk."""


class DivergedError(XtuneError):
    """The loss is NaN or infinite; training stopped before the weights were changed."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or a closed terminal: what Ctrl-C means, except where Ctrl-C only stops an answer or ends a conversation."""


class Interrupted(Exception):  # noqa: N818 - not an error: named after what happened, like KeyboardInterrupt
    """The person stopped the work (Ctrl-C, SIGTERM, a closed terminal); whatever could be saved is saved."""
