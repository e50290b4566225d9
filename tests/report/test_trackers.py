"""TensorBoard's file as TensorBoard reads it; the services' start, failures and resume against a backend that records."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from xtune.errors import MissingPackageError, RunError
from xtune.recipe import Recipe
from xtune.report.tensorboard import TensorBoardLog
from xtune.report.trackers import BACKENDS, Opening, Tracker, flatten, trackers
from xtune.run.observer import EndInfo, StartInfo, StepMetrics


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_reads_every_step_and_evaluation(
    start: StartInfo, play: Callable[..., None], make_step: Callable[..., StepMetrics]
) -> None:
    play(TensorBoardLog())
    found = scalars(start.folder)
    assert [step for step, _ in found["loss/train"]] == list(range(1, 41))
    assert [value for _, value in found["loss/train"]] == pytest.approx(
        [make_step(step).loss for step in range(1, 41)]
    )
    assert [step for step, _ in found["loss/evaluation"]] == [20, 40]
    assert found["memory/bytes"][0] == (1, 3 * 2**29)
    assert set(found) == {
        "loss/train", "loss/evaluation", "learning_rate", "grad_norm", "epoch", "speed/tokens_per_s", "memory/bytes"
    }  # fmt: skip


def test_a_resume_replaces_the_steps_after_its_checkpoint(
    start: StartInfo, play: Callable[..., None]
) -> None:
    play(TensorBoardLog(), last=17)
    play(TensorBoardLog(), first=10)
    assert len(list((start.folder / "tensorboard").iterdir())) == 2
    assert [step for step, _ in scalars(start.folder)["loss/train"]] == list(range(1, 41))


def test_a_step_without_a_gradient_norm_has_none_in_tensorboard(
    start: StartInfo, make_step: Callable[..., StepMetrics]
) -> None:
    observer = TensorBoardLog()
    observer.on_start(start)
    observer.on_step(make_step(1, grad_norm=None))
    observer.on_end(EndInfo(status="finished", step=1, message="Done."))
    assert "grad_norm" not in scalars(start.folder)


def test_a_folder_that_cannot_be_written_ends_tensorboard_and_not_the_run(
    start: StartInfo, play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    start.folder.mkdir()
    (start.folder / "tensorboard").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, logger="xtune"):
        play(TensorBoardLog())
    assert caplog.text.count("training goes on without it") == 1


def with_trackers(recipe: Recipe, *names: str) -> Recipe:
    return Recipe.model_validate({**recipe.model_dump(), "run": {"trackers": names}})


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_service_without_its_package_is_refused_with_the_command(
    recipe: Recipe, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError) as caught:
        trackers(with_trackers(recipe, name))
    assert f'pip install "xtune[{name}]"' in str(caught.value)


def test_without_services_tensorboard_alone_listens(recipe: Recipe) -> None:
    assert [type(observer) for observer in trackers(recipe)] == [TensorBoardLog]


class Recorder:
    """A service that writes down what it is told, and fails when asked to."""

    name = "recorder"

    def __init__(self, *, fail_at: str = "") -> None:
        self.fail_at = fail_at
        self.openings: list[Opening] = []
        self.logged: list[tuple[int, Mapping[str, float]]] = []
        self.closed: list[bool] = []

    def errors(self) -> tuple[type[Exception], ...]:
        """What it raises."""
        return (ConnectionError,)

    def open(self, opening: Opening) -> str:
        """Start."""
        self._maybe_fail("open")
        self.openings.append(opening)
        return opening.known_id or "id-1"

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers."""
        if step == 3:
            self._maybe_fail("log")
        self.logged.append((step, values))

    def close(self, *, succeeded: bool) -> None:
        """End."""
        self._maybe_fail("close")
        self.closed.append(succeeded)

    def _maybe_fail(self, where: str) -> None:
        if self.fail_at == where:
            raise ConnectionError(f"no network at {where}")


@pytest.fixture
def folder(start: StartInfo) -> Path:
    start.folder.mkdir()
    return start.folder


def test_a_service_hears_the_recipe_every_step_and_the_end(
    folder: Path, play: Callable[..., None]
) -> None:
    recorder = Recorder()
    play(Tracker(recorder))
    assert recorder.openings[0].name == "orders-lora"
    assert recorder.openings[0].settings["train"]["learning_rate"] == 2e-4
    assert [step for step, values in recorder.logged if "loss" in values] == list(range(1, 41))
    assert [step for step, values in recorder.logged if "evaluation_loss" in values] == [20, 40]
    assert recorder.closed == [True]
    assert json.loads((folder / "trackers.json").read_text()) == {"recorder": "id-1"}


@pytest.mark.usefixtures("folder")
def test_a_resumed_run_goes_on_under_the_same_id(play: Callable[..., None]) -> None:
    recorder = Recorder()
    play(Tracker(recorder), last=5)
    play(Tracker(recorder), first=5)
    assert [opening.known_id for opening in recorder.openings] == [None, "id-1"]


@pytest.mark.usefixtures("folder")
def test_a_service_that_cannot_start_is_refused_before_training(start: StartInfo) -> None:
    with pytest.raises(
        RunError, match=r"`run\.trackers: recorder` could not be started: no network at open"
    ):
        Tracker(Recorder(fail_at="open")).on_start(start)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("where", "told"), [("log", 1), ("close", 1)])
def test_a_service_that_fails_later_is_dropped_with_one_warning(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture, where: str, told: int
) -> None:
    recorder = Recorder(fail_at=where)
    with caplog.at_level(logging.WARNING, logger="xtune"):
        play(Tracker(recorder))
    assert len(caplog.records) == told
    assert recorder.closed == []


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("status", "succeeded"), [("out_of_time", True), ("diverged", False), ("interrupted", False)]
)
def test_the_service_hears_whether_the_run_came_to_its_end(
    start: StartInfo, status: Any, succeeded: bool
) -> None:
    recorder = Recorder()
    tracker = Tracker(recorder)
    tracker.on_start(start)
    tracker.on_end(EndInfo(status=status, step=1, message="."))
    assert recorder.closed == [succeeded]


def test_settings_become_short_flat_texts(recipe: Recipe) -> None:
    flat = flatten(
        {
            "train": {"learning_rate": 2e-4},
            "data": {"train": ["a", "b"]},
            "none": None,
            "long": "x" * 900,
        }
    )
    assert flat == {
        "train.learning_rate": "0.0002",
        "data.train": "a, b",
        "none": "None",
        "long": "x" * 500,
    }
    assert flatten(recipe.model_dump(mode="json"))["method.rank"] == "8"
