"""The feed-forward block of a mixture of experts: what it keeps, and its backward pass. Closed formulas; letters as in `kept`.

transformers 5 holds the experts of a layer as two parameters of three dimensions and multiplies by group: every token is copied for
each expert that it visits (s of them, together m wide). Kept are gate and up, the activation (3 m) and what each visit gave (h s),
which the router's gradient needs; beside experts that are trained or adapted also each visit's input (h s) and the product of activation
and up (m). gpt-oss clamps gate and up and multiplies the gate by its sigmoid: the two clamped and the sigmoid are kept too (6 m).

What a visit gave is multiplied by its route, in float32 where routes are. Beside the experts there may be a shared one, a dense
block (width z) that every token visits: before them, and its output is multiplied by a gate (Qwen2-MoE).
"""

from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload


class ExpertBlock:
    """The block of one layer.

    Args:
        shape: The model; it has experts.
        work: What is done with it.
    """

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        self.c = work.compute_bytes
        # autocast leaves products by group in the type of the weights
        self.e = work.weight_bytes
        self.h, self.s = shape.hidden, shape.experts_per_token
        self.m = self.s * shape.expert_intermediate
        self.learns = work.is_full or shape.adapts_experts(work.targets)
        self.acts = 6 if shape.has_sinks else 3

    @property
    def reads(self) -> int:
        """Copies of the normalised input that experts, router and shared expert keep."""
        shared = self.shared_reads(self.shape.shared_linears[:-1])
        own = int(self.learns)
        copies = self.work.casts_inputs or self.c < self.work.state_bytes
        return own + shared if copies else min(1, own + shared)

    def shared_reads(self, linears: tuple[Linear, ...]) -> int:
        """Copies of one input that layers of the shared expert keep."""
        work = self.work
        if work.is_full:
            return len(linears) if self.c < work.state_bytes else min(1, len(linears))
        adapted = sum(self.shape.adapts(each, work.targets) for each in linears)
        kept = len(linears) if work.quantization == "int8" else 0
        if work.casts_inputs or self.c < work.state_bytes:
            return adapted + kept
        return min(1, adapted + kept)

    @property
    def routed(self) -> int:
        """Kept by experts and router, whose float32 scores and what is made of them take 12 for each expert."""
        visits = self.e * self.h * self.s * (1 + self.learns)
        return self.e * self.m * (self.acts + self.learns) + visits + 12 * self.shape.experts

    @property
    def shared(self) -> int:
        """Kept by the shared expert: as by a dense block, and its output, which its gate multiplies."""
        if not self.shape.shared_linears:
            return 0
        c, width = self.c, self.shape.shared_intermediate
        down = self.shape.shared_linears[-1:]
        return 3 * c * width + c * width * self.shared_reads(down) + c * self.h

    def moments(self, kept: int, experts: int, factors: int) -> tuple[Moment, ...]:
        """Of the way back.

        Laid out again there are copies of what visits gave, of their gradients and of these in their order, and of float32 ones those in
        the experts' type; then the gradients of what was expanded come, first of down's third, then of the two thirds of gate and up.
        Between them there are gate, up, activation, the gradient of their product and those of activation and up (3 m more than is kept
        of them).

        Args:
            kept: Bytes a token that are there before the block.
            experts: Bytes of the experts with what an adapter adds.
            factors: Bytes of copies of the adapter's factors.
        """
        e, h, m, s, learns = self.e, self.h, self.m, self.s, int(self.learns)
        routes = ADAPTER_BYTES if self.shape.has_wide_routes else e
        cast = e if e < routes else 0
        matrices = self.shape.experts * h * self.shape.expert_intermediate
        more = self.shared + (2 * self.c * h if self.shared else 0)
        before = kept + 12 * self.shape.experts + more
        acts = self.acts + learns
        return (
            *self._clamped(kept),
            Moment(
                per_token=before + ((1 + learns) * e + 3 * routes + cast) * h * s + acts * e * m,
                fixed=experts + factors,
            ),
            Moment(
                per_token=before + (1 + learns) * e * h * s + (acts + 1) * e * m,
                fixed=experts * 4 // 3 + factors,
                graded=matrices,
            ),
            Moment(
                per_token=before + learns * e * h * s + (self.acts + 3) * e * m,
                fixed=experts * 2 // 3 + factors,
                graded=matrices,
            ),
            Moment(
                per_token=before + (1 + learns) * e * h * s + 4 * e * m,
                fixed=experts * 4 // 3 + factors,
                graded=3 * matrices,
            ),
            *self._of_shared(kept),
        )

    def _clamped(self, kept: int) -> tuple[Moment, ...]:
        """Of gpt-oss's forward pass, at its product of activation and up.

        Beside each visit's input (h s) there are the biases of gate and up laid out (2 m), both (2 m), clamped (2 m), the sigmoid, the
        activation, up and one, and the product (4 m).
        """
        if not self.shape.has_sinks:
            return ()
        visits = self.h * self.s + 10 * self.m
        return (Moment(per_token=kept + 12 * self.shape.experts + self.e * visits),)

    def _of_shared(self, kept: int) -> tuple[Moment, ...]:
        """Of the shared expert, once the others are done: as of a dense block (6 c z), or its last matrix expanded (5 c z)."""
        if not self.shape.shared_linears:
            return ()
        width, down = self.shape.shared_intermediate, self.shape.shared_linears[-1]
        each = kept + self.c * self.h
        expanded = self.c * down.weights if self.work.quantization else 0
        return (
            Moment(per_token=each + 6 * self.c * width),
            Moment(per_token=each + 5 * self.c * width, fixed=expanded),
        )
