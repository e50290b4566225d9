"""What a line of a pool must hold, whoever wrote it; what it means is for those who read it."""

from collections.abc import Mapping
from typing import Any

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "kept": ("prompt", "id", "instruction", "input", "output"),
    "dropped": ("prompt", "reason", "detail", "text"),
    "reply": ("prompt", "finish_reason", "model"),
}
"""The fields of each event that are texts."""

_COUNTS = ("prompt_tokens", "completion_tokens")


def is_event(row: Mapping[str, Any]) -> bool:
    """Whether a line is one that a run may have written, or a person may have edited with care."""
    kind = row.get("event")
    texts = _TEXTS.get(kind) if isinstance(kind, str) else None
    if texts is None:
        return False
    if not all(isinstance(row.get(name), str) for name in texts):
        return False
    if kind == "reply" and not all(isinstance(row.get(name), int) for name in _COUNTS):
        return False
    parts = row["prompt"].split("/")
    return len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal()
