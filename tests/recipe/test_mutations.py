"""A thousand damaged recipes: each is read, or refused with problems that each name a place; nothing else happens."""

import random
from pathlib import Path

import pytest

from xtune.catalog import list_recipes
from xtune.errors import RecipeError
from xtune.recipe import Recipe
from xtune.recipe.read import read_recipe

JUNK = [
    "null", "[]", "{}", "-1", "0", "1e999", ".nan", "yes", "'", '"', "[a, [b]]", "{a: {b: c}}", "*a", "&a b",
    "!!python/name:os.system x", "!!binary aa", "<<: {a: 1}", "2024-01-01", "9" * 40, "\t", "- x", "? x", "|", ">-",
    "%YAML 1.1", "---", "...", "\x85", "\u2028", "\ufeff", "\0", "\ud800", "{{", "x: y: z", "#", "lora", "full", "3",
]  # fmt: skip
KEYS = [
    "model",
    "method",
    "data",
    "train",
    "memory",
    "run",
    "stage",
    "x",
    "rank",
    "type",
    "epochs",
    "train",
    "",
]


def _lines(rng: random.Random, lines: list[str]) -> list[str]:
    lines = list(lines)
    at = rng.randrange(len(lines))
    kind = rng.randrange(7)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), lines[at])
    elif kind == 2:
        lines[at] = lines[at].partition(":")[0] + ": " + rng.choice(JUNK)
    elif kind == 3:
        lines[at] = " " * rng.randrange(6) + lines[at].lstrip()
    elif kind == 4:
        lines.insert(at, " " * rng.randrange(4) + rng.choice(KEYS) + ": " + rng.choice(JUNK))
    elif kind == 5:
        text = list(lines[at])
        rng.shuffle(text)
        lines[at] = "".join(text)
    else:
        lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
    return lines or [""]


def _override(rng: random.Random) -> str:
    path = ".".join(rng.choice(KEYS) for _ in range(rng.randrange(4)))
    return path + rng.choice(["=", "=", "=", ""]) + rng.choice(JUNK)


@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_damaged_recipes_are_read_or_refused_with_places(seed: int, tmp_path: Path):
    rng = random.Random(seed)
    sources = [entry.path.read_text(encoding="utf-8") for entry in list_recipes()]
    path = tmp_path / "damaged.yaml"
    for _ in range(100):
        lines = [line for line in rng.choice(sources).split("\n") if not line.startswith("#")]
        for _ in range(rng.randrange(4)):
            lines = _lines(rng, lines)
        raw = bytearray("\n".join(lines).encode("utf-8", "surrogatepass"))
        for _ in range(rng.choice([0, 0, 0, 1, 5])):
            raw[rng.randrange(len(raw)) if raw else 0 :][:1] = bytes([rng.randrange(256)])
            if raw:
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(bytes(raw))
        overrides = [_override(rng) for _ in range(rng.choice([0, 0, 1, 2]))]

        _check(path, overrides)


def _check(path: Path, overrides: list[str]) -> None:
    try:
        outcome: Recipe | RecipeError = read_recipe(path, overrides)
    except RecipeError as error:
        outcome = error
    if isinstance(outcome, Recipe):
        return
    assert outcome.problems
    for problem in outcome.problems:
        assert str(path) in problem.where or problem.where.startswith("command line")
        assert problem.what
        assert "\n" not in str(problem)
        assert str(problem).encode("utf-8")
