"""Reads replies in YAML, a mapping of a task's parts for each task, line by line; other YAML is none of its business.

No YAML library reads a whole reply: a reply is anything, and anchors and nesting can make one expand without bound.
A value is a block (`|`, `>`), a text between quotation marks, or plain text.
"""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import regex
import yaml

from selfinstruct.labels import Part, label_of, without_no_input
from selfinstruct.types import Dropped, Task

_FENCE = regex.compile(
    r"(?:^|\n)[^\S\n]*+```ya?ml[^\S\n]*+\n(?P<body>.*?)(?:\n[^\S\n]*+```|\Z)",
    flags=regex.DOTALL | regex.IGNORECASE,
)
_BARE = regex.compile(
    r"(?:---[^\S\n]*+\n)?(?:\w+:[^\S\n]*+\n)?[^\S\n]*+-[ ]+[\"']?\p{L}[\p{L}\p{M} _]{0,30}+[\"']?:(?:[ ]|\n)"
)
_HEAD = 200
"""Characters in which a list that is not fenced has begun."""

_KEY = regex.compile(
    r"(?P<indent>[ ]*)(?P<dash>-[ ]+)?(?P<quote>[\"']?)(?P<word>\p{L}[\p{L}\p{M}'’ _]{0,30})(?P=quote):(?:[ ]+(?P<rest>\S.*)?|)"
)
_BLOCK = regex.compile(r"(?P<style>[|>])[+\-0-9]{0,2}\s*(?:#.*)?")
_SEPARATOR = regex.compile(r"---\s*|\.\.\.\s*|\s*#.*|\s*")


class _Key(NamedTuple):
    line: int
    column: int
    opens: bool
    """Whether a dash stands before it: a task begins."""

    part: Part
    rest: str


def read_yaml(text: str) -> tuple[list[Task | Dropped], list[Dropped]] | None:
    """The tasks of a reply that is YAML, fenced as such or a list of mappings; None where it is not."""
    fenced: list[str] = []
    if "```" in text:
        fenced = [found["body"] for found in _FENCE.finditer(text)]
    if not fenced and not ("- " in text[:_HEAD] and _BARE.match(text.lstrip("\n"))):
        return None
    lines = "\n---\n".join(fenced or [text]).split("\n")
    keys = _keys(lines)
    if not any(key.part == "output" for key in keys) or not any(
        key.part == "instruction" for key in keys
    ):
        return None
    found = [_task(lines, own, end) for own, end in _mappings(lines, keys)]
    if not any(isinstance(item, Task) for item in found):
        return None
    return found, []


def _keys(lines: Sequence[str]) -> list[_Key]:
    """The lines that open a part, all of them in the column of the first one: deeper ones are text."""
    keys: list[_Key] = []
    for index, line in enumerate(lines):
        match = _KEY.fullmatch(line)
        part = label_of(match["word"]) if match else None
        if match is None or part is None:
            continue
        column = len(match["indent"]) + len(match["dash"] or "")
        if not keys or column == keys[0].column:
            keys.append(_Key(index, column, bool(match["dash"]), part, match["rest"] or ""))
    return keys


def _mappings(lines: Sequence[str], keys: Sequence[_Key]) -> list[tuple[list[_Key], int]]:
    """The keys of each task, and the line where the task ends."""
    groups: list[list[_Key]] = []
    for key in keys:
        last = groups[-1] if groups else None
        parted = last is not None and any(
            lines[line].startswith("---") for line in range(last[-1].line + 1, key.line)
        )
        if last is None or key.opens or parted or any(one.part == key.part for one in last):
            groups.append([key])
        else:
            last.append(key)
    ends = [group[0].line for group in groups[1:]] + [len(lines)]
    return list(zip(groups, ends, strict=True))


def _task(lines: Sequence[str], own: Sequence[_Key], end: int) -> Task | Dropped:
    stops = [key.line for key in own[1:]] + [end]
    parts = {
        key.part: _value(key.rest, lines[key.line + 1 : stop])
        for key, stop in zip(own, stops, strict=True)
    }
    text = "\n".join(lines[own[0].line : end]).strip()
    for part in ("instruction", "output"):
        if not parts.get(part, "").strip():
            detail = f"no {part} in the mapping"
            return Dropped(reason=f"missing_{part}", detail=detail, text=text)
    return Task(
        instruction=parts["instruction"].strip(),
        input=without_no_input(parts.get("input", "")),
        output=parts["output"].strip("\n").rstrip(),
    )


def _value(rest: str, below: Sequence[str]) -> str:
    """The text of a value that begins behind its key and goes on in the lines below."""
    body = list(below)
    while body and _SEPARATOR.fullmatch(body[-1]):
        body.pop()
    block = _BLOCK.fullmatch(rest)
    if block or not rest:
        text = textwrap.dedent("\n".join(body))
        return text if not block or block["style"] == "|" else _folded(text.split("\n"))
    whole = "\n".join([rest, *(line.strip() for line in body)])
    if rest[0] in "\"'" and whole.rstrip().endswith(rest[0]):
        try:
            value = yaml.load(whole, Loader=yaml.BaseLoader)  # one scalar
        except (yaml.YAMLError, RecursionError, ValueError):
            return whole.strip()[1:-1]
        return value if isinstance(value, str) else whole.strip()[1:-1]
    return _folded(whole.split("\n")) if body else rest


def _folded(lines: Sequence[str]) -> str:
    """Lines as YAML folds them: a line break is a space, an empty line a line break (YAML 1.2, section 6.5)."""
    folded = ""
    for line in lines:
        stripped = line.strip()
        joint = "" if not folded or folded.endswith("\n") or not stripped else " "
        folded += joint + stripped if stripped else "\n"
    return folded
