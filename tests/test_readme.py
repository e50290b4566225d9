"""What the README shows is true: its commands exist, its recipe reads, its files are there."""

import ast
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xtune.cli.app import app
from xtune.recipe.read import parse_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[tuple[str, ...]]:
    """Every `xtune VERB` in the README with the options shown beside it."""
    found = set()
    for line in re.findall(r"xtune [a-z][^`#\n|]*", README):
        words = line.replace("[", " ").replace("]", " ").split()[1:]
        verb = [words[0]]
        if len(words) > 1 and (
            words[0] == "data" or (words[0] == "recipes" and words[1] in {"show", "schema"})
        ):
            verb.append(words[1])
        options = [word.rstrip(",") for word in words if word.startswith("--")]
        found.add((*verb, *options))
    return sorted(found)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_of_the_readme_exists_with_its_options(words: tuple[str, ...]) -> None:
    verbs = [word for word in words if not word.startswith("--")]
    shown = CliRunner().invoke(app, [*verbs, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0, shown.output
    for option in words[len(verbs) :]:
        assert option in shown.output


def test_the_recipe_in_the_readme_reads() -> None:
    text = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)[0]
    assert parse_recipe(text, source="README.md").method.type == "qlora"


def test_python_in_the_readme_parses_and_names_what_exists() -> None:
    import xtune

    for snippet in re.findall(r"`(import xtune;.*?)`", README):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "xtune":
                assert hasattr(xtune, node.attr)


def test_every_link_in_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z-]+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
