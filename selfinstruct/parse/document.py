"""Reads replies that are JSON: an array, one object, a wrapper around an array, lines of objects, fenced or not."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import regex

from selfinstruct.labels import Part, label_of, without_no_input
from selfinstruct.types import Dropped, Task

_FENCED = regex.compile(
    r"(?:^|\n)[^\S\n]*+```(?:json[lc5]?|JSON[L]?|python|py|javascript|js)?[^\S\n]*+\n(?P<body>.*?)(?:\n[^\S\n]*+```|\Z)",
    flags=regex.DOTALL,
)
_OWN_LINE = regex.compile(r"\n[^\S\n]*+(?P<body>[\[{].*)", flags=regex.DOTALL)
_DEEPEST = 50
"""Levels of nesting a task may have: Python's decoder recurses, and no task is deeper than three."""


def read_documents(text: str) -> tuple[list[Task | Dropped], list[Dropped]] | None:
    """The tasks of a reply that is JSON, or None where it is not.

    A reply is JSON where it, or the fenced block it holds, begins with `[` or `{` and has an object in it with a
    task's keys. A last object that was cut is dropped as `broken_json`.
    """
    body = _json_text(text)
    if body is None or not any(label_of(key) for key in _keys(body)):
        return None
    found: list[Task | Dropped] = []
    for value in _values(body):
        found += [value] if isinstance(value, Dropped) else _tasks(value)
    if not any(isinstance(item, Task) for item in found) and all(
        isinstance(item, Dropped) and item.reason == "broken_json" for item in found
    ):
        return None if not found else (found, [])
    return found, []


_KEY = regex.compile(r"[{,]\s*+\"(?P<key>[^\"\\\n]{1,40})\"\s*+:")


def _keys(body: str) -> Iterator[str]:
    return (match["key"] for match in _KEY.finditer(body))


_NUMBERED = regex.compile(r"[*(（]*\p{Nd}{1,6}[.):．）][*]*[^\S\n]*+\{[^\S\n]*+\"")
"""`4. {"instruction": ...}`, a line for each."""


def _json_text(text: str) -> str | None:
    if "{" not in text and "[" not in text:
        return None
    first_line = text.partition("\n")[0]
    if _begins_with_label(first_line) and "'" not in first_line:
        return None
    assigned = _ASSIGNED.match(text)
    text = text[: assigned.end("before")] + text[assigned.end() :] if assigned else text
    if _PYTHON_KEY.search(text):
        text = _as_json(text)
    stripped = text.strip()
    if stripped.startswith(("[", "{")) or _NUMBERED.match(stripped):
        return stripped
    fenced = _FENCED.search(text)
    if not fenced:
        fenced = _OWN_LINE.search(text)
    if fenced and fenced["body"].lstrip().startswith(("[", "{")):
        # labels before a fence mean that the fence is part of an answer
        before = text[: fenced.start()]
        if not any(map(_begins_with_label, before.split("\n"))):
            # a second fenced block goes on after the first
            return text[fenced.start("body") :].strip()
    return None


def _begins_with_label(line: str) -> bool:
    head, colon, _ = line.partition(":")
    return bool(colon) and label_of(head.strip("*# 0123456789.")) is not None


_PYTHON_KEY = regex.compile(r"[{,]\s*+(?:'[^'\\\n]{1,40}'|“[^“”\n]{1,40}”)\s*+:")
_PYTHON = regex.compile(
    r"(?P<text>“[^“”]*+”|'(?:[^'\\\n]++|\\.)*+'|\"(?:[^\"\\\n]++|\\.)*+\")|\b(?P<name>None|True|False)\b"
)
_ASSIGNED = regex.compile(
    r"(?P<before>(?:[^\[{\n]*+\n)*+[^\S\n]*+)(?:(?:const|let|var)[^\S\n]+)?\w{1,30}[^\S\n]*=\s*(?=[\[{])"
)
"""`tasks = [`, as programs have it."""

_NAMES = {"None": "null", "True": "true", "False": "false"}


def _as_json(text: str) -> str:
    """Python's lists and dictionaries as JSON: texts between single or curly quotation marks, None, True, False."""
    return str(_PYTHON.sub(_token, text))


def _token(found: "regex.Match[str]") -> str:
    if found["name"]:
        return _NAMES[found["name"]]
    if found["text"].startswith('"'):
        return str(found["text"])
    return f'"{_ESCAPE.sub(_escaped, found["text"][1:-1])}"'


_ESCAPE = regex.compile(r"\\(?P<letter>.)|\"", flags=regex.DOTALL)
_JSON_ESCAPES = frozenset('"\\/bfnrtu')


def _escaped(found: "regex.Match[str]") -> str:
    """An escape of Python's as JSON has it; a quotation mark needs one in JSON alone."""
    letter = found["letter"]
    if letter is None:
        return '\\"'
    if letter in _JSON_ESCAPES:
        return str(found[0])
    return letter if letter == "'" else f"\\\\{letter}"


def _values(body: str) -> Iterator[Any]:
    """The JSON objects of a text, one after the other, whatever lies between them; what is broken as a `Dropped`."""
    decoder = json.JSONDecoder(strict=False)
    position = 0
    while (start := body.find("{", position)) >= 0:
        whole = _whole_object(decoder, body, start)
        if whole is not None:
            value, position = whole
            yield value
            continue
        end = _object_end(body, start)
        if end is None:
            wrapper = body.find("[", start)
            if (
                wrapper > 0
                and (inner := body.find("{", wrapper)) >= 0
                and position == 0
                and _opens_wrapper(body[start:wrapper])
            ):
                # a wrapper that was cut: its complete tasks are still whole
                position = inner
                continue
            yield Dropped(
                reason="broken_json", detail="an object that does not end", text=body[start:]
            )
            return
        try:
            yield _decoded(decoder, body[start:end])
        except (ValueError, RecursionError) as error:
            yield Dropped(reason="broken_json", detail=str(error)[:200], text=body[start:end])
        position = end


def _whole_object(decoder: json.JSONDecoder, body: str, start: int) -> tuple[Any, int] | None:
    """An object without a mistake and its end; None for others, and for those that may be nested too deep."""
    try:
        value, end = decoder.raw_decode(body, start)
    except (ValueError, RecursionError):
        return None
    opening = body.count("{", start, end) + body.count("[", start, end)
    return (value, end) if opening <= _DEEPEST else None


_LAST_COMMA = regex.compile(
    r"(?P<kept>\"(?:[^\"\\]++|\\.)*+\")|,(?P<end>\s*+[}\]])", flags=regex.DOTALL
)
"""A comma behind the last item, which JavaScript allows and JSON does not; texts between quotation marks are stepped over."""


def _decoded(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except ValueError:
        mended = _LAST_COMMA.sub(lambda found: found["kept"] or found["end"], text)
        if mended == text:
            raise
        return decoder.decode(mended)


def _opens_wrapper(head: str) -> bool:
    """Whether the text up to a bracket is `{"tasks":` and the like."""
    return bool(regex.fullmatch(r"\{\s*\"[^\"]{1,40}\"\s*:\s*", head))


_STRUCTURE = regex.compile(r"\"(?:[^\"\\]++|\\.)*+\"|[{}\[\]]|\"", flags=regex.DOTALL)


def _object_end(body: str, start: int) -> int | None:
    """Where the object that starts here ends, by counting brackets outside strings; None where it does not."""
    depth = 0
    for match in _STRUCTURE.finditer(body, start):
        mark = match[0]
        if mark in "{[":
            depth += 1
        elif mark in "}]":
            depth -= 1
            if depth == 0:
                return int(match.end())
        elif mark == '"':
            return None
        if depth > _DEEPEST:
            return None
    return None


def _tasks(value: object) -> list[Task | Dropped]:
    """The tasks of one JSON value: an object, or the lists of objects it holds."""
    if not isinstance(value, Mapping):
        return []
    parts = _parts(value)
    if "instruction" in parts or "output" in parts:
        instances = value.get("instances")
        if "output" not in parts and isinstance(instances, list):
            return [
                _task({**parts, **_parts(instance)}, value)
                for instance in instances
                if isinstance(instance, Mapping)
            ]
        return [_task(parts, value)]
    inner = [item for listed in value.values() if isinstance(listed, list) for item in listed]
    inner += [item for item in value.values() if isinstance(item, Mapping)]
    if inner:
        return [task for item in inner for task in _tasks(item)]
    return [
        Dropped(
            reason="missing_instruction",
            detail="an object without a task's keys",
            text=_shown(value),
        )
    ]


def _parts(value: Mapping[str, object]) -> dict[Part, str]:
    parts: dict[Part, str] = {}
    for key, text in value.items():
        part = label_of(key)
        if part and part not in parts:
            parts[part] = _written(text)
    return parts


def _written(value: object) -> str:
    """A field as text: strings as they are, null as nothing, anything else as the JSON it was."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _shown(value)


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _task(parts: Mapping[Part, str], value: object) -> Task | Dropped:
    if not parts.get("instruction", "").strip():
        return Dropped(
            reason="missing_instruction", detail="no instruction in the object", text=_shown(value)
        )
    if not parts.get("output", "").strip():
        return Dropped(
            reason="missing_output", detail="no output in the object", text=_shown(value)
        )
    return Task(
        instruction=parts["instruction"].strip(),
        input=without_no_input(parts.get("input", "")),
        output=parts["output"].strip("\n").rstrip(),
    )
