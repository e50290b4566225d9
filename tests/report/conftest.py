"""A small run as observers see it."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xtune.plan import Choice, Plan
from xtune.recipe import Recipe
from xtune.run.observer import EndInfo, EvaluationMetrics, Observer, StartInfo, StepMetrics

TOTAL_STEPS = 40


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"name": "Qwen/Qwen3-0.6B"},
            "method": {"type": "lora", "rank": 8},
            "data": {"train": ["rows.jsonl"]},
            "train": {"learning_rate": 2e-4, "max_steps": TOTAL_STEPS},
        }
    )


@pytest.fixture
def start(recipe: Recipe, tmp_path: Path) -> StartInfo:
    open_fields = [field.name for field in dataclasses.fields(Plan) if field.name != "recipe"]
    plan = Plan(recipe=recipe, **{name: Choice("auto", "a test") for name in open_fields})  # type: ignore[arg-type]
    return StartInfo(
        folder=tmp_path / "orders-lora",
        plan=plan,
        total_steps=TOTAL_STEPS,
        first_step=0,
        trainable_parameters=1_000,
        total_parameters=200_000,
        rows=64,
    )


def loss_at(step: int) -> float:
    return 0.5 + 2 * math.exp(-step / 10)


def step_metrics(step: int, **changes: Any) -> StepMetrics:
    values: dict[str, Any] = {
        "step": step,
        "loss": loss_at(step),
        "learning_rate": 2e-4 * (1 - step / TOTAL_STEPS),
        "grad_norm": 1.0,
        "tokens": 1000 * step,
        "trained_tokens": 400.0 * step,
        "epoch": step / 8,
        "tokens_per_s": 2000.0,
        "elapsed_s": 0.5 * step,
        "memory_bytes": 3 * 2**29,
    }
    return StepMetrics(**{**values, **changes})


@pytest.fixture
def make_step() -> Callable[..., StepMetrics]:
    """Makes the metrics of a step of that run."""
    return step_metrics


@pytest.fixture
def play(start: StartInfo) -> Callable[..., None]:
    """Let an observer see a whole run; `between` is called after every step with its number."""

    def run(
        observer: Observer, *, first: int = 0, last: int = TOTAL_STEPS, between: Any = None
    ) -> None:
        observer.on_start(dataclasses.replace(start, first_step=first))
        for step in range(first + 1, last + 1):
            observer.on_step(step_metrics(step))
            if between is not None:
                between(step)
            if step % 20 == 0:
                observer.on_evaluate(
                    EvaluationMetrics(step=step, loss=loss_at(step) + 0.1, tokens=900.0, best=True)
                )
        observer.on_end(EndInfo(status="finished", step=last, message=f"Done after {last} steps."))

    return run


@pytest.fixture
def run_folder(start: StartInfo) -> Path:
    """A run folder with the numbers of the same run."""
    folder = start.folder
    folder.mkdir()
    rows: list[dict[str, Any]] = []
    for step in range(1, TOTAL_STEPS + 1):
        rows.append({"step": step, "loss": loss_at(step), "learning_rate": 1e-4, "epoch": step / 8})
        if step % 20 == 0:
            rows.append(
                {"step": step, "evaluation_loss": loss_at(step) + 0.1, "evaluation_tokens": 900.0}
            )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
