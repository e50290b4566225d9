"""The recipe's JSON Schema, for editors, and the same schema in words, for messages; it checks nothing."""

import copy
import functools
from collections.abc import Iterable
from typing import Any, TypeAlias

from xtune.recipe.document import Path
from xtune.recipe.models import Recipe

Schema: TypeAlias = dict[str, Any]

METHODS = ("full", "lora", "qlora")
_VARIANTS = dict(zip(METHODS, ("Full", "LoRA", "QLoRA"), strict=True))


def recipe_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a recipe, shorthands included."""
    return copy.deepcopy(shared_schema())


@functools.cache
def shared_schema() -> Schema:
    """The same object every time, to read from."""
    schema = Recipe.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    for name in _VARIANTS.values():
        # pydantic gives the tag a default and so leaves it out; in a file it must be there
        definitions[name]["required"] = ["type"]
        definitions[name]["properties"]["type"].pop("default", None)
    method = schema["properties"]["method"]
    schema["properties"]["method"] = {
        "description": method["description"],
        "anyOf": [{"enum": list(METHODS)}, {"oneOf": method["oneOf"]}],
    }
    memory = schema["properties"]["memory"]
    schema["properties"]["memory"] = {
        "description": memory["description"],
        "default": "auto",
        "anyOf": [{"enum": ["auto"]}, {"$ref": memory["$ref"]}],
    }
    _drop_titles(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "xtune recipe",
        **schema,
    }


def _drop_titles(node: Any) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        for value in node.values():
            _drop_titles(value)
    elif isinstance(node, list):
        for value in node:
            _drop_titles(value)


def section_keys(path: Path, method: str = "", root: Schema | None = None) -> dict[str, Schema]:
    """Return the keys of a section and their schemas; `method` is the tag in force, if it is known."""
    keys: dict[str, Schema] = section_schema(path, method, root).get("properties", {})
    return keys


def section_schema(path: Path, method: str = "", root: Schema | None = None) -> Schema:
    """Return the schema at a path, references followed; empty where the recipe has nothing.

    `root` is the schema of the whole file; default: a training recipe's.
    """
    root = root or shared_schema()
    node = root
    for part in path:
        if isinstance(part, int):
            node = _items(node)
        elif node.get("additionalProperties") and part not in node.get("properties", {}):
            node = node["additionalProperties"]
        else:
            node = node.get("properties", {}).get(part, {})
        node = _followed(node, method, root)
    return node


def _items(node: Schema) -> Schema:
    for option in [node, *node.get("anyOf", [])]:
        for inner in [option, *option.get("anyOf", [])]:
            if "items" in inner:
                return dict(inner["items"])
    return {}


def _followed(node: Schema, method: str, root: Schema) -> Schema:
    if "$ref" in node:
        return dict(root["$defs"][node["$ref"].rpartition("/")[2]])
    if method and any("oneOf" in option for option in node.get("anyOf", [])):
        return dict(root["$defs"][_VARIANTS[method]])
    for option in node.get("anyOf", []):
        if "$ref" in option:  # a text, or a section that says more
            return {**_followed(option, method, root), **node}
    return node


def allowed_words(schema: Schema) -> str:
    """Return what a schema allows, in words: "a whole number of at least 1, or `auto`"."""
    return join_or(_alternatives(schema))


def bounds_words(schema: Schema) -> str:
    """Return the bounds of a number alone: "at least 1"; empty if it has none."""
    step = 1 if schema.get("type") == "integer" else 0
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is not None and step:
        low, above = above + step, None
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    found = [
        f"{word} {bound:g}"
        for word, bound in (
            ("at least", low),
            ("above", above),
            ("at most", high),
            ("below", below),
        )
        if bound is not None
    ]
    return " and ".join(found)


def join_or(words: list[str]) -> str:
    """Return "a", "a or b", "a, b or c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"


def join_and(names: Iterable[str]) -> str:
    """Return "`a`", "`a` and `b`", "`a`, `b` and `c`"."""
    *first, last = [f"`{name}`" for name in names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def choices(schema: Schema) -> list[str]:
    """Return the fixed texts that a schema allows."""
    found = [value for value in schema.get("enum", []) if isinstance(value, str)]
    if isinstance(schema.get("const"), str):
        found.append(schema["const"])
    for option in schema.get("anyOf", []):
        found += choices(option)
    return found


def number_schemas(schema: Schema) -> list[Schema]:
    """Return the alternatives of a schema that are numbers."""
    options = schema.get("anyOf", [schema])
    return [option for option in options if option.get("type") in {"integer", "number"}]


def _alternatives(schema: Schema) -> list[str]:
    if "anyOf" in schema:
        words = [word for option in schema["anyOf"] for word in _alternatives(option)]
        return list(dict.fromkeys(words))
    if "enum" in schema or "const" in schema:
        return [f"`{value}`" for value in schema.get("enum", [schema.get("const")])]
    if "oneOf" in schema:
        return ["a section with `type`"]
    if "$ref" in schema or schema.get("properties"):
        return ["a section"]
    return _simple(schema)


def _simple(schema: Schema) -> list[str]:
    kind = schema.get("type")
    if kind == "boolean":
        return ["true", "false"]
    if kind in {"integer", "number"}:
        name = "a whole number" if kind == "integer" else "a number"
        bounds = bounds_words(schema)
        of = " of" if bounds.startswith("at ") else ""
        return [f"{name}{of} {bounds}".strip()]
    if kind == "array":
        inner = _alternatives(schema.get("items", {}))
        if inner == ["text"]:
            return ["a list of texts"]
        if schema.get("maxItems") == schema.get("minItems") == 2:
            return ["a list of two such"]
        return [f"a list of {join_or(inner)}"]
    if kind == "object":
        return ["a section of names and texts"]
    if kind == "null":
        return ["null"]
    return [str(schema.get("description") or "text")] if "pattern" in schema else ["text"]
