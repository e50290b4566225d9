"""Reads YAML text into plain values with the line of each, reporting everything that a recipe may not hold.

It works on PyYAML's events, not on its constructors: no tag ever becomes a Python object, no alias
multiplies a value, and depth and size are bounded before anything is built.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from xtune.errors import Problem
from xtune.recipe.document import Document, Kind, Path, dotted, one_line, shown, shown_key
from xtune.recipe.scalars import resolve_scalar, sound_text

# Ours: a recipe has some 60 lines and four levels; this leaves room for long lists of files and tokens.
MOST_BYTES = 256 * 1024
_MOST_LEVELS = 12

_NOTHING = object()


class _Stop(Exception):  # noqa: N818 - ends the reading of one text; the problem is recorded already
    """The text cannot be read further."""


def parse_recipe_text(raw: bytes, source: str, kind: Kind) -> Document:
    """Read a recipe file's bytes; whatever is wrong is in the document's `problems`."""
    document = Document(source=source, kind=kind)
    reader = _Reader(document, places=source)
    try:
        value = reader.read(reader.decode(raw))
    except _Stop:
        document.readable = False
        return document
    if isinstance(value, dict):
        document.value = value
        return document
    document.readable = False
    if value is None or value is _NOTHING:
        what = "the recipe is empty"
    else:
        found = "a list" if isinstance(value, list) else f"only {shown(value)}"
        what = f"the recipe is {found}"
    if not document.problems:
        allowed = f"it must hold the sections {kind.sections}"
        document.problems.append(Problem(what=what, where=source, allowed=allowed))
    return document


def parse_value(text: str, path: Path, document: Document, *, place: str) -> Any:
    """Read one value given on the command line, in flow style, into the places and problems of a document.

    Raises:
        ValueError: If it cannot be read; the problem is recorded already.
    """
    reader = _Reader(document, places="", fixed_place=place)
    try:
        value = reader.read(text, path)
    except _Stop:
        raise ValueError("unreadable") from None
    if value is _NOTHING:
        raise ValueError("unreadable")
    return value


class _Reader:
    """One pass over the events of one text."""

    def __init__(self, document: Document, *, places: str, fixed_place: str = "") -> None:
        self.document = document
        self.source = places
        self.fixed_place = fixed_place
        self.events: Iterator[Any] = iter(())
        self.aside = 0
        """Above zero while a value is read that is not kept, only for the problems in it."""

    def decode(self, raw: bytes) -> str:
        """Return the text of a file."""
        if len(raw) > MOST_BYTES:
            raise self.stop(f"the recipe is longer than {MOST_BYTES:,} bytes", 0, "shorten it")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start)
            what = f"byte 0x{raw[error.start]:02X} is not UTF-8"
            raise self.stop(what, line, "a recipe is UTF-8 text") from None

    def read(self, text: str, path: Path = ()) -> Any:
        """Return the one value of a text; `_NOTHING` if it has none that can be used."""
        self.check_characters(text)
        self.events = yaml.parse(text, Loader=yaml.SafeLoader)
        event = self.next()
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self.node(event, path, 0)
        self.next()
        after = self.next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise self.stop(
                "a second document begins", after.start_mark.line, "one file is one recipe"
            )
        return value

    def check_characters(self, text: str) -> None:
        found = yaml.reader.Reader.NON_PRINTABLE.search(text)
        if found:
            line = text.count("\n", 0, found.start())
            what = f"the character U+{ord(found.group()):04X} is not allowed in YAML"
            raise self.stop(what, line, "remove it")

    def next(self) -> Any:
        """Return the next event.

        Raises:
            _Stop: If the text is not YAML from here on; the problem is recorded.
        """
        try:
            return next(self.events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what, allowed = _explain(str(error.problem))
            raise self.stop(what, mark.line if mark else 0, allowed) from None
        except (ValueError, OverflowError):
            # PyYAML reads an escape such as "\UFFFFFFFF" without a check of its own
            raise self.stop("a `\\U` escape is not a character", 0, "write it itself") from None
        except StopIteration:
            raise self.stop("the text ends too early", 0, "finish it") from None

    def stop(self, what: str, line: int, allowed: str) -> _Stop:
        """Record what ends the reading, and return the exception to raise."""
        self.problem(what, self.place(line), allowed)
        return _Stop()

    def problem(self, what: str, place: str, allowed: str, advice: str = "") -> None:
        found = Problem(what=what, where=place, allowed=allowed, advice=advice)
        self.document.problems.append(found)

    def place(self, line: int) -> str:
        return self.fixed_place or f"{self.source}:{line + 1}"

    def node(self, event: Any, path: Path, level: int) -> Any:
        """Build the value that starts with this event."""
        place = self.place(event.start_mark.line)
        name = f"`{dotted(path)}`" if path else "the recipe"
        if level > _MOST_LEVELS:
            raise self.stop(
                f"{name} is nested too deeply",
                event.start_mark.line,
                f"{_MOST_LEVELS} levels are the limit",
            )
        if path and not self.aside:
            self.document.places[path] = place
        if isinstance(event, yaml.AliasEvent):
            self.problem(
                f"{name} is `*{one_line(event.anchor or '')}`, a reference to another value",
                place,
                "a recipe is complete in itself",
                f'write the value out; text that begins with `*` needs quotes: "*{one_line(event.anchor or "")}"',
            )
            return self.refuse(path)
        if event.tag is not None:
            tag = one_line(event.tag.replace("tag:yaml.org,2002:", "!!"))
            self.problem(
                f"{name} has the YAML tag `{tag}`",
                place,
                "a recipe has no tags",
                "write the plain value; text that begins with `!` needs quotes",
            )
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self.mapping(path, level)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(path, level)
        else:
            value = self.scalar(event, path, place, name)
        return value if event.tag is None else self.refuse(path)

    def refuse(self, path: Path) -> object:
        if not self.aside:
            self.document.bad.add(path)
        return _NOTHING

    def scalar(self, event: yaml.ScalarEvent, path: Path, place: str, name: str) -> Any:
        try:
            if event.style:  # quoted, or a block of text
                return sound_text(event.value)
            return resolve_scalar(event.value)
        except ValueError as error:
            self.problem(f"{name} {error}", place, "")
            return self.refuse(path)

    def sequence(self, path: Path, level: int) -> Any:
        items: list[Any] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            items.append(self.node(event, (*path, len(items)), level + 1))
        # a list that lacks an item is not the list that was written
        return self.refuse(path) if any(item is _NOTHING for item in items) else items

    def mapping(self, path: Path, level: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self.key(event, path, level)
            if key is None or key in lines:
                if key is not None:
                    self.duplicate((*path, key), lines[key], event.start_mark.line)
                self.read_aside(self.next(), (*path, key or "?"), level)
                continue
            lines[key] = event.start_mark.line
            value = self.node(self.next(), (*path, key), level + 1)
            # the key's line is where a person looks, the value may start further down
            if not self.aside:
                self.document.places[(*path, key)] = self.place(event.start_mark.line)
            if value is not _NOTHING:
                items[key] = value
        return items

    def read_aside(self, event: Any, path: Path, level: int) -> None:
        """Read a value that is not kept."""
        self.aside += 1
        self.node(event, path, level + 1)
        self.aside -= 1

    def duplicate(self, path: Path, first: int, second: int) -> None:
        what = f"`{dotted(path)}` is written twice"
        place = self.fixed_place or f"{self.place(first)} and {second + 1}"
        self.problem(what, place, "keep one of them")

    def key(self, event: Any, path: Path, level: int) -> str | None:
        """Return a key; None, with the problem recorded, if it is none."""
        place = self.place(event.start_mark.line)
        around = f" under `{dotted(path)}`" if path else ""
        if not isinstance(event, yaml.ScalarEvent):
            self.problem(f"a key{around} is not a name", place, "keys are plain names")
            if not isinstance(event, yaml.AliasEvent):
                self.read_aside(event, (*path, "?"), level)
            return None
        if event.tag is not None:
            self.problem(f"a key{around} has a YAML tag", place, "keys are plain names")
            return None
        if event.value == "<<" and not event.style:
            self.problem(
                f"`<<`{around} merges another section",
                place,
                "a recipe is complete in itself",
                "write the keys out",
            )
            return None
        return self.plain_key(event, around, place)

    def plain_key(self, event: yaml.ScalarEvent, around: str, place: str) -> str | None:
        try:
            value = sound_text(event.value) if event.style else resolve_scalar(event.value)
        except ValueError as error:
            self.problem(f"the key `{shown_key(event.value)}`{around} {error}", place, "")
            return None
        if isinstance(value, str):
            return value
        self.problem(
            f"the key `{shown_key(event.value)}`{around} is {'empty' if value is None else 'not text'}",
            place,
            "keys are names",
            "" if value is None else f'as a name it needs quotes: "{shown_key(event.value)}"',
        )
        return None


def _explain(problem: str) -> tuple[str, str]:
    """Return what is wrong and what is right, in words for people who do not know YAML's grammar."""
    if "'\\t'" in problem:
        return "a tab is used", "YAML wants spaces"
    if "mapping values are not allowed" in problem:
        return "a `:` is not expected here", "check the indentation, and quote text that holds `: `"
    if "could not find expected ':'" in problem:
        return "a key without `:`", "write `key: value`"
    if "expected <block end>" in problem:
        return "the indentation does not fit the lines above", "align keys that belong together"
    if "unexpected end of stream" in problem or "<stream end>" in problem:
        return "a quote or bracket is not closed", "close it"
    if "expected alphabetic or numeric character" in problem:
        return "a value begins with `*` or `&`", "put quotes around it"
    if "cannot start any token" in problem:
        character = problem.split("'")[1] if "'" in problem else "?"
        return f"a value begins with `{character}`", "put quotes around it"
    return f"this is not YAML: {one_line(problem)}", "check quotes, brackets and indentation"
