"""However a run ends, the exit code, the message and the folder tell the truth."""

import json
import resource
import signal
from pathlib import Path

import pytest
from running import metrics, write_recipe, xtune

from xtune.run.checkpoint import CheckpointStore


def limit_file_size() -> None:
    """In the child: no file may grow beyond 96 KiB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (96 * 1024, 96 * 1024))


def test_a_diverging_run_names_the_step_the_rows_and_the_last_checkpoint(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    changes = {
        "method": "full",
        "train.learning_rate": 1e30,
        "train.save_every": 1,
        "train.max_grad_norm": None,
    }
    recipe = write_recipe(tmp_path, tiny_model, rows_file, changes)
    done = xtune("train", str(recipe))
    assert done.returncode == 2, done.stderr
    message = " ".join(done.stderr.split())
    assert "of step 3" in message or "of step 2" in message
    assert "train.jsonl:" in message
    assert "checkpoints/step-00000" in message
    assert "Traceback" not in message
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "diverged"


def test_a_full_disk_ends_with_exit_code_2_and_a_whole_checkpoint(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    recipe = write_recipe(tmp_path, tiny_model, rows_file, {"method": "full"})
    done = xtune("train", str(recipe), preexec_fn=limit_file_size)
    assert done.returncode == 2, done.stderr
    assert "larger than this system allows" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    assert xtune("train", str(recipe), "--resume").returncode == 0


def test_early_stop_ends_after_its_patience_with_the_best_weights(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    changes = {
        "data.evaluate": str(held_out_file),
        "train.max_steps": 200,
        "train.learning_rate": 0.5,
        "train.schedule": "constant",
        "train.evaluate_every": 2,
        "train.early_stop_patience": 3,
        "train.finish_with": "best",
        "train.keep_checkpoints": 1,
    }
    recipe = write_recipe(tmp_path, tiny_model, rows_file, changes)
    done = xtune("train", str(recipe))
    assert done.returncode == 0, done.stderr
    assert "Stopped early" in done.stdout
    rows = [
        (row["evaluation_loss"], row["step"])
        for row in metrics(tmp_path / "run")
        if "evaluation_loss" in row
    ]
    best_step = min(rows)[1]
    assert rows[-1][1] == best_step + 2 * 3
    store = CheckpointStore(tmp_path / "run" / "checkpoints", keep=1)
    assert set(store.steps()) == {best_step, rows[-1][1]}
    from safetensors.torch import load_file

    best = store.load(best_step).weights
    final = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert sorted(float(t.double().sum()) for t in final.values()) == pytest.approx(
        sorted(float(t.double().sum()) for t in best.values())
    )


def test_max_minutes_stops_saves_and_finishes(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    recipe = write_recipe(
        tmp_path, tiny_model, rows_file, {"train.max_minutes": 0.02, "train.max_steps": 100_000}
    )
    done = xtune("train", str(recipe))
    assert done.returncode == 0, done.stderr
    assert "max_minutes" in done.stdout
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()
    assert len(metrics(tmp_path / "run")) < 100_000


def test_a_dry_run_writes_nothing(tmp_path: Path, tiny_model: Path, rows_file: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_model, rows_file, {})
    done = xtune("train", str(recipe), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "micro_batch_size" in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_read_only_place_for_the_run_is_one_clear_line(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    recipe = write_recipe(tmp_path, tiny_model, rows_file, {"run.folder": "/proc/xtune-run"})
    done = xtune("train", str(recipe))
    assert done.returncode == 2
    assert "/proc/xtune-run" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_best_checkpoint_does_not_block_the_result(
    tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    changes = {
        "data.evaluate": str(held_out_file),
        "train.learning_rate": 0.5,
        "train.schedule": "constant",
        "train.max_steps": 200,
        "train.evaluate_every": 2,
        "train.early_stop_patience": 3,
        "train.finish_with": "best",
    }
    recipe = write_recipe(tmp_path, tiny_model, rows_file, changes)
    assert xtune("train", str(recipe)).returncode == 0
    run = tmp_path / "run"
    rows = [
        (row["evaluation_loss"], row["step"]) for row in metrics(run) if "evaluation_loss" in row
    ]
    best_step = min(rows)[1]
    assert best_step != rows[-1][1]
    store = CheckpointStore(run / "checkpoints", keep=5)
    (store.path(best_step) / "weights.safetensors").write_bytes(b"")
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "running"}))
    again = xtune("train", str(recipe), "--resume")
    assert again.returncode == 0, again.stderr
    assert "last weights, not its best" in " ".join(again.stdout.split())
