"""Two processes train what one process trains, at the same global batch."""

from pathlib import Path

import pytest
from running import losses, metrics, write_recipe, xtune


@pytest.mark.parametrize(
    "method",
    [
        pytest.param({"type": "lora", "rank": 4}, id="lora"),
        pytest.param("full", id="full", marks=pytest.mark.slow),
    ],
)
def test_two_processes_have_the_single_processes_losses(
    method: object, tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    # 160 rows in steps of 7: the last step of an epoch is uneven, and one rank has less to do
    changes = {
        "method": method,
        "model.dtype": "float32",
        "data.evaluate": str(held_out_file),
        "train.batch_size": 7,
        "train.micro_batch_size": 2,
        "train.max_steps": 25,
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = xtune("train", str(write_recipe(tmp_path / "one", tiny_model, rows_file, changes)))
    two = xtune(
        "train", str(write_recipe(tmp_path / "two", tiny_model, rows_file, changes)), processes=2
    )
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert len(losses(tmp_path / "one" / "run")) == 25
    assert losses(tmp_path / "two" / "run") == pytest.approx(
        losses(tmp_path / "one" / "run"), abs=1e-5
    )
    last = [metrics(tmp_path / name / "run")[-1]["evaluation_loss"] for name in ("one", "two")]
    assert last[0] == pytest.approx(last[1], abs=1e-5)


def test_a_mistake_under_torchrun_never_exits_with_zero(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    recipe = write_recipe(tmp_path, tiny_model, rows_file, {"method.type": "lorra"})
    assert xtune("train", str(recipe), processes=2).returncode != 0
