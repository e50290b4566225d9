"""Turns a document into the model of its kind, a `Recipe` say, or into problems in the house's words; pydantic finds them, no word of its own comes through."""

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from xtune.errors import Problem
from xtune.recipe.document import Document, Path, dotted, shown
from xtune.recipe.schema import (
    METHODS,
    allowed_words,
    bounds_words,
    choices,
    join_and,
    number_schemas,
    section_keys,
    section_schema,
)
from xtune.recipe.suggest import advise_text, closest

_MOST_ROUNDS = 8

# Ours: nobody reads further, and a damaged file can hold a problem in each of its bytes.
MOST_PROBLEMS = 100


def check(document: Document) -> Any:
    """Return the model of the document's kind, or None after adding everything that is wrong to the document's problems.

    A check of several fields together runs only once each of them is right by itself; so after each
    round what was wrong is taken out, or replaced, and the rest is checked again.
    """
    for _ in range(_MOST_ROUNDS):
        for path in sorted(document.bad, key=dotted):
            _repair(document, _around_list(path))
        try:
            model = document.kind.model.model_validate(document.value)
        except ValidationError as error:
            known = set(document.bad)
            _report_all(document, error.errors())
            if document.bad == known or len(document.problems) >= MOST_PROBLEMS:
                break
        else:
            return None if document.problems else model
    return None


def _around_list(path: Path) -> Path:
    """Return the path of the list that an item is in: without the item it is not the list that was written."""
    positions = [index for index, part in enumerate(path) if isinstance(part, int)]
    return path[: positions[0]] if positions else path


def _repair(document: Document, path: Path) -> None:
    document.remove(path)
    if path not in document.kind.stand_ins:
        return
    node: Any = document.value
    for part in path[:-1]:
        if not isinstance(node, dict):
            return
        node = node.setdefault(str(part), {})
    if isinstance(node, dict):
        node[str(path[-1])] = copy.deepcopy(document.kind.stand_ins[path])


def _report_all(document: Document, errors: Sequence[Any]) -> None:
    paths = [_path(document, details["loc"]) for details in errors]
    # of a list with a bad item, a union reports the item and the list
    around = {path[:length] for path in paths for length in range(len(path))}
    document.more = document.more or len(errors) > MOST_PROBLEMS
    for path, details in list(zip(paths, errors, strict=True))[:MOST_PROBLEMS]:
        if path not in around:
            _report(document, path, details)


def _report(document: Document, path: Path, details: Any) -> None:
    """Add the problem behind one pydantic error, unless its path is known to be bad."""
    kind = details["type"]
    if kind == "value_error":
        _disagreement(document, path, str(details["ctx"]["error"]))
        return
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        if isinstance(document.value["method"], dict):
            path = (*path, "type")
            kind = "missing" if "type" not in document.value["method"] else "wrong"
    elif kind not in {"missing", "extra_forbidden"}:
        kind = "wrong"
    if path in document.bad:
        return
    document.bad.add(path)  # a union reports once for each of its members
    method = _method(document)
    if kind == "missing":
        problem = _missing(document, path, method)
    elif kind == "extra_forbidden":
        problem = _unknown(document, path, method)
    else:
        problem = _wrong(document, path, method)
    document.problems.append(problem)


def _path(document: Document, location: tuple[str | int, ...]) -> Path:
    """Return the path in the recipe of a pydantic location, which also names members of unions."""
    if location[:1] == ("method",) and location[1:2] and location[1] in METHODS:
        location = ("method", *location[2:])
    path: Path = ()
    node: Any = document.value
    for part in location:
        if isinstance(node, dict):
            # neither the name of a union's member nor the place in a list that was written without one
            if part in node or part in section_keys(
                path, _method(document), document.kind.schema()
            ):
                path = (*path, part)
                node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            path = (*path, part)
            node = node[part]
    return path


def _is_section(path: Path, method: str) -> bool:
    schema = section_schema(path, method)
    return "properties" in schema or "additionalProperties" in schema


def _value(document: Document, path: Path) -> Any:
    node: Any = document.value
    for part in path:
        node = node[part]
    return node


def _method(document: Document) -> str:
    method = document.value.get("method")
    name = method.get("type") if isinstance(method, dict) else method
    return name if isinstance(name, str) and name in METHODS else ""


def _schema(document: Document, path: Path, method: str) -> dict[str, Any]:
    if path == ("method", "type"):
        return {"enum": list(METHODS)}
    return section_schema(path, "" if path == ("method",) else method, document.kind.schema())


def _missing(document: Document, path: Path, method: str) -> Problem:
    return Problem(
        what=f"`{dotted(path)}` is missing",
        where=document.place(path),
        allowed=f"it must be {_words(_schema(document, path, method))}",
    )


def _words(schema: dict[str, Any]) -> str:
    required = join_and(schema.get("required", []))
    return allowed_words(schema) + (f" with {required}" if required else "")


def _unknown(document: Document, path: Path, method: str) -> Problem:
    section = path[:-1]
    owner = f"`{dotted(section)}`" if section else "a recipe"
    if section == ("method",):
        owner = f"method `{method}`"
    advice = document.kind.advise_key(path, method)
    return Problem(
        what=f"`{dotted(path)}` is not a setting of {owner}",
        where=document.place(path),
        allowed=""
        if advice
        else f"it has {join_and(section_keys(section, method, document.kind.schema()))}",
        advice=advice,
    )


def _wrong(document: Document, path: Path, method: str) -> Problem:
    schema = _schema(document, path, method)
    value = _value(document, path)
    numbers = number_schemas(schema)
    words = _words(schema)
    advice = advise_text(
        value, choices(schema), number=bool(numbers), flag="true" in words.split(", ")[0]
    )
    return Problem(
        what=f"`{dotted(path)}` is {shown(value)}",
        where=document.place(path),
        allowed=f"it must be {_short(value, numbers) or words}"
        if value != ""
        else "it must not be empty",
        advice=advice,
    )


def _short(value: Any, numbers: list[dict[str, Any]]) -> str:
    """Return the bound alone, where a value is a number of the right kind and only its size is wrong."""
    if len(numbers) != 1 or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if numbers[0]["type"] == "integer" and not isinstance(value, int):
        return ""
    if value != value or value in {float("inf"), float("-inf")}:
        return "a finite number"
    return bounds_words(numbers[0])


def _disagreement(document: Document, path: Path, message: str) -> None:
    """Add the problems of a check over several fields, one a line; the first name in a line is the culprit."""
    topics = [f"`{dotted(bad).removesuffix('.type')}" for bad in document.bad]
    for line in message.splitlines():
        what, _, allowed = line.partition("; ")
        if path:  # a section's own check names its settings from there
            what = what.replace("`", f"`{dotted(path)}.", 1)
        culprit = tuple(what.split("`")[1].partition(":")[0].split("."))
        document.bad.add(culprit)
        # a stand-in is in force there, which proves nothing
        if not any(topic in line for topic in topics):
            place = document.place(culprit)
            document.problems.append(Problem(what=what, where=place, allowed=allowed))


def suggest_file(name: str, known: Sequence[str]) -> str:
    """Return "did you mean" for a file that does not exist; empty if none is near."""
    near = closest(name, known)
    return f"did you mean `{near}`?" if near else ""
