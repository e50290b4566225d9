"""xtune from Python: verbs that share their names with packages, light imports, observers, and results that show themselves."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import write_recipe

import xtune
from xtune.errors import RunError, XtuneError
from xtune.notebook.table import Table

SHARED_NAMES = ("evaluate", "generate", "plan", "report", "serve", "train")


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_xtune_and_planning_load_no_torch() -> None:
    code = "import sys, xtune; print([m for m in ('torch', 'transformers', 'pydantic') if m in sys.modules])"
    assert python(code) == "[]"
    code = "import sys, xtune; t = xtune.Target(vram='8GiB'); xtune.plan('quickstart', on=t); print('torch' in sys.modules)"
    assert python(code) == "False"


@pytest.mark.parametrize("name", SHARED_NAMES)
def test_a_verb_is_callable_before_and_after_its_package_is_imported(name: str) -> None:
    code = (
        f"import importlib, inspect, xtune\n"
        f"assert callable(xtune.{name})\n"
        f"package = importlib.import_module('xtune.{name}')\n"
        f"assert xtune.{name} is package and callable(package)\n"
        f"from xtune import {name}\n"
        f"print(list(inspect.signature({name}).parameters)[0], package.__path__ is not None)"
    )
    first = {"plan": "target", "train": "recipe", "serve": "runs"}.get(name, "run")
    assert python(code) == f"{first} True"


def test_no_verb_shares_its_name_with_a_package_unknowingly() -> None:
    folders = {path.parent.name for path in Path(xtune.__file__).parent.glob("*/__init__.py")}
    assert folders & set(xtune.__all__) == set(SHARED_NAMES)


def test_every_public_name_exists_and_is_documented() -> None:
    for name in xtune.__all__:
        assert inspect.getdoc(getattr(xtune, name)), name
    assert set(xtune.__all__) <= set(dir(xtune))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = xtune.trian  # type: ignore[attr-defined]


def test_a_recipe_and_a_plan_show_themselves() -> None:
    recipe = xtune.read("quickstart", {"train.max_steps": 3})
    assert "max_steps: 3" in recipe._repr_html_()
    planned = xtune.plan(recipe, on=xtune.Target(vram="8GiB"), tokens=128)
    assert planned._repr_html_().startswith("<pre")
    assert "fits" in str(planned)
    assert planned.to_json()["tokens"] == 128


def test_a_run_from_train_to_chat_in_one_process(
    tiny_model: Path, rows_file: Path, held_out_file: Path, tmp_path: Path
) -> None:
    seen: list[int] = []

    class Steps(xtune.BaseObserver):
        def on_step(self, metrics: xtune.StepMetrics) -> None:
            seen.append(metrics.step)

    changes = {"data.evaluate": str(held_out_file), "train.max_steps": 5}
    recipe = write_recipe(tmp_path, tiny_model, rows_file, changes)
    run = xtune.train(str(recipe), observers=[Steps()])
    assert seen == [1, 2, 3, 4, 5]
    assert os.fspath(run) == str(tmp_path / "run")
    assert run.end is not None
    assert (run.end.status, run.state) == ("finished", "finished")
    assert run.result.name == "adapter"

    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert run.metrics.column("loss") == [line["loss"] for line in lines if "loss" in line]
    assert list(run.metrics.to_pandas()["step"]) == [1, 2, 3, 4, 5]
    png, size = run.plot()._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert size == {"width": 800}
    with pytest.raises(RunError, match=r"xtune\.evaluate"):
        run.samples()

    judged = xtune.evaluate(run, max_rows=4, max_new_tokens=4)
    assert "4 held-out rows" in judged._repr_html_()  # type: ignore[attr-defined]
    assert f"{judged.after.loss.value:.4g}" in str(judged)
    rows = json.loads((run.folder / "evaluation.json").read_text())["rows"]
    with pytest.raises(RunError, match="`count` is 0"):
        run.samples(0)
    assert {row["expected"] for row in run.samples(9)} == {row["expected"] for row in rows}

    model = xtune.load(run)
    first = model.chat("Backwards: red lamp")
    assert [turn.role for turn in model.history] == (["user", "assistant"] if first else [])
    model.reset()
    assert model.history == ()
    assert run.chat("Backwards: red lamp") == first
    assert run.report().is_file()
    assert "finished" in run._repr_html_()
    again = xtune.Run(run.folder)
    assert again.metrics.column("loss") == run.metrics.column("loss")


@pytest.mark.parametrize("verb", [xtune.train, xtune.tune_lr, xtune.plan, xtune.data_show])
def test_overrides_of_a_recipe_that_is_read_already_are_refused(verb: Any) -> None:
    recipe = xtune.read("quickstart")
    with pytest.raises(
        XtuneError, match=r"`quickstart` is read already.\s+Give them to xtune.read"
    ):
        verb(recipe, overrides={"run.folder": "elsewhere"})


def test_overrides_take_paths_numbers_of_numpy_and_one_text(tmp_path: Path) -> None:
    changes = {"run.folder": tmp_path / "run", "train.max_steps": np.int64(3)}
    recipe = xtune.read("quickstart", changes).recipe
    assert (recipe.run.folder, recipe.train.max_steps) == (str(tmp_path / "run"), 3)
    assert xtune.read("quickstart", "train.max_steps=4").recipe.train.max_steps == 4
    with pytest.raises(XtuneError, match="max_steps` is a set, which no recipe can hold"):
        xtune.read("quickstart", {"train.max_steps": {3}})


@pytest.mark.parametrize(
    ("observers", "said"),
    [
        ([object()], "object is no observer: it lacks `on_start`, "),
        ([xtune.BaseObserver], "is a class; give an object of it"),
        (xtune.BaseObserver(), "must be a list of observers"),
    ],
)
def test_what_is_no_observer_is_refused_before_the_run_folder_is_taken(
    observers: Any, said: str, tiny_model: Path, rows_file: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, tiny_model, rows_file, {})
    with pytest.raises(XtuneError, match=said):
        xtune.train(str(recipe), observers=observers)
    assert not (tmp_path / "run").exists()


def test_opening_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        xtune.Run(tmp_path)


def test_a_table_shows_texts_as_text_and_its_beginning_and_end() -> None:
    table = Table([{"a": step, "b<": "<script>"} for step in range(100)], caption="<i>")
    shown = table._repr_html_()
    assert "<script>" not in shown
    assert "<i>" not in shown
    assert shown.count("<tr>") == 1 + 20 + 1
    assert "&hellip;" in shown
    assert table.column("a") == list(range(100))
    assert len(table[:3]) == 3
    with pytest.raises(KeyError, match="no column 'c'"):
        table.column("c")
