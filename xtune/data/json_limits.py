"""What JSON can say and a row cannot hold: half a character, or lists in lists without end; it reads nothing."""

import json
import re
from typing import Any

DEEPEST = 100
"""Levels of lists and objects in a row; ours: tool descriptions have ten, and Python's own limit is a thousand."""

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def unfit(value: Any, text: str | None) -> tuple[str, str] | None:
    """What is wrong with a JSON value and what is allowed; None if it is fit.

    `text` is what it was written as: most texts prove at a glance that nothing is wrong. None: it is not known.
    """
    suspect = text is None or text.count("[") + text.count("{") > DEEPEST
    if suspect and _is_deeper(value, DEEPEST):
        return f"is nested more than {DEEPEST} levels deep", "no row of text is"
    suspect = text is None or ("\\u" in text and _SURROGATE_ESCAPE.search(text) is not None)
    if suspect and not _is_encodable(value):
        return (
            r"holds half a surrogate pair (an escape \ud800 to \udfff alone)",
            "such text has no UTF-8 form",
        )
    return None


def _is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, (dict, list)) for item in level)
