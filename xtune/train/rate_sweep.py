"""Raises the learning rate from step to step on a recipe's own model and data, and keeps nothing but the numbers."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from xtune.data.prepare import SILENT, Listener
from xtune.errors import DivergedError, HardwareError, XtuneError
from xtune.hardware import detect, launch
from xtune.recipe import Recipe
from xtune.run.metrics import MetricsLog
from xtune.run.observer import BaseObserver, EndInfo, Observer, Observers, StepMetrics
from xtune.run.spike import first_spike
from xtune.train.job import Job
from xtune.train.loop import Loop
from xtune.train.ready import get_ready
from xtune.train.setup import Session, make_job, start_info

STEPS_BEYOND = 12
"""Steps after the first spike, so that the picture shows what it came to."""


LEAST_STEPS = 20
"""Fewest steps of a sweep: norms and losses are judged from the 13th on, and then the rate has to rise still."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Which rates are tried, one a step, each the same number of times the one before."""

    first: float = 1e-6
    last: float = 1.0
    steps: int = 120
    """20 steps for each power of ten of the default range."""

    def rate(self, index: int) -> float:
        """The rate of the step with this zero-based index."""
        share = index / (self.steps - 1)
        return math.exp((1 - share) * math.log(self.first) + share * math.log(self.last))


def sweep_rates(
    recipe: Recipe,
    *,
    name: str,
    sweep: Range,
    observer: Observer,
    listener: Listener = SILENT,
) -> list[StepMetrics]:
    """The steps of a sweep, up to a little beyond the first spike.

    The recipe is followed in everything but its schedule and its length; nothing is evaluated or saved. Ctrl-C ends the
    sweep after the step it is at, and the steps so far are returned.

    Args:
        recipe: What is to be trained later.
        name: The recipe's name.
        sweep: Which rates to try.
        observer: Told of every step.
        listener: Hears of the preparation of the data.

    Raises:
        HardwareError: There are several processes.
        XtuneError: The recipe cannot be trained here, or the range makes no sense.
    """
    _check(sweep)
    if launch().world_size > 1:
        raise HardwareError(
            "A sweep of the learning rate runs in one process.",
            advice="Start it without torchrun; the rate it names holds for the same batch size.",
        )
    recipe = _endless(recipe, sweep)
    ready = get_ready(recipe, name=name, listener=listener)
    accelerator = Accelerator(cpu=detect().device == "cpu", mixed_precision="no")
    with tempfile.TemporaryDirectory(
        prefix="xtune-tune-lr-"
    ) as folder:  # for what the plan offloads
        session = Session(ready, Path(folder), None, observer, accelerator)
        job = make_job(session)
        job.evaluation = ()
        points = Points()
        job.observer = Observers([points, observer])
        job.metrics = MetricsLog(Path(folder), keep_steps=0)
        loop = SweepLoop(job, accelerator, sweep, points)
        observer.on_start(start_info(session, job, loop))
        message = "The sweep is over."
        try:
            loop.run()
        except DivergedError as error:
            message = (
                f"The sweep ended at a rate of {sweep.rate(loop.state.step):.1e}: {error.message}"
            )
        finally:
            job.metrics.close()
        observer.on_end(EndInfo(status="finished", step=loop.state.step, message=message))
    return points.steps


class Points(BaseObserver):
    """An observer that keeps the steps."""

    def __init__(self) -> None:
        self.steps: list[StepMetrics] = []

    def on_step(self, metrics: StepMetrics) -> None:
        """Keep it."""
        self.steps.append(metrics)


class SweepLoop(Loop):
    """The loop of training with another schedule, and no memory of where it was."""

    def __init__(self, job: Job, accelerator: Accelerator, sweep: Range, points: "Points") -> None:
        super().__init__(job, accelerator)
        self.sweep = sweep
        self.points = points

    def _set_learning_rate(self, index: int) -> float:
        rate = self.sweep.rate(index)
        self.update.set_learning_rate(rate / self.settings.learning_rate)
        return rate

    def _has_stalled(self) -> bool:
        """Whether enough was seen: a spike, and what it came to."""
        steps = self.points.steps
        spike = first_spike([step.grad_norm for step in steps], [step.loss for step in steps])
        return spike is not None and len(steps) > spike.place + STEPS_BEYOND

    def _save(self) -> None:
        """Nothing: a model that was driven off its path is of no use."""


def _check(sweep: Range) -> None:
    if not (0 < sweep.first < sweep.last and math.isfinite(sweep.last)):
        raise XtuneError(
            f"The sweep goes from {sweep.first:g} to {sweep.last:g}; the first rate must be above 0 and below the last.",
            advice="Usual: from 1e-6 to 1.",
        )
    if sweep.steps < LEAST_STEPS:
        raise XtuneError(
            f"The sweep has {sweep.steps} steps; it takes at least {LEAST_STEPS} to tell a spike from noise.",
            advice="Usual: 120.",
        )


def _endless(recipe: Recipe, sweep: Range) -> Recipe:
    """The recipe with as many steps as the sweep has, and with nothing that ends it sooner."""
    changes = {
        "max_steps": sweep.steps,
        "epochs": None,
        "max_minutes": None,
        "early_stop_patience": None,
        "evaluate_every": None,
        "finish_with": "last",
        "save_every": None,
    }
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})
