"""Renders chat templates with strings that remember where each of their characters came from; it guesses nothing.

The texts of messages are `Tracked`: every character carries an owner. Jinja is made to keep the owners through
`+`, `~`, slices, string methods, filters, macros and loops. The rendering then says of each character which
text it was copied from, or None where the template wrote it. This is not how the package finds masks: it
swaps letters and compares renderings; this here runs on the true texts, and once.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.runtime
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils.chat_template_utils import _alias_reasoning_fields

Owner = tuple[int, str] | None


class Tracked(str):
    """A string with an owner for each character."""

    owners: tuple[Owner, ...]

    def __new__(cls, text: str, owners: Iterable[Owner] | None = None) -> "Tracked":
        made = super().__new__(cls, text)
        made.owners = (None,) * len(text) if owners is None else tuple(owners)
        assert len(made.owners) == len(text)
        return made

    def __str__(self) -> str:
        return self

    def __getitem__(self, index: Any) -> "Tracked":
        chosen = self.owners[index]
        one = not isinstance(index, slice)
        return Tracked(str.__getitem__(self, index), (chosen,) if one else chosen)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator["Tracked"]:  # type: ignore[override]
        return (self[n] for n in range(len(self)))

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other


def track(value: Any) -> Tracked:
    return value if isinstance(value, Tracked) else Tracked(str(value))


def joined(pieces: Iterable[Any]) -> Tracked:
    tracked = [track(piece) for piece in pieces]
    text = "".join(str.__str__(piece) for piece in tracked)
    return Tracked(text, (owner for piece in tracked for owner in piece.owners))


def _strip(text: Tracked, way: str, letters: str | None = None) -> Tracked:
    plain = str.__str__(text)
    start = len(plain) - len(plain.lstrip(letters)) if way != "rstrip" else 0
    end = len(plain.rstrip(letters)) if way != "lstrip" else len(plain)
    return text[start : max(start, end)]


def _split(text: Tracked, pieces: list[str], separator: str | None) -> list[Tracked]:
    found, position = [], 0
    for piece in pieces:
        if separator is None:
            position = str.find(text, piece, position)
        found.append(text[position : position + len(piece)])
        position += len(piece) + len(separator or "")
    return found


def _replace(text: Tracked, old: str, new: str, count: int = -1) -> Tracked:
    parts = str.split(text, old, count) if old else None
    if parts is None:
        return Tracked(str.replace(text, old, new, count))
    between: list[Any] = []
    for n, part in enumerate(_split(text, parts, old)):
        between += [new, part] if n else [part]
    return joined(between)


def method(text: Tracked, name: str, args: Any, kwargs: Any) -> Any:
    """What a method of str returns, with its owners where it returns text."""
    result = getattr(str, name)(str.__str__(text), *args, **kwargs)
    if name in {"strip", "lstrip", "rstrip"}:
        return _strip(text, name, *args)
    if name in {"split", "rsplit"}:
        separator = args[0] if args else kwargs.get("sep")
        return _split(text, result, separator)
    if name in {"partition", "rpartition"}:
        return tuple(_split(text, list(result), ""))
    if name == "replace":
        return _replace(text, *args, **kwargs)
    if name == "join":
        pieces: list[Any] = []
        for n, piece in enumerate(args[0]):
            pieces += [text, piece] if n else [piece]
        return joined(pieces)
    if name in {"removeprefix", "removesuffix"}:
        kept = len(result)
        return text[len(text) - kept :] if name == "removeprefix" else text[:kept]
    if name in {"upper", "lower", "title", "capitalize"} and len(result) == len(text):
        return Tracked(result, text.owners)
    if name == "splitlines":
        return _split(text, result, None)
    return result


def _indent(text: Any, width: int = 4, first: bool = False, blank: bool = False) -> Tracked:
    lines = str.split(str.__str__(text), "\n")
    pieces: list[Any] = []
    for n, line in enumerate(_split(track(text), lines, "\n")):
        pieces += ["\n"] if n else []
        pieces += [" " * width, line] if (n or first) and (blank or str.__str__(line)) else [line]
    return joined(pieces)


_PLACES = re.compile("\ue000([0-9]+)\ue001")


def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> Tracked:
    held: list[Tracked] = []

    def stand_in(item: Any) -> Any:
        if isinstance(item, Tracked):
            held.append(item)
            return f"\ue000{len(held) - 1}\ue001"
        if isinstance(item, Mapping):
            return {stand_in(key): stand_in(element) for key, element in item.items()}
        if isinstance(item, (list, tuple)):
            return [stand_in(element) for element in item]
        return item

    pieces = _PLACES.split(json.dumps(stand_in(value), ensure_ascii=False, **options))
    parts: list[Any] = []
    for n, piece in enumerate(pieces):
        if n % 2 == 0:
            parts.append(piece)
            continue
        for letter in held[int(piece)]:
            escaped = json.dumps(str.__str__(letter), ensure_ascii=ensure_ascii)[1:-1]
            parts.append(Tracked(escaped, letter.owners * len(escaped)))
    return joined(parts)


class _Generation(jinja2.ext.Extension):
    tags = {"generation"}  # noqa: RUF012 - jinja's own way

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> Any:
        return caller()


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+"})
    concat = staticmethod(joined)  # type: ignore[assignment]

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, str) and isinstance(right, str):
            return joined((left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        holder = getattr(obj, "__self__", None)
        if isinstance(holder, str) and hasattr(str, getattr(obj, "__name__", "")):
            given = {key: value for key, value in kwargs.items() if not key.startswith("_")}
            return method(track(holder), obj.__name__, args, given)
        return super().call(context, obj, *args, **kwargs)


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.filters["trim"] = lambda text, letters=None: _strip(track(text), "strip", letters)
    environment.filters["replace"] = lambda text, *args: _replace(track(text), *args)
    environment.filters["string"] = lambda value: value if isinstance(value, str) else str(value)
    environment.filters["join"] = lambda items, glue="", attribute=None: method(
        track(glue), "join", ([item[attribute] if attribute else item for item in items],), {}
    )
    environment.filters["safe"] = track
    environment.filters["indent"] = _indent
    for name in ("upper", "lower", "title", "capitalize"):
        environment.filters[name] = lambda text, name=name: method(track(text), name, (), {})
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _tracked_value(value: Any, owner: Owner) -> Any:
    if isinstance(value, str):
        return Tracked(value, [owner] * len(value))
    if isinstance(value, Mapping):
        return {key: _tracked_value(item, owner) for key, item in value.items()}
    if isinstance(value, list):
        return [_tracked_value(item, owner) for item in value]
    return value


def _tracked_parts(value: Any, owner: Owner) -> Any:
    """A text, or parts whose types are no one's."""
    if isinstance(value, list):
        return [{**part, "text": _tracked_value(part["text"], owner)} for part in value]
    return _tracked_value(value, owner)


def tracked_messages(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose content, reasoning and arguments are tracked."""
    tracked = []
    for index, message in enumerate(messages):
        made = dict(message)
        for key in ("content", "reasoning_content", "reasoning", "thinking"):
            if isinstance(made.get(key), (str, list)):
                made[key] = _tracked_parts(made[key], (index, key))
        if made.get("tool_calls"):
            made["tool_calls"] = [
                {
                    **call,
                    "function": {
                        **call["function"],
                        "arguments": _tracked_value(
                            call["function"]["arguments"], (index, "tool_calls")
                        ),
                    },
                }
                for call in made["tool_calls"]
            ]
        tracked.append(made)
    return _alias_reasoning_fields(tracked)


class TrackedTemplate:
    """A chat template compiled to keep owners."""

    def __init__(self, text: str, special_tokens: Mapping[str, Any]) -> None:
        self._special_tokens = dict(special_tokens)
        held = jinja2.runtime.str_join, jinja2.runtime.markup_join
        jinja2.runtime.str_join = jinja2.runtime.markup_join = joined  # type: ignore[assignment]
        try:
            self._template = _environment().from_string(text)
        finally:
            jinja2.runtime.str_join, jinja2.runtime.markup_join = held

    def render(
        self,
        messages: Iterable[Mapping[str, Any]],
        tools: Any = None,
        *,
        prompt: bool = False,
    ) -> Tracked:
        """The rendering with the owner of each character."""
        return track(
            self._template.render(
                messages=tracked_messages(messages),
                tools=tools,
                documents=None,
                add_generation_prompt=prompt,
                **self._special_tokens,
            )
        )
