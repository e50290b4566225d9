"""The tasks of a reply together: what several rules ask of them, found once for all of them. It judges none."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from selfinstruct.rules.marks import kinds_of
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task

INSTRUCTION, INPUT, OUTPUT = range(3)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tasks in one language."""

    tasks: Sequence[Task]
    language: str
    settings: RuleSettings

    @cached_property
    def texts(self) -> Sequence[str]:
        """Instruction, input and output of one task behind those of the other."""
        return [text for task in self.tasks for text in (task.instruction, task.input, task.output)]

    @cached_property
    def _kinds(self) -> "NDArray[np.intp]":
        return kinds_of(self.texts).reshape(-1, 3)  # (tasks, parts)

    def have(self, kinds: int, *parts: int) -> list[bool]:
        """Which tasks have a character of some kinds of `marks` in any of some parts."""
        found = (self._kinds[:, list(parts)] & kinds) > 0  # (tasks, parts)
        having: list[bool] = np.any(found, axis=1).tolist()
        return having
