"""The shapes of well-known models, recorded so that a plan needs no network; the hub's own files decide when a run starts."""

import copy
import functools
import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent / "model_configs"


def recorded_config(model_id: str) -> dict[str, Any] | None:
    """Return what the model's config.json says of its shape, under the file's own names; None if not recorded."""
    found = _by_id().get(model_id.casefold())
    return copy.deepcopy(found[1]) if found else None


def recorded_ids() -> list[str]:
    """Return the hub ids that `recorded_config` knows, sorted."""
    return sorted(name for name, _ in _by_id().values())


@functools.cache
def _by_id() -> dict[str, tuple[str, dict[str, Any]]]:
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted(_FOLDER.glob("*.json")):
        entry = json.loads(path.read_text(encoding="utf-8"))
        for name in entry["ids"]:
            known[name.casefold()] = (name, entry["config"])
    return known
