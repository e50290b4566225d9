"""Runs with memory techniques against the plain run: the same losses, whole, resumed, and on two processes."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from running import losses, write_recipe, xtune

from xtune.demo.bundled import bundled_path

STEPS = {"train.max_steps": 5, "train.save_every": 5}


def trained(
    folder: Path, model: Path, rows: Path, *, processes: int = 1, **changes: object
) -> Path:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    folder.mkdir()
    done = xtune(
        "train", str(write_recipe(folder, model, rows, {**STEPS, **named})), processes=processes
    )
    assert done.returncode == 0, done.stderr
    assert not [each for each in (folder / "run").iterdir() if each.name.startswith(".checkpoint")]
    return folder / "run"


def test_checkpoints_and_base_elsewhere_change_no_bit(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    changes = {"method": {"type": "qlora", "rank": 4, "dropout": 0.1}}
    plain = trained(tmp_path / "plain", tiny_model, rows_file, **changes)
    for place in ("host", "disk"):
        away = {"memory__checkpoints": place, "memory__base": place}
        other = trained(tmp_path / place, tiny_model, rows_file, **changes, **away)
        assert losses(other) == losses(plain)
        name = "adapter/adapter_model.safetensors"
        assert (other / name).read_bytes() == (plain / name).read_bytes()


@pytest.mark.parametrize("method", [{"type": "qlora", "rank": 4}, {"type": "full"}])
def test_frugal_runs_learn_as_plain_ones_do(
    method: dict[str, object], tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    changes = {"method": method, "model.dtype": "float32"}
    if method["type"] == "qlora":
        changes.pop("model.dtype")
    plain = trained(tmp_path / "plain", tiny_model, rows_file, **changes)
    frugal = trained(
        tmp_path / "frugal",
        tiny_model,
        rows_file,
        memory__frugal_layers=True,
        memory__tile_tokens=16,
        memory__checkpoints="disk",
        **changes,
    )
    assert losses(frugal) == pytest.approx(losses(plain), rel=2e-3)


@pytest.mark.slow
def test_the_curve_of_a_frugal_run_with_all_in_host_memory_is_the_plain_runs(
    tmp_path: Path,
) -> None:
    """The demo model learns its task in 60 steps of float32: from 1.9 to below 0.05, and never 1e-5 apart."""
    away = {f"memory__{part}": "host" for part in ("checkpoints", "base", "embeddings", "head")}
    changes: dict[str, Any] = {
        "method": {"type": "lora", "rank": 16},
        "model.dtype": "float32",
        "data.max_tokens": 256,
        "train.max_steps": 60,
        "train.save_every": 60,
        "train.batch_size": 4,
    }
    model, rows = bundled_path("bundled:demo"), bundled_path("bundled:orders/train.jsonl")
    plain = trained(tmp_path / "plain", model, rows, **changes)
    frugal = trained(
        tmp_path / "frugal",
        model,
        rows,
        memory__frugal_layers=True,
        memory__tile_tokens=64,
        **away,
        **changes,
    )
    assert losses(plain)[0] > 1.5
    assert fmean(losses(plain)[-10:]) < 0.05
    assert losses(frugal) == pytest.approx(losses(plain), abs=1e-5)


def test_two_processes_share_a_frugal_step_of_a_streamed_base(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    changes = {
        "memory__frugal_layers": True,
        "memory__tile_tokens": 16,
        "memory__base": "disk",
    }
    one = trained(tmp_path / "one", tiny_model, rows_file, **changes)
    two = trained(tmp_path / "two", tiny_model, rows_file, processes=2, **changes)
    assert losses(two) == pytest.approx(losses(one), rel=2e-3)
