"""What a run tells the world while it trains: plain events, and the protocol of whoever listens.

Progress bars, trackers and pictures are observers; the loop knows none of them by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from xtune.errors import XtuneError
from xtune.plan import Plan

EndStatus: TypeAlias = Literal[
    "finished", "stopped_early", "out_of_time", "interrupted", "diverged", "failed"
]


@dataclass(frozen=True, kw_only=True)
class StartInfo:
    """Everything is loaded; the first step is next."""

    folder: Path
    plan: Plan
    total_steps: int
    first_step: int
    """Steps already done when training (re)starts: 0, or the step of the checkpoint resumed from."""

    trainable_parameters: int
    total_parameters: int
    rows: int
    """Training rows after encoding."""


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """One optimizer step. The first seven fields are a function of the recipe alone; the rest are measured."""

    step: int
    """Counts from 1."""

    loss: float
    """Mean negative log-likelihood per weighted trained token over the whole step, in nats."""

    learning_rate: float
    grad_norm: float | None
    """Norm of all gradients before clipping; None when a loss-scaled gradient overflowed and the step was skipped."""

    tokens: int
    """Real tokens since the run began, over all ranks."""

    trained_tokens: float
    """Sum of loss weights since the run began."""

    epoch: float
    tokens_per_s: float
    elapsed_s: float
    """Training time, over all resumes together."""

    memory_bytes: int
    """Peak device memory on an accelerator, resident memory on a CPU."""


@dataclass(frozen=True, kw_only=True)
class EvaluationMetrics:
    """One pass over the held-out rows."""

    step: int
    loss: float
    """Mean negative log-likelihood per trained token, in nats."""

    tokens: float
    """Weighted trained tokens that the mean is over."""

    best: bool
    """Whether this is the lowest loss so far."""


@dataclass(frozen=True, kw_only=True)
class EndInfo:
    """Training is over, one way or another."""

    status: EndStatus
    step: int
    message: str
    """One sentence for the person: what happened, and what to do next."""

    @property
    def is_raised(self) -> bool:
        """Whether an exception with this very message follows, so that it need not be shown here."""
        return self.status in {"interrupted", "diverged", "failed"}


class Observer(Protocol):
    """Something that listens to a run. Called on the main process only, in order, between steps."""

    def on_start(self, start: StartInfo) -> None:
        """Training is about to begin."""

    def on_step(self, metrics: StepMetrics) -> None:
        """An optimizer step is done."""

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """An evaluation is done."""

    def on_checkpoint(self, path: Path, step: int) -> None:
        """A checkpoint is complete on disk."""

    def on_message(self, text: str) -> None:
        """Something the person should know."""

    def on_end(self, end: EndInfo) -> None:
        """Training is over; called exactly once, also after a failure."""


def check_observers(observers: object) -> None:
    """Refuse what is no list of observers, before anything is loaded or a run folder is taken.

    Raises:
        XtuneError: It is none, or something in it lacks a method.
    """
    if not isinstance(observers, Sequence):
        raise XtuneError(
            f"`observers` is a {type(observers).__name__}; it must be a list of observers."
        )
    for one in observers:
        name = one.__name__ if isinstance(one, type) else type(one).__name__
        if isinstance(one, type):
            raise XtuneError(f"The observer {name} is a class; give an object of it: {name}().")
        missing = [
            f"`{method}`"
            for method in vars(Observer)
            if method.startswith("on_") and not callable(getattr(one, method, None))
        ]
        if missing:
            raise XtuneError(
                f"{name} is no observer: it lacks {', '.join(missing)}.",
                advice="Build its class on xtune.BaseObserver.",
            )


class BaseObserver:
    """An observer that does nothing: a class with one or two methods of its own can build on it."""

    def on_start(self, start: StartInfo) -> None:
        """Nothing."""

    def on_step(self, metrics: StepMetrics) -> None:
        """Nothing."""

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Nothing."""

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing."""

    def on_message(self, text: str) -> None:
        """Nothing."""

    def on_end(self, end: EndInfo) -> None:
        """Nothing."""


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def on_start(self, start: StartInfo) -> None:
        """Tell every observer."""
        for observer in self._observers:
            observer.on_start(start)

    def on_step(self, metrics: StepMetrics) -> None:
        """Tell every observer."""
        for observer in self._observers:
            observer.on_step(metrics)

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Tell every observer."""
        for observer in self._observers:
            observer.on_evaluate(metrics)

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Tell every observer."""
        for observer in self._observers:
            observer.on_checkpoint(path, step)

    def on_message(self, text: str) -> None:
        """Tell every observer."""
        for observer in self._observers:
            observer.on_message(text)

    def on_end(self, end: EndInfo) -> None:
        """Tell every observer."""
        for observer in self._observers:
            observer.on_end(end)
