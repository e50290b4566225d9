"""Finding, listing and copying shipped recipes, and what each of them must say of itself."""

from pathlib import Path

import pytest

from xtune.catalog import copy_recipe, find_recipe, list_recipes
from xtune.errors import XtuneError
from xtune.recipe.read import parse_recipe, read_recipe

ROOT = Path(__file__).resolve().parents[2]


def test_a_name_finds_the_shipped_file():
    assert find_recipe("quickstart") == ROOT / "recipes" / "quickstart.yaml"
    assert find_recipe("demo/pretrain") == ROOT / "recipes" / "demo" / "pretrain.yaml"


def test_a_path_finds_the_file_itself(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("")

    assert find_recipe(str(path)) == path


def test_a_misspelt_name_is_told_with_the_nearest_one():
    with pytest.raises(
        XtuneError, match=r"no recipe `quikstart`\. Did you mean the recipe `quickstart`\?"
    ):
        find_recipe("quikstart")


def test_a_path_that_does_not_exist_is_told_with_the_nearest_name():
    with pytest.raises(XtuneError, match=r"no file other/quickstart\.yaml.*recipe `quickstart`"):
        find_recipe("other/quickstart.yaml")


@pytest.mark.parametrize(
    "name", ["", " ", "a\0b", "../recipes/quickstart", "x" * 3000, "x" * 3000 + ".yaml"]
)
def test_what_names_no_recipe_is_refused(name):
    with pytest.raises(XtuneError):
        find_recipe(name)


def test_a_folder_is_no_recipe(tmp_path):
    folder = tmp_path / "x.yaml"
    folder.mkdir()

    with pytest.raises(XtuneError, match="is a folder"):
        find_recipe(str(folder))


@pytest.mark.parametrize("entry", list_recipes(), ids=lambda entry: entry.name)
def test_each_recipe_says_what_it_is_and_how_to_run_it_within_sixty_lines(entry):
    lines = entry.path.read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith("#")]
    depth = "../" * entry.name.count("/")

    assert len(lines) <= 60
    assert head[0] == f"# yaml-language-server: $schema={depth}schema.json"
    assert head[1].startswith(f"# xtune train {entry.name}")
    assert entry.summary == head[2].removeprefix("# ")
    assert 20 < len(entry.summary) < 110
    assert any(line.startswith("# Memory: ") for line in head)
    assert any(line.startswith("# Time: ") for line in head)


@pytest.mark.parametrize("entry", list_recipes(), ids=lambda entry: entry.name)
def test_the_command_in_a_recipes_head_gives_a_recipe(entry):
    words = entry.command.split()

    assert find_recipe(words[2]) == entry.path
    assert read_recipe(entry.path, words[3:]).data.train


def test_no_two_recipes_are_nearly_the_same():
    """Of any two recipes at least four settings differ besides names of models and files."""
    bodies = {}
    for entry in list_recipes():
        recipe = parse_recipe(entry.path.read_bytes(), source=entry.name)
        flat = {
            f"{section}.{name}": value
            for section, content in recipe.model_dump().items()
            for name, value in (content.items() if isinstance(content, dict) else [("", content)])
        }
        bodies[entry.name] = {key: value for key, value in flat.items() if key != "model.name"}
    names = sorted(bodies)

    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            keys = {*bodies[first], *bodies[second]}
            different = [key for key in keys if bodies[first].get(key) != bodies[second].get(key)]
            assert len(different) >= 4, (first, second, different)


def test_a_copy_reads_as_the_original_and_names_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copied = copy_recipe("qwen3-8b-qlora-8gb", Path("mine.yaml"))

    head = copied.read_text(encoding="utf-8").splitlines()
    assert read_recipe(copied) == read_recipe(find_recipe("qwen3-8b-qlora-8gb"))
    assert head[1] == "# xtune train mine.yaml data.train=train.jsonl"
    schema = head[0].partition("$schema=")[2]
    assert schema.startswith("file://")
    assert Path(schema.removeprefix("file://")).is_file()


def test_a_copy_takes_the_recipes_name_and_goes_into_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert copy_recipe("demo/pretrain") == Path("pretrain.yaml")
    assert copy_recipe("quickstart", tmp_path) == tmp_path / "quickstart.yaml"


def test_a_copy_never_overwrites(tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("precious")

    with pytest.raises(XtuneError, match="exists; it is not overwritten"):
        copy_recipe("quickstart", target)
    assert target.read_text() == "precious"


def test_a_copy_into_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(XtuneError, match="cannot be written: No such file or directory"):
        copy_recipe("quickstart", tmp_path / "no" / "mine.yaml")
