"""A dense block beside the experts of a mixture, which every token visits. Closed formulas; letters as in `kept`, its width is z.

Qwen2-MoE computes it before the experts and multiplies what it gives by a gate; ERNIE and Hunyuan compute it before them too; DeepSeek
and those that took after it (GLM 4, dots) behind them, so that it goes back first, while everything of the experts is still there.
"""

from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.workload import Workload


class SharedExpert:
    """The shared expert of one layer; nothing at all where there is none."""

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        self.c, self.h, self.z = work.compute_bytes, shape.hidden, shape.shared_intermediate
        self._first = shape.shared_linears[:-1]
        self._last = shape.shared_linears[-1] if shape.shared_linears else None
        self.comes_last = shape.shared == "after"

    @property
    def reads(self) -> int:
        """Copies of the normalised input that its first layers keep."""
        return self._copies(self._first)

    def _copies(self, linears: tuple[Linear, ...]) -> int:
        work = self.work
        if work.is_full:
            return len(linears) if self.c < work.weight_bytes else min(1, len(linears))
        adapted = sum(self.shape.adapts(each, work.targets) for each in linears)
        kept = len(linears) if work.quantization == "int8" else 0
        if work.casts_inputs or self.c < work.weight_bytes:
            return adapted + kept
        return min(1, adapted + kept)

    @property
    def kept(self) -> int:
        """Gate, activation and up (3 c z), their product where its reader keeps it, and what a gate multiplies (c h)."""
        if self._last is None:
            return 0
        gated = self.c * self.h if self.shape.shared == "gated" else 0
        return self.c * self.z * (3 + self._copies((self._last,))) + gated

    @property
    def beside_experts(self) -> int:
        """What is there of it while the experts go back: if it came first all of it and gradients of what it gave, else that of what it read."""
        if self._last is None:
            return 0
        if self.comes_last:
            return self.c * self.h
        return self.kept + (2 if self.shape.shared == "gated" else 1) * self.c * self.h

    def moments(self, kept: int) -> tuple[Moment, ...]:
        """As of a dense block (6 c z), or its last matrix expanded (5 c z).

        Args:
            kept: Bytes a token that are there besides.
        """
        if self._last is None:
            return ()
        each = kept + self.c * self.h
        expanded = self.c * self._last.weights if self.work.quantization else 0
        aside = self.c * self.z if self.work.quantization == "int8" and self.comes_last else 0
        return (
            Moment(per_token=each + aside + 6 * self.c * self.z),
            Moment(per_token=each + aside + 5 * self.c * self.z, fixed=expanded),
        )
