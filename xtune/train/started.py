"""A run that was started before: what was decided for it then holds today, too. Loads nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from xtune.plan import Choice, Plan
from xtune.run.folder import PLAN, RunFolder


def as_started(plan: Plan) -> Plan:
    """The plan with what was decided when the run in its folder was started, so that going on computes the same.

    A device's free memory decides the split of a step and more, and is another one today. On another
    kind of device, or with another number of processes, the plan of today holds.
    """
    old = _started(plan)
    if old is None or has_moved(plan):
        return plan
    known: dict[str, Any] = {name: old[name] for name in plan.choices() if name in old}
    return replace(plan, **{**known, "folder": plan.folder})


def has_moved(plan: Plan) -> bool:
    """Whether the run in the plan's folder was started on another kind of device or with other processes."""
    old = _started(plan)
    if old is None:
        return False
    return (old["world_size"].value, old["device"].value) != (plan.world_size, plan.device.value)


def is_forgotten(plan: Plan) -> bool:
    """Whether there is a run in the plan's folder, and its note of what was decided for it is damaged or gone."""
    return RunFolder(Path(plan.folder.value)).holds_run and _started(plan) is None


def _started(plan: Plan) -> dict[str, Choice[Any]] | None:
    """The choices of the run in the plan's folder, its number of processes as one of them; None without a run."""
    folder = RunFolder(Path(plan.folder.value))
    if not folder.holds_run:
        return None
    try:
        old = json.loads((folder.path / PLAN).read_text(encoding="utf-8"))
        choices = {name: Choice(**choice) for name, choice in old["choices"].items()}
        return {"device": plan.device, "world_size": Choice(old["world_size"], ""), **choices}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a damaged note decides nothing
