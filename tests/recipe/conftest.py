"""A right recipe, and the problems that a wrong one is told."""

import textwrap
from collections.abc import Callable

import pytest

from xtune.errors import RecipeError
from xtune.recipe.read import parse_recipe


@pytest.fixture
def base() -> str:
    """A recipe with each required setting on a line of its own."""
    return textwrap.dedent("""\
        model:
          name: bundled:demo
        method:
          type: lora
          rank: 8
        data:
          train: rows.jsonl
        train:
          learning_rate: 1e-4
        """)


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Read a wrong recipe with overrides and return its problems as a person sees them."""

    def told(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            parse_recipe(text, overrides, source="recipes/x.yaml")
        return [str(problem) for problem in caught.value.problems]

    return told
