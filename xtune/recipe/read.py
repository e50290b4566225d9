"""The one door from YAML and command line to a `Recipe`: everything that is wrong is reported together."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xtune.errors import Problem, RecipeError
from xtune.recipe.check import MOST_PROBLEMS, check, suggest_file
from xtune.recipe.document import Document, Kind, printable
from xtune.recipe.dump import dump_recipe
from xtune.recipe.models import Recipe
from xtune.recipe.overrides import apply_overrides
from xtune.recipe.schema import recipe_schema, shared_schema
from xtune.recipe.suggest import advise_key
from xtune.recipe.yaml_lines import MOST_BYTES, parse_recipe_text

__all__ = [
    "dump_recipe",
    "parse_document",
    "parse_recipe",
    "read_document",
    "read_recipe",
    "recipe_schema",
]

RECIPE = Kind(
    model=Recipe,
    schema=shared_schema,
    sections="`model`, `method`, `data` and `train`",
    example="train.epochs=3",
    stand_ins={
        ("model",): {"name": "stand-in"},
        ("model", "name"): "stand-in",
        ("method",): "lora",
        ("method", "type"): "lora",
        ("data",): {"train": "stand-in"},
        ("data", "train"): "stand-in",
        ("train",): {"learning_rate": 1.0},
        ("train", "learning_rate"): 1.0,
    },
    advise_key=advise_key,
)
"""A training recipe."""


def read_recipe(path: Path, overrides: Sequence[str] = (), *, name: str | None = None) -> Recipe:
    """Read a recipe file and apply `section.key=value` overrides, in order.

    `name` is what messages call the file; default: its path as given.

    Raises:
        RecipeError: If the file or an override is wrong in any way; it holds all problems,
            each with its place.
    """
    recipe: Recipe = read_document(path, overrides, RECIPE, name=name)
    return recipe


def read_document(
    path: Path, overrides: Sequence[str], kind: Kind, *, name: str | None = None
) -> Any:
    """Read a YAML file of any kind, as `read_recipe` reads a recipe; returns the kind's model.

    Raises:
        RecipeError: As `read_recipe`.
    """
    source = printable(name or str(path))
    return parse_document(_read(path, source), overrides, kind, source=source)


def parse_recipe(raw: bytes | str, overrides: Sequence[str] = (), *, source: str) -> Recipe:
    """Read a recipe from its text; `source` is what messages call it.

    Raises:
        RecipeError: As `read_recipe`.
    """
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    recipe: Recipe = parse_document(raw, overrides, RECIPE, source=source)
    return recipe


def parse_document(raw: bytes, overrides: Sequence[str], kind: Kind, *, source: str) -> Any:
    """Read a text of any kind; returns the kind's model.

    Raises:
        RecipeError: As `read_recipe`.
    """
    document = parse_recipe_text(raw, source, kind)
    apply_overrides(document, overrides)
    model = check(document) if document.readable else None
    if model is None:
        raise RecipeError(_told(document))
    return model


def _told(document: Document) -> list[Problem]:
    """Return the problems in the order of their lines, the first of them if there are very many."""
    told = sorted(document.problems, key=_line)
    if len(told) <= MOST_PROBLEMS and not document.more:
        return told
    rest = Problem(what="more problems than are listed here were found", where=document.source)
    return [*told[:MOST_PROBLEMS], rest]


def _line(problem: Problem) -> int:
    """Return the line of a problem: in the file from top to bottom, then the command line."""
    found = re.search(r":(\d+)( and \d+)?$", problem.where)
    if problem.where.startswith("command line"):
        return MOST_BYTES
    return int(found.group(1)) if found else 0


def _read(path: Path, source: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError([_absent(path, source)]) from None
    except IsADirectoryError:
        files = sorted(file.name for file in path.glob("*.yaml"))
        advice = f"it holds {', '.join(files[:5])}." if files else ""
        problem = Problem(
            what="the recipe is a folder", where=source, allowed="name a YAML file", advice=advice
        )
        raise RecipeError([problem]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not one that files can have"
        problem = Problem(what=f"the recipe cannot be read: {reason}", where=source)
        raise RecipeError([problem]) from None


def _absent(path: Path, source: str) -> Problem:
    neighbours = []
    if path.parent.is_dir():
        neighbours = [file.name for file in sorted(path.parent.glob("*.y*ml"))]
    return Problem(
        what="there is no such recipe",
        where=source,
        allowed="name a YAML file, or a recipe that `xtune recipes` lists",
        advice=suggest_file(path.name, neighbours),
    )
