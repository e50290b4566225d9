"""Runs with memory techniques against the plain run: the same losses, whole, resumed, and on two processes."""

from pathlib import Path

import pytest
from running import losses, write_recipe, xtune

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
