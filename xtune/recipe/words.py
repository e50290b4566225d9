"""Overrides of a recipe from Python, as the words a person would type; what they mean is in `read`."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, TypeAlias

from xtune.errors import XtuneError

Overrides: TypeAlias = Mapping[str, Any] | Sequence[str]
"""`{"train.learning_rate": 1e-4}`, or `["train.learning_rate=1e-4"]`, or one such text."""


def as_words(overrides: Overrides) -> Sequence[str]:
    """Overrides as a person would type them: `train.learning_rate=0.0001`.

    Raises:
        XtuneError: A value cannot be written in a recipe.
    """
    if isinstance(overrides, str):
        return [overrides]
    if isinstance(overrides, Mapping):
        return [f"{key}={_as_yaml(key, value)}" for key, value in overrides.items()]
    return overrides


def _as_yaml(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=_plain)  # JSON is YAML's flow style
    except TypeError:
        raise XtuneError(
            f"`{key}` is a {type(value).__name__}, which no recipe can hold; "
            "it must be a text, a number, a truth value, a path, or a list or mapping of those."
        ) from None


def _plain(value: Any) -> Any:
    """Paths as texts, and numbers of NumPy and torch as Python's.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, PathLike):
        return fspath(value)
    if getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError
