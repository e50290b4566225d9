"""Whether an answer is the expected one, and how sure a share of right answers is. No model here."""

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

THOUGHT_END = "</think>"
"""Ends the reasoning that templates of thinking models (Qwen3, DeepSeek-R1) put before the answer."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of several rows are right."""

    right: int
    rows: int

    @property
    def value(self) -> float:
        """Between 0 and 1."""
        return self.right / self.rows

    @property
    def standard_error(self) -> float:
        """sqrt(p (1 - p) / n), the binomial standard error."""
        return math.sqrt(self.value * (1 - self.value) / self.rows)

    def __str__(self) -> str:
        return f"{self.value:.1%} ± {self.standard_error:.1%}"

    def to_json(self) -> dict[str, float]:
        """For evaluation.json."""
        return {
            "right": self.right,
            "rows": self.rows,
            "value": self.value,
            "standard_error": self.standard_error,
        }


def share(marks: Sequence[bool]) -> Share | None:
    """The share of true marks; None without any."""
    return Share(right=sum(marks), rows=len(marks)) if marks else None


def final_answer(text: str, *, expected: str) -> str:
    """The answer without the reasoning before it, unless the expected text has reasoning too.

    Qwen3's template writes an empty `<think></think>` before every answer it trains on, so a
    perfect answer begins with one although the data has none.
    """
    if THOUGHT_END in expected:
        return text
    return text.rpartition(THOUGHT_END)[2]


def is_exact(answer: str, expected: str) -> bool:
    """Equality of the texts after NFC and without white space around them."""
    return _plain(answer) == _plain(expected)


def is_same_json(answer: str, expected: str) -> bool:
    """Equality of what the texts mean as JSON: spacing and the order of keys play no part."""
    theirs, ours = parse_json(answer), parse_json(expected)
    return theirs is not None and ours is not None and _comparable(theirs) == _comparable(ours)


def parse_json(text: str) -> dict[str, Any] | list[Any] | None:
    """The JSON object or array that the whole text is; None for anything else."""
    try:
        value = json.loads(_plain(text), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _comparable(value: Any) -> Any:
    """The value in a form where Python's equality is JSON's: True is not 1, but 1 is 1.0."""
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return ("boolean", value) if isinstance(value, bool) else value
