"""What ships with xtune: recipes by name, and recorded model configs; no downloads."""

from xtune.catalog.configs import recorded_config, recorded_ids
from xtune.catalog.recipes import (
    CatalogEntry,
    copy_recipe,
    find_recipe,
    list_recipes,
    read_text,
)

__all__ = [
    "CatalogEntry",
    "copy_recipe",
    "find_recipe",
    "list_recipes",
    "read_text",
    "recorded_config",
    "recorded_ids",
]
