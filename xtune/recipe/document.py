"""A recipe as plain values, each with the place it was written at; nothing here knows what a recipe means."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xtune.errors import Problem

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top: ("data", "train", 1)."""

_LONGEST_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a YAML file is to become: its model, and the words for what is wrong with it."""

    model: Any
    """The pydantic model of the whole file."""

    schema: Callable[[], dict[str, Any]]
    """Its JSON Schema."""

    sections: str
    """The sections that a file must hold, in words."""

    example: str
    """A setting on the command line, as an example."""

    stand_ins: Mapping[Path, Any]
    """Where a required value is wrong, one that is right stands in for it while the rest is checked."""

    advise_key: Callable[[Path, str], str]
    """Advice on an unknown key of a path under a method; empty where there is none."""


@dataclass(kw_only=True)
class Document:
    """Values with places, and what is already known to be wrong with them."""

    source: str
    """What the file is called in messages."""

    kind: Kind

    value: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)
    """Where each path was written: "recipes/x.yaml:7" or "command line: train.rank=0"."""

    problems: list[Problem] = field(default_factory=list)
    bad: set[Path] = field(default_factory=set)
    """Paths that have a problem already and no value."""

    more: bool = False
    """Whether there are problems beyond those in `problems`."""

    readable: bool = True
    """Whether `value` holds the whole file; otherwise the file's syntax ended the reading."""

    def place(self, path: Path) -> str:
        """Return where the path was written, or where the nearest section around it was."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.source

    def remove(self, path: Path) -> None:
        """Take out the value at the path, so that the rest can be checked without it."""
        node: Any = self.value
        for part in path[:-1]:
            if not isinstance(node, dict) or part not in node:
                return
            node = node[part]
        if isinstance(node, dict):
            node.pop(path[-1], None)

    def forget_places(self, path: Path) -> None:
        """Drop the places of the path and of everything below it."""
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]


def dotted(path: Path) -> str:
    """Return a path as people write it: `data.train[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shown_key(part)}" if text else shown_key(part)
    return text


def shown_key(key: str) -> str:
    """Return a key on one short line that can be printed."""
    return _shorten(printable(key))


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, on one line, printable."""
    if value is None:
        return "empty (null)"
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, str):
        return _shorten(json.dumps(printable(value), ensure_ascii=False).replace("\\\\", "\\"))
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return "a section"
    return str(value)


def one_line(text: str) -> str:
    """Return foreign text fit for a message: one short, printable line."""
    return _shorten(printable(text))


def printable(text: str) -> str:
    """Return text in which nothing moves the cursor, hides, or breaks the terminal's encoding."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
