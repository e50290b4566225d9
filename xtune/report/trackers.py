"""Weights & Biases, SwanLab and MLflow: told about a run only when its recipe asks for them.

Each is small on purpose: numbers, the recipe, and the id to go on with after a resume. Accounts, keys
and servers are set up as the services say (their own commands or variables), never in a recipe.
"""

import importlib
import importlib.util
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xtune.durable import write_json
from xtune.errors import MissingPackageError, RunError
from xtune.recipe import Recipe
from xtune.report.tensorboard import TensorBoardLog
from xtune.run.observer import EndInfo, EvaluationMetrics, Observer, StartInfo, StepMetrics

log = logging.getLogger("xtune")

PROJECT = "xtune"
"""Project (Weights & Biases, SwanLab) or experiment (MLflow) that runs are filed under."""

IDS = "trackers.json"
"""In the run folder: the id of the run at each service."""

MLFLOW_VALUE_LIMIT = 500
"""Longest parameter value that every MLflow store takes (mlflow.utils.validation, before 2.8)."""


def trackers(recipe: Recipe) -> list[Observer]:
    """TensorBoard's observer, and one for each service that the recipe names.

    Call it before anything is loaded: what is missing is found at once.

    Raises:
        MissingPackageError: A service's package is not installed; names the pip command.
    """
    for name in recipe.run.trackers:
        if importlib.util.find_spec(name) is None:
            raise MissingPackageError(
                name, purpose=f"`run.trackers: {name}`", command=f'pip install "xtune[{name}]"'
            )
    return [TensorBoardLog(), *(Tracker(BACKENDS[name]()) for name in recipe.run.trackers)]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a service needs to know about a run at its start."""

    folder: Path
    name: str
    settings: dict[str, Any]
    """The recipe, as nested plain values."""

    known_id: str | None
    """The id that the service gave the run when it was first started; None at first."""


class Backend(Protocol):
    """One service, as small as it can be."""

    name: str

    def errors(self) -> tuple[type[Exception], ...]:
        """What its calls raise when the service or the network fails."""

    def open(self, opening: Opening) -> str:
        """Start or go on with a run; returns its id."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers; returns without waiting for the network."""

    def close(self, *, succeeded: bool) -> None:
        """End the run."""


class Tracker:
    """The observer in front of a service. A service that fails later on is dropped; training goes on."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._open = False

    def on_start(self, start: StartInfo) -> None:
        """Open the run there.

        Raises:
            RunError: The service refuses: no account, no network, a wrong key.
        """
        name = self._backend.name
        opening = Opening(
            folder=start.folder,
            name=start.folder.resolve().name,
            settings=start.plan.recipe.model_dump(mode="json"),
            known_id=_read_ids(start.folder).get(name),
        )
        try:
            own_id = self._backend.open(opening)
        except self._backend.errors() as error:
            raise RunError(
                f"`run.trackers: {name}` could not be started: {error}",
                advice=f"Set {name} up as its documentation says, or leave it out with run.trackers=[].",
            ) from error
        self._open = True
        write_json(start.folder / IDS, {**_read_ids(start.folder), name: own_id})

    def on_step(self, metrics: StepMetrics) -> None:
        """Send a step's numbers."""
        self._log(
            metrics.step,
            {
                "loss": metrics.loss,
                "learning_rate": metrics.learning_rate,
                **({} if metrics.grad_norm is None else {"grad_norm": metrics.grad_norm}),
                "epoch": metrics.epoch,
                "tokens": metrics.tokens,
                "tokens_per_s": metrics.tokens_per_s,
                "memory_bytes": metrics.memory_bytes,
            },
        )

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Send a held-out loss."""
        self._log(metrics.step, {"evaluation_loss": metrics.loss})

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: weights stay on this machine."""

    def on_message(self, text: str) -> None:
        """Nothing: messages are for the person here."""

    def on_end(self, end: EndInfo) -> None:
        """Close the run there."""
        if not self._open:
            return
        self._open = False
        try:
            self._backend.close(
                succeeded=end.status in {"finished", "stopped_early", "out_of_time"}
            )
        except self._backend.errors() as error:
            log.warning("%s was not closed properly: %s", self._backend.name, error)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        if not self._open:
            return
        try:
            self._backend.log(values, step)
        except self._backend.errors() as error:
            self._open = False
            log.warning(
                "%s stopped taking numbers (%s); training goes on without it.",
                self._backend.name,
                error,
            )


class WeightsAndBiases:
    """https://docs.wandb.ai/ref/python: `wandb.init`, `Run.log`, `Run.finish`."""

    name = "wandb"

    def __init__(self) -> None:
        self._run: Any = None

    def errors(self) -> tuple[type[Exception], ...]:
        """The client's own errors, and those of its network layer."""
        return (importlib.import_module("wandb.errors").Error, OSError)

    def open(self, opening: Opening) -> str:
        """Start a run, or go on with it: `resume="allow"` does both."""
        self._run = importlib.import_module("wandb").init(
            project=PROJECT,
            name=opening.name,
            dir=str(opening.folder.resolve()),
            config=opening.settings,
            id=opening.known_id,
            resume="allow",
        )
        return str(self._run.id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Queue numbers; wandb leaves out steps that it already has."""
        self._run.log(dict(values), step=step)

    def close(self, *, succeeded: bool) -> None:
        """Wait until all is sent."""
        self._run.finish(exit_code=0 if succeeded else 1)


class SwanLab:
    """https://docs.swanlab.cn/en/api: `swanlab.init`, `swanlab.log`, `swanlab.finish`."""

    name = "swanlab"

    def __init__(self) -> None:
        self._module: Any = None

    def errors(self) -> tuple[type[Exception], ...]:
        """It has no error class of its own; these are what its calls and its network layer raise."""
        return (RuntimeError, ValueError, OSError)

    def open(self, opening: Opening) -> str:
        """Start an experiment, or go on with it: `resume="allow"` does both."""
        self._module = importlib.import_module("swanlab")
        going_on = {"id": opening.known_id, "resume": "allow"} if opening.known_id else {}
        run = self._module.init(
            project=PROJECT,
            experiment_name=opening.name,
            logdir=str(opening.folder.resolve() / "swanlog"),
            config=opening.settings,
            **going_on,
        )
        return str(run.id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Queue numbers."""
        self._module.log(dict(values), step=step)

    def close(self, *, succeeded: bool) -> None:
        """Wait until all is sent."""
        self._module.finish(
            **({} if succeeded else {"state": "crashed", "error": "training did not finish"})
        )


class MLflow:
    """https://mlflow.org/docs/latest/api_reference: `start_run`, `log_metrics`, `log_params`, `end_run`."""

    name = "mlflow"

    def __init__(self) -> None:
        self._module: Any = None

    def errors(self) -> tuple[type[Exception], ...]:
        """MLflow's own errors, and those of its network layer."""
        return (importlib.import_module("mlflow.exceptions").MlflowException, OSError)

    def open(self, opening: Opening) -> str:
        """Start a run, or go on with it by its id."""
        self._module = importlib.import_module("mlflow")
        self._module.set_experiment(PROJECT)
        run = self._module.start_run(run_id=opening.known_id, run_name=opening.name)
        if opening.known_id is None:
            # parameters cannot be changed once written, so they are written once
            self._module.log_params(flatten(opening.settings))
        return str(run.info.run_id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Queue numbers."""
        self._module.log_metrics(dict(values), step=step, synchronous=False)

    def close(self, *, succeeded: bool) -> None:
        """Wait until all is sent."""
        self._module.end_run("FINISHED" if succeeded else "FAILED")


BACKENDS: Mapping[str, type[WeightsAndBiases] | type[SwanLab] | type[MLflow]] = {
    "wandb": WeightsAndBiases,
    "swanlab": SwanLab,
    "mlflow": MLflow,
}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as "train.learning_rate": "0.0002", each short enough for every MLflow store."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            flat[prefix + key] = ", ".join(map(str, value))[:MLFLOW_VALUE_LIMIT]
        else:
            flat[prefix + key] = str(value)[:MLFLOW_VALUE_LIMIT]
    return flat


def _read_ids(folder: Path) -> dict[str, str]:
    try:
        ids = json.loads((folder / IDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return ids if isinstance(ids, dict) else {}
