"""Everything decided before a byte is loaded: a pure function from recipe, hardware and model sizes to a plan with reasons."""

from xtune.plan.resolve import resolve, run_folder
from xtune.plan.types import Choice, Plan

__all__ = ["Choice", "Plan", "resolve", "run_folder"]
