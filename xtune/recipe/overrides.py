"""Applies `section.key=value` arguments of the command line to a recipe that was read; checks their form, not their sense."""

from collections.abc import Sequence
from typing import Any

from xtune.errors import Problem
from xtune.recipe.document import Document, Path, dotted, one_line, shown, shown_key
from xtune.recipe.scalars import resolve_scalar
from xtune.recipe.yaml_lines import parse_value

_NESTED = ("[", "{", '"', "'")


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Write each override into the document, in order; a later one wins."""
    for override in overrides:
        place = f"command line: {one_line(override)}"
        path = _split(document, override, place)
        if path is None:
            continue
        try:
            value = _value(document, override.partition("=")[2].strip(), path, place)
        except ValueError:
            document.bad.add(path)
            continue
        if document.readable:
            _write(document, path, value, place)


def _split(document: Document, override: str, place: str) -> Path | None:
    left, equals, _ = override.partition("=")
    parts = left.strip().split(".")
    if equals and all(parts) and not left.startswith("-"):
        return tuple(parts)
    advice = ""
    if override.startswith("-"):
        advice = "settings of the recipe have no dashes in front."
    document.problems.append(
        Problem(
            what=f"`{shown_key(override)}` sets nothing",
            where=place,
            allowed=f"write `section.key=value`, `{document.kind.example}` say",
            advice=advice,
        )
    )
    return None


def _value(document: Document, text: str, path: Path, place: str) -> Any:
    document.forget_places(path)
    document.bad = {bad for bad in document.bad if bad[: len(path)] != path}
    if text.startswith(_NESTED):
        return parse_value(text, path, document, place=place)
    try:
        # no flow style: what follows is one scalar, so a `*` or a `: ` needs no quotes here
        return resolve_scalar(text)
    except ValueError as error:
        document.problems.append(Problem(what=f"`{dotted(path)}` {error}", where=place))
        raise


def _write(document: Document, path: Path, value: Any, place: str) -> None:
    node = document.value
    for length, part in enumerate(path[:-1], start=1):
        here = path[:length]
        child = node.get(str(part))
        if here == ("method",) and isinstance(child, str):
            child = {"type": child}  # `method: lora` is short for `method: {type: lora}`
        if child is None or (here == ("memory",) and child == "auto"):
            child = {}
            document.places[here] = place
        if not isinstance(child, dict):
            what = f"`{dotted(here)}` is {shown(child)}"
            where = f"{document.place(here)}; {place}"
            allowed = f"it has no `{dotted(path[length:])}` to set"
            document.problems.append(Problem(what=what, where=where, allowed=allowed))
            return
        node[str(part)] = child
        node = child
    node[str(path[-1])] = value
    document.places[path] = place
