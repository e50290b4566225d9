"""What a prediction of a step's bytes consists of; computes none."""

from collections.abc import Mapping
from dataclasses import dataclass

RESIDENT = ("weights", "embeddings", "head", "adapter", "optimizer")
"""Items that are there from the first step to the last."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Computed bytes by item. They do not all exist at one time; `moving_bytes` says what does."""

    items: Mapping[str, int]
    step_bytes: int
    """The largest sum of what comes and goes in a step."""

    stored_state_bytes: int = 0
    """Of the optimizer's states in a checkpoint."""

    @property
    def resident_bytes(self) -> int:
        """What is there from the first step to the last."""
        return sum(self.items[name] for name in (*RESIDENT, "context"))

    @property
    def peak_bytes(self) -> int:
        """The largest sum of what exists at one time, and the reserve."""
        return self.resident_bytes + self.moving_bytes + self.items["reserve"]

    @property
    def tensor_bytes(self) -> int:
        """The most that a step's tensors take together, which a simulation of it finds: nothing set aside, and nothing of loading."""
        return self.resident_bytes - self.items["context"] + self.step_bytes

    @property
    def moving_bytes(self) -> int:
        """The largest sum of what comes and goes, in a step or while the base is loaded, when adapter and states are not there yet."""
        return max(self.step_bytes, self.items["load"])

    def to_json(self) -> dict[str, int]:
        """Bytes by item, and the peak."""
        return {**self.items, "peak": self.peak_bytes}
