"""loss.png: read back as pixels, and what goes into it, against numpy."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from xtune.report.picture import LossPicture, Series, draw_loss, picture
from xtune.run.observer import EndInfo, StartInfo, StepMetrics

ORANGE = (234, 88, 12)


def has_colour(path: Path, colour: tuple[int, int, int]) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return bool((pixels == colour).all(axis=-1).any())


def test_the_picture_is_a_png_twice_as_wide_as_it_is_shown(run_folder: Path) -> None:
    path = draw_loss(run_folder)
    assert path == run_folder / "loss.png"
    with Image.open(run_folder / "loss.png") as image:
        assert (image.format, image.size) == ("PNG", (1600, 1000))
    assert has_colour(run_folder / "loss.png", ORANGE)
    assert [entry.name for entry in run_folder.iterdir() if "writing" in entry.name] == []


def test_the_axes_say_what_they_show_and_in_which_unit(run_folder: Path) -> None:
    figure = picture(Series.read(run_folder / "metrics.jsonl"), title="orders-lora", subtitle="")
    loss, rate = figure.axes
    assert loss.get_title(loc="left") == "orders-lora"
    assert loss.get_ylabel() == "loss (nats per token)"
    assert rate.get_xlabel() == "optimizer step   (5 epochs)"
    assert loss.lines[0].get_xydata().shape == (40, 2)
    np.testing.assert_allclose(
        loss.lines[0].get_ydata(), [0.5 + 2 * np.exp(-n / 10) for n in range(1, 41)]
    )


def test_there_is_no_picture_without_numbers(tmp_path: Path) -> None:
    assert draw_loss(tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n{"step": 2, "lo')
    assert draw_loss(tmp_path) is None
    assert not (tmp_path / "loss.png").exists()


@pytest.mark.parametrize("name", ["$x_1$", "数据 ไทย", "a" * 150])
def test_any_folder_name_can_be_a_title(run_folder: Path, name: str) -> None:
    folder = run_folder.rename(run_folder.with_name(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw_loss(folder) is not None


def test_a_run_of_one_step_and_a_run_that_diverged_can_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.0, "learning_rate": 0.0}\n')
    assert draw_loss(tmp_path) is not None
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2.0, "learning_rate": 1.0}\n{"step": 2, "loss": Infinity, "learning_rate": 1.0}\n'
    )
    assert draw_loss(tmp_path) is not None


def test_smoothing_keeps_a_straight_line_straight_and_a_constant_constant() -> None:
    steps = list(range(1, 301))
    line = Series(
        steps=steps,
        losses=[3 - 0.01 * n for n in steps],
        learning_rates=[1.0] * 300,
        evaluations=[],
        epochs=1.0,
    )
    np.testing.assert_allclose(line.smoothed()[:280], line.losses[:280])
    flat = Series(
        steps=steps, losses=[1.5] * 300, learning_rates=[1.0] * 300, evaluations=[], epochs=1.0
    )
    np.testing.assert_allclose(flat.smoothed(), 1.5)


def test_smoothing_is_a_convolution_with_a_tent() -> None:
    losses = np.random.default_rng(0).normal(2, 0.3, 200)
    series = Series(
        steps=list(range(200)),
        losses=list(losses),
        learning_rates=[1.0] * 200,
        evaluations=[],
        epochs=1.0,
    )
    box = np.ones(9) / 9  # 2 % of 200 steps on either side
    expected = np.convolve(np.convolve(losses, box, "valid"), box, "valid")
    np.testing.assert_allclose(series.smoothed()[8:-8], expected)


def test_drawing_leaves_matplotlibs_settings_alone(run_folder: Path) -> None:
    before = dict(mpl.rcParams)
    draw_loss(run_folder)
    assert dict(mpl.rcParams) == before


def test_a_run_draws_at_most_every_thirty_seconds_and_at_its_end(
    run_folder: Path, start: StartInfo, make_step: Callable[..., StepMetrics]
) -> None:
    now = [0.0]
    observer = LossPicture(clock=lambda: now[0])
    observer.on_start(start)
    drawn = []
    for step in range(1, 41):
        now[0] = step * 2.0
        (run_folder / "loss.png").unlink(missing_ok=True)
        observer.on_step(make_step(step))
        if (run_folder / "loss.png").exists():
            drawn.append(now[0])
    assert drawn == [30.0, 60.0]
    (run_folder / "loss.png").unlink(missing_ok=True)
    observer.on_end(EndInfo(status="failed", step=40, message="The disk is full."))
    assert (run_folder / "loss.png").exists()


def test_a_folder_that_takes_no_picture_does_not_stop_the_run(
    run_folder: Path, start: StartInfo
) -> None:
    (run_folder / "loss.png").mkdir()
    observer = LossPicture()
    observer.on_start(start)
    observer.on_end(EndInfo(status="finished", step=40, message="Done."))
    assert [entry.name for entry in run_folder.iterdir() if "writing" in entry.name] == []


def test_the_subtitle_names_model_and_method(run_folder: Path) -> None:
    (run_folder / "recipe.yaml").write_text(
        json.dumps({"model": {"name": "Qwen/Qwen3-8B"}, "method": {"type": "qlora"}})
    )
    from xtune.report.picture import _subtitle

    assert (
        _subtitle(run_folder, Series.read(run_folder / "metrics.jsonl"))
        == "Qwen/Qwen3-8B  ·  qlora  ·  40 steps"
    )
