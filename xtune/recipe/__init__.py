"""The recipe: what a person asks for, read from YAML and checked as a whole."""

from xtune.recipe.models import (
    Data,
    Full,
    LoRA,
    LowRank,
    Memory,
    Method,
    Model,
    QLoRA,
    Recipe,
    Run,
    Source,
    Train,
)
from xtune.recipe.read import dump_recipe, parse_recipe, read_recipe, recipe_schema

__all__ = [
    "Data",
    "Full",
    "LoRA",
    "LowRank",
    "Memory",
    "Method",
    "Model",
    "QLoRA",
    "Recipe",
    "Run",
    "Source",
    "Train",
    "dump_recipe",
    "parse_recipe",
    "read_recipe",
    "recipe_schema",
]
