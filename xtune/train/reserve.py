"""What torch's allocator holds beyond what is in use, as it was measured in a run's first steps; kept in the run's folder.

The plan sets a tenth of what moves aside for it, which is a guess. Here it is measured, before memory ever runs out, and
remembered: where memory does run out, in this process or in one that goes on after it, the next plan is made with it.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from xtune.memory import GIB
from xtune.plan import Plan
from xtune.run.observer import BaseObserver, StartInfo, StepMetrics

FILE = "memory.json"
STEPS = 5
"""Steps that are watched: the first makes the optimizer's states, and batches differ in length."""

LEAST_USABLE = 0.75
"""An allocator with room to spare holds what it could let go; published runs lie 5 to 25 % above what is in use."""


@dataclass(frozen=True)
class Held:
    """An allocator at its fullest, bytes."""

    allocated: int
    """In use at most."""

    reserved: int
    """Held at most, in use or not."""

    @property
    def usable(self) -> float:
        """Part of what was held that could be used, in what a plan may believe of it."""
        return min(1.0, max(LEAST_USABLE, self.allocated / max(1, self.reserved)))

    @property
    def lost(self) -> int:
        """Bytes between blocks, and in blocks that nobody wanted."""
        return max(0, self.reserved - self.allocated)

    def worse(self, other: "Held | None") -> "Held":
        """The one of the two of which less could be used."""
        return self if other is None or self.usable <= other.usable else other


def held_here() -> Held | None:
    """What torch measured in this process; None where it has not used CUDA."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # asking would start it, for a run on the processor
        return None
    return Held(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())


def measure_afresh() -> None:
    """Give back what loading left to the allocator, and forget how full it was meanwhile: steps are measured."""
    if held_here() is not None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def read_held(folder: Path) -> Held | None:
    """What an earlier process measured in this run; None: nothing, or nothing that can be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Held(int(found["allocated_bytes"]), int(found["reserved_bytes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it only helps


def write_held(folder: Path, held: Held) -> None:
    """Remember it in the run's folder, as far as the disk allows."""
    text = {"allocated_bytes": held.allocated, "reserved_bytes": held.reserved}
    with contextlib.suppress(OSError):
        (folder / FILE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


class ReserveWatch(BaseObserver):
    """Watches the first steps of a run, and again where it goes on with another plan.

    Args:
        folder: The run's.
        tell: Hears once if more is lost than the plan set aside.
        measure: What tells how full the allocator was.
    """

    def __init__(
        self,
        folder: Path,
        tell: Callable[[str], None],
        measure: Callable[[], Held | None] = held_here,
    ) -> None:
        self._folder, self._tell, self._measure = folder, tell, measure
        self._plan: Plan | None = None
        self._left = STEPS
        self.held = read_held(folder)
        """The worst so far, of earlier processes too; None: nothing was measured."""

    def on_start(self, start: StartInfo) -> None:
        """Take note of the plan."""
        self.start_over(start.plan)

    def start_over(self, plan: Plan) -> None:
        """Watch the first steps with this plan."""
        self._plan, self._left = plan, STEPS

    def on_step(self, metrics: StepMetrics) -> None:
        """Measure after each of the first steps, and write down what is new."""
        del metrics
        if self._left == 0:
            return
        self._left -= 1
        self.look()
        if self._left == 0 and (sentence := self._sentence()):
            self._tell(sentence)

    def look(self) -> None:
        """Measure now."""
        found = self._measure()
        if found is not None and found.reserved > 0 and found.worse(self.held) is found:
            self.held = found
            write_held(self._folder, found)

    def usable(self) -> float:
        """Part of what the allocator holds that can be used: the worst that was measured; 1 where nothing was."""
        return 1.0 if self.held is None else self.held.usable

    def _sentence(self) -> str | None:
        """None: the plan's guess holds, or nothing is known."""
        predicted = self._plan.predicted if self._plan else None
        if self.held is None or predicted is None or self.held.lost <= predicted.items["reserve"]:
            return None
        return (
            f"The allocator held {self.held.lost / GIB:.2f} GiB beside what was in use; "
            f"{predicted.items['reserve'] / GIB:.2f} GiB were set aside for it. If memory runs out, the next plan leaves as much."
        )
