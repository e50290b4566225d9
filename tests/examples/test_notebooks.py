"""The notebooks in examples/ run from top to bottom, in a real kernel; cells tagged `gpu` where there is a card."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

EXAMPLES = Path(__file__).parents[2] / "examples"
NO_CARD = "cells tagged `gpu` need a CUDA card and the weights of a 7B model"

# Jupyter's own libraries warn of each other
pytestmark = pytest.mark.filterwarnings("ignore")


def execute(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, skip: str) -> NotebookNode:
    """Run a notebook in an empty folder; a cell that fails ends it with the cell's error."""
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("XTUNE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.read(EXAMPLES / name, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=600,
        startup_timeout=300,
        iopub_timeout=60,
        kernel_name="python3",
        skip_cells_with_tag=skip,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env=dict(os.environ))


def shown(notebook: NotebookNode, beginning: str) -> dict[str, str]:
    """What the cell that begins so shows last, by type."""
    (cell,) = [cell for cell in notebook.cells if cell.source.startswith(beginning)]
    results = [output for output in cell.outputs if output.output_type == "execute_result"]
    return dict(results[-1].data)


def test_from_a_data_file_to_a_judged_merged_and_served_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = execute("01-fine-tune.ipynb", tmp_path, monkeypatch, skip="gpu")
    assert shown(notebook, "run.plot()")["image/png"]
    assert "held-out loss" in shown(notebook, "class Notes")["text/html"]
    assert "<table" in shown(notebook, "run.metrics")["text/html"]
    assert "exact match" in shown(notebook, "xtune.evaluate")["text/html"]
    assert "expected" in shown(notebook, "run.samples")["text/html"]
    assert "fits" in shown(notebook, "xtune.plan")["text/html"]
    assert "Lebrum Bifalok" in shown(notebook, "model = xtune.load")["text/plain"]
    assert "Tedak" in shown(notebook, "import threading")["text/plain"]
    assert "finished" in shown(notebook, "xtune.runs")["text/html"]
    assert (tmp_path / "runs" / "orders" / "report.html").is_file()
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_from_seeds_and_a_server_to_rows_and_a_training_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = execute("02-make-data.ipynb", tmp_path, monkeypatch, skip="gpu")
    assert "pieces dropped" in shown(notebook, "stats = read_stats")["text/html"]
    (histogram,) = [cell for cell in notebook.cells if cell.source.startswith("figure, axes")]
    assert any("image/png" in output.data for output in histogram.outputs)
    kept = (tmp_path / "out" / "tasks" / "pool" / "en.jsonl").read_text(encoding="utf-8")
    assert '"event": "dropped"' in kept
    assert (tmp_path / "data" / "en.test.jsonl").read_text(encoding="utf-8")
    assert shown(notebook, "run = xtune.train")["image/png"]


def test_the_cells_for_any_machine_of_a_real_7b_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = execute("03-your-own-model.ipynb", tmp_path, monkeypatch, skip="gpu")
    assert "Take qlora" in shown(notebook, 'xtune.plan("Qwen')["text/html"]
    assert shown(notebook, "xtune.plot_plan")["image/png"]
    left_out = [cell for cell in notebook.cells if "gpu" in cell.metadata.get("tags", [])]
    assert left_out, NO_CARD
    assert not any(cell.outputs for cell in left_out)


@pytest.mark.gpu
@pytest.mark.network
def test_all_cells_of_a_real_7b_run_on_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Path(__file__).parents[2] / "xtune" / "demo" / "data" / "train.jsonl"
    (tmp_path / "rows.jsonl").write_bytes(rows.read_bytes())
    execute("03-your-own-model.ipynb", tmp_path, monkeypatch, skip="none")
    assert (tmp_path / "merged" / "config.json").is_file()
