"""Every shipped recipe becomes a plan on the card its name promises, from recorded configs and without a network."""

import json
import re
from dataclasses import replace

import pytest
from machines import CPU, gpu

from xtune.catalog import CatalogEntry, list_recipes, recorded_config
from xtune.demo.bundled import bundled_path
from xtune.memory import GIB, ModelShape
from xtune.plan import resolve
from xtune.plan.cards import machine
from xtune.recipe.read import read_recipe

RECIPES = {entry.name: entry for entry in list_recipes()}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_shipped_recipe_becomes_a_plan_that_fits_the_card_in_its_name(name: str) -> None:
    entry: CatalogEntry = RECIPES[name]
    recipe = read_recipe(entry.path)
    card = re.search(r"-(\d+)gb$", name)
    target = CPU if card is None else gpu(int(card[1]))
    target = replace(target, packages=target.packages | {"bitsandbytes", "modelscope"})
    if name == "quickstart" or name.startswith("demo/"):
        config = json.loads(
            (bundled_path("bundled:demo") / "config.json").read_text(encoding="utf-8")
        )
    else:
        found = recorded_config(recipe.model.name)
        assert found is not None, f"no recorded config of {recipe.model.name}"
        config = found
    plan = resolve(recipe, target, ModelShape.from_config(config), recipe_name=name)
    assert plan.predicted is not None
    if card is not None:
        assert plan.predicted.peak_bytes <= int(card[1]) * GIB
    assert all(choice.reason for choice in plan.choices().values())


def test_the_smallest_promise_is_there_an_eight_gigabyte_recipe_for_seven_billion_parameters() -> (
    None
):
    eight = [
        recorded_config(read_recipe(entry.path).model.name)
        for name, entry in RECIPES.items()
        if name.endswith("-8gb")
    ]
    shapes = [ModelShape.from_config(config) for config in eight if config]
    assert max(shape.parameters for shape in shapes) > 7e9


def test_of_another_machine_no_package_is_missing() -> None:
    """What is installed here says nothing of the machine that is asked about."""
    recipe = read_recipe(RECIPES["internlm3-8b-modelscope-12gb"].path)
    config = recorded_config(recipe.model.name)
    assert config is not None
    other = machine(card=None, vram_bytes=12 * GIB, ram_bytes=32 * GIB, cpu_count=8)
    assert resolve(recipe, other, ModelShape.from_config(config)).predicted is not None
