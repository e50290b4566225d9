"""`xtune recipes` and `xtune init` as a person types them."""

import json
import os
import subprocess
import sys

import typer
from typer.testing import CliRunner

from xtune.catalog import find_recipe, list_recipes
from xtune.cli.recipes import init, recipes_app
from xtune.recipe.read import recipe_schema

app = typer.Typer()
app.add_typer(recipes_app, name="recipes")
app.command()(init)


def test_recipes_lists_every_recipe_with_its_summary():
    shown = CliRunner().invoke(app, ["recipes"], env={"COLUMNS": "200"})

    assert shown.exit_code == 0
    for entry in list_recipes():
        assert entry.name in shown.output
        assert entry.summary[:40] in shown.output


def test_recipes_show_prints_the_file():
    shown = CliRunner().invoke(app, ["recipes", "show", "quickstart"])

    assert shown.output == find_recipe("quickstart").read_text(encoding="utf-8")


def test_recipes_schema_prints_the_schema():
    shown = CliRunner().invoke(app, ["recipes", "schema"])

    assert json.loads(shown.output) == recipe_schema()


def test_init_copies_and_says_what_to_do_next(tmp_path):
    target = tmp_path / "mine.yaml"
    shown = CliRunner().invoke(app, ["init", "quickstart", str(target)])

    assert shown.exit_code == 0
    assert target.is_file()
    assert f"xtune train {target}" in shown.output.replace("\n", "")


def test_neither_recipes_nor_the_reader_import_torch():
    code = (
        "import sys; import xtune.cli.recipes, xtune.recipe.read, xtune.catalog, xtune.demo.bundled; "
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_shell_completes_the_names_of_recipes():
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'xtune'; from xtune.cli.app import main; main()"],
        env={**os.environ, "COMP_WORDS": "xtune train qui", "COMP_CWORD": "2", "_XTUNE_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.stdout.split() == ["quickstart"]
