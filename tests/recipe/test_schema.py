"""The JSON Schema, judged by the jsonschema package: it accepts what we accept and refuses what we refuse."""

import json

import jsonschema
import pytest

from xtune.catalog import list_recipes
from xtune.catalog.recipes import recipes_folder
from xtune.recipe import Recipe
from xtune.recipe.read import RECIPE, parse_recipe, recipe_schema
from xtune.recipe.yaml_lines import parse_recipe_text


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(recipe_schema())
    return jsonschema.Draft202012Validator(recipe_schema())


@pytest.mark.parametrize("entry", list_recipes(), ids=lambda entry: entry.name)
def test_every_shipped_recipe_is_read_and_fits_the_schema(entry, validator):
    raw = entry.path.read_bytes()

    assert parse_recipe(raw, source=entry.name)
    validator.validate(parse_recipe_text(raw, entry.name, RECIPE).value)


def right(**changes):
    return {
        "model": {"name": "x"},
        "method": "lora",
        "data": {"train": "a.jsonl"},
        "train": {"learning_rate": 1e-4},
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": {"type": "qlora", "quantization": "int8"}},
        {"method": {"type": "lora", "init": "pissa_niter_4", "targets": "q_proj"}},
        {"data": {"train": ["a", "b"], "evaluate": 0.1, "packing": "auto"}},
        {"run": {"trackers": "wandb"}},
        {"memory": "auto"},
    ],
)
def test_shorthands_fit_the_schema(changes, validator):
    validator.validate(right(**changes))
    read = parse_recipe(json.dumps(right(**changes)), source="x")
    assert read == Recipe.model_validate(right(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "lorra"},
        {"method": {"rank": 3}},
        {"method": {"type": "lora", "quantization": "nf4"}},
        {"method": {"type": "lora", "init": "pissa_niter_0"}},
        {"data": {"train": []}},
        {"data": {"train": "a", "evaluate": 2}},
        {"train": {"learning_rate": 0}},
        {"run": {"trackers": ["x"]}},
        {"x": 1},
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(changes, validator, problems):
    assert not validator.is_valid(right(**changes))
    assert problems(json.dumps(right(**changes)))


def test_every_setting_is_explained():
    schema = recipe_schema()
    sections = [schema, *schema["$defs"].values()]

    assert [
        name
        for section in sections
        for name, field in section.get("properties", {}).items()
        if not field.get("description")
    ] == []


def test_the_schema_beside_the_recipes_is_current():
    committed = (recipes_folder() / "schema.json").read_text(encoding="utf-8")

    assert json.loads(committed) == recipe_schema(), "xtune recipes schema > recipes/schema.json"
