"""The sweep of the learning rate on a real model: what it names, what it leaves behind, how it is stopped."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import write_recipe, xtune
from typer.testing import CliRunner

from xtune.api_results import tune_lr
from xtune.cli.app import app
from xtune.errors import XtuneError
from xtune.report.rate_sweep import RateSweep
from xtune.run.observer import StepMetrics
from xtune.train.rate_sweep import Range


def step(number: int, rate: float, loss: float, norm: float | None) -> StepMetrics:
    return StepMetrics(
        step=number, loss=loss, learning_rate=rate, grad_norm=norm, tokens=1, trained_tokens=1.0,
        epoch=0.0, tokens_per_s=1.0, elapsed_s=1.0, memory_bytes=1,
    )  # fmt: skip


def made_up(*, learns: bool, spikes: bool) -> RateSweep:
    """Rates 1e-5 to 1e-1; the loss halves from 1e-4 on, and the norm leaps at the last."""
    rates = [10 ** (-5 + 4 * place / 40) for place in range(41)]
    points = [
        step(place + 1, rate, 1.0 if learns and rate > 1e-4 else 2.0, 1.0 if place < 40 or not spikes else 8.0)
        for place, rate in enumerate(rates)
    ]  # fmt: skip
    return RateSweep(name="made up", points=points, asked=1e-3)


def test_the_rates_rise_by_the_same_factor_from_the_first_to_the_last() -> None:
    sweep = Range(first=1e-4, last=1.0, steps=5)
    assert [sweep.rate(index) for index in range(5)] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])


def test_a_tenth_of_the_spikes_rate_is_advised() -> None:
    found = made_up(learns=True, spikes=True)
    assert found.spike_rate == pytest.approx(0.1)
    assert found.suggested == pytest.approx(0.01)
    assert "train.learning_rate=1e-2" in found.advice()


def test_without_a_spike_or_without_learning_nothing_is_advised() -> None:
    calm, stubborn = made_up(learns=True, spikes=False), made_up(learns=False, spikes=True)
    assert calm.suggested is None
    assert "--to" in calm.advice()
    assert stubborn.suggested is None
    assert "nothing was learned" in stubborn.advice()
    assert RateSweep(name="x", points=[], asked=1e-3).advice().startswith("No step")


def test_a_sweep_of_the_tiny_model_finds_the_spike_and_leaves_nothing(
    tiny_model: Path, rows_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path, tiny_model, rows_file, {"method": {"type": "full"}})
    done = xtune("tune-lr", str(recipe), "--from", "1e-5", "--to", "100", "--steps", "60", "--json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["spike"] is not None, found["advice"]
    # of a two-layer model with Adam: far above 1e-4, far below 10
    assert 1e-3 < found["spike"]["rate"] < 10
    assert len(found["steps"]) <= 60
    assert not (tmp_path / "run").exists()
    page = (tmp_path / "recipe-lr.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe-lr.html", "recipe.yaml"]


def test_ctrl_c_ends_a_sweep_with_what_was_seen(
    tiny_model: Path, rows_file: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, tiny_model, rows_file, {})
    command = [sys.executable, "-m", "xtune", "tune-lr", str(recipe), "--steps", "2000"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "nothing spiked" in out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"first": 1.0, "last": 0.1}, "must be above 0 and below the last"),
        ({"first": 0.0}, "must be above 0"),
        ({"steps": 5}, "at least 20"),
    ],
)
def test_a_senseless_range_is_refused_before_anything_is_loaded(
    settings: dict[str, float], said: str
) -> None:
    with pytest.raises(XtuneError, match=said):
        tune_lr("quickstart", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("out", "said"), [("absent/x.html", "no folder"), (".", "is a folder")])
def test_a_picture_that_cannot_be_written_is_told_before_the_sweep(
    tmp_path: Path, out: str, said: str
) -> None:
    ran = CliRunner().invoke(app, ["tune-lr", "no-such-recipe", "--out", str(tmp_path / out)])
    assert isinstance(ran.exception, XtuneError)
    assert said in str(ran.exception)
