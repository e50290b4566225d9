"""Writes a recipe as YAML: every setting, so that the text means the same when a later version has other defaults."""

import json
import re
from typing import Any

from xtune.recipe.models import Recipe, Spec
from xtune.recipe.scalars import resolve_scalar

# Plain text that no reader of YAML takes for anything else.
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+-]*")
# YAML 1.1 readers, PyYAML among them, take these for booleans.
_WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})


def dump_recipe(recipe: Recipe) -> str:
    """Return YAML that reads back to an equal recipe.

    Every setting is written; one that has its default value is marked `# default`, so what
    was asked for stands out.
    """
    lines: list[str] = []
    for name in type(recipe).model_fields:
        value = getattr(recipe, name)
        if isinstance(value, Spec):
            lines += ["", f"{name}:", *_section(value)]
        else:
            lines.append(_line(recipe, name))
    return "\n".join(lines).lstrip("\n") + "\n"


def _section(section: Spec) -> list[str]:
    names = list(type(section).model_fields)
    if "type" in names:  # the tag first: it says what the rest means
        names = ["type", *(name for name in names if name != "type")]
    return [f"  {_line(section, name)}" for name in names]


def _line(section: Spec, name: str) -> str:
    value = getattr(section, name)
    field = type(section).model_fields[name]
    default = not field.is_required() and name != "type" and value == field.default
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]  # a list of one is written as the one
    return f"{name}: {_flow(value)}{'  # default' if default else ''}"


def _flow(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Spec):
        given = {
            name: getattr(value, name)
            for name in type(value).model_fields
            if name in value.model_fields_set
        }
        return _flow(value.source if set(given) == {"source"} else given)  # type: ignore[attr-defined]
    if isinstance(value, tuple):
        return f"[{', '.join(_flow(item) for item in value)}]"
    return f"{{{', '.join(f'{_text(key)}: {_flow(item)}' for key, item in value.items())}}}"


def _text(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    if plain and isinstance(resolve_scalar(text), str) and not text[0].isdigit():
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(
        character if character.isprintable() else _escaped(character) for character in quoted
    )


def _escaped(character: str) -> str:
    # raw line separators fold inside quotes, and YAML forbids raw control characters
    code = ord(character)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
