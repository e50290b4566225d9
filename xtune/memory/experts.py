"""The feed-forward block of a mixture of experts: what it keeps, and its backward pass. Closed formulas; letters as in `kept`.

transformers 5 holds the experts of a layer as two parameters of three dimensions and multiplies by group: every token is copied for
each expert that it visits (s of them, together m wide). Kept are gate and up, the activation (3 m) and what each visit gave (h s),
which the router's gradient needs; beside experts that are trained or adapted, and of all on a device without products by group, also
each visit's input (h s) and the product of activation and up (m). gpt-oss clamps gate and up and multiplies the gate by its sigmoid: the two clamped and the sigmoid are kept too (6 m).

What a visit gave is multiplied by its route, in float32 where routes are. Beside the experts there may be a shared one
(`xtune.memory.shared_expert`).
"""

from xtune.memory.moments import Moment, more
from xtune.memory.shape import ModelShape
from xtune.memory.shared_expert import SharedExpert
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
        found = shape.expert_targets(work.targets)
        self.gates, self.downs = work.is_full or found.gate_and_up, work.is_full or found.down
        """Whether gate and up, and down, are trained or adapted."""

        self.routes = work.is_full or found.router
        self.acts = 6 if shape.has_sinks else 3
        self.shared = SharedExpert(shape, work)

    @property
    def reads(self) -> int:
        """Copies of the normalised input that experts, router and shared expert keep."""
        own, shared = int(self.routes), self.shared.reads
        copies = self.work.casts_inputs or self.c < self.work.weight_bytes
        # of a float32 copy autocast makes one in the compute type
        return own + shared if copies or self.shape.reads_routes_in_float32 else max(own, shared)

    @property
    def route_bytes(self) -> int:
        """Of a number of what visits gave times their routes."""
        autocast = not self.work.is_full or self.work.weight_bytes > self.c
        narrow = self.shape.narrows_routes and autocast
        return ADAPTER_BYTES if self.shape.has_wide_routes and not narrow else self.e

    @property
    def routed(self) -> int:
        """Kept by experts and router, whose float32 scores and what is made of them take 12 for each expert."""
        # of types that are not known what visits read may be kept whoever learns
        read = self.reads_visits or not self.shape.known
        visits = self.e * self.h * self.s * (1 + read)
        acts = self.acts + (self.downs or not self.work.grouped)
        return self.e * self.m * acts + visits + 12 * self.shape.experts

    @property
    def reads_visits(self) -> bool:
        """Whether what visits read is kept: for experts that learn, and of all where there are no products by group."""
        return self.gates or not self.work.grouped

    @property
    def ungraded(self) -> int:
        """Of that what is not kept where what is read has no gradient.

        Without one of the router either what visits gave and the scores are wanted for nothing; with an adapter on down alone only the
        product is.
        """
        if self.routes:
            return 0
        scores = 12 * self.shape.experts + self.e * self.h * self.s
        if self.work.grouped:
            return scores + (0 if self.gates else self.acts * self.e * self.m)
        return scores + (0 if self.gates or self.downs else self.routed - scores)

    @property
    def matrices(self) -> int:
        """Entries of the third part of the experts, as of down: gate and up are the other two."""
        return self.shape.experts * self.h * self.shape.expert_intermediate

    @property
    def adapted_gates(self) -> int:
        """Bytes of gate and up with what an adapter adds, where they have one."""
        return 0 if self.work.is_full else 2 * self.e * self.matrices * self.gates

    @property
    def adapted_downs(self) -> int:
        """The same of down."""
        return 0 if self.work.is_full else self.e * self.matrices * self.downs

    @property
    def ungraded_matrices(self) -> int:
        """Bytes of these that are wanted for the gradient of what visits read alone."""
        return self.adapted_gates if self.gates else self.adapted_downs

    @property
    def adapted(self) -> int:
        """The same of all three."""
        return self.adapted_gates + self.adapted_downs

    def moments(self, kept: int, factors: int) -> tuple[Moment, ...]:
        """Of the way back.

        Laid out again there are copies of what visits gave, of their gradients and of these in their order, and of float32 ones those in
        the experts' type; then the gradients of what was expanded come, first of down, then of gate and up.
        Between them there are gate, up, activation, the gradient of their product and those of activation and up (3 m more than is kept
        of them); at last the gradient of gate and up in one (2 m), what was kept of them being gone. Without products by group the
        gradients of frozen experts come too.

        Args:
            kept: Bytes a token that are there before the block.
            factors: Bytes of copies of the adapter's factors.
        """
        e, h, m, s = self.e, self.h, self.m, self.s
        routes = self.route_bytes
        # transformers' checkpointing has let go of what visits gave when their gradients are cast
        cast = e if e < routes and not self._asked else 0
        before = kept + 12 * self.shape.experts + self.shared.beside_experts
        read = e * h * s * (self.reads_visits or not self.shape.known)
        acts = e * m * (self.acts + (self.downs or not self.work.grouped))
        gates, downs = self.adapted_gates, self.adapted_downs
        vain = 0 if self.work.grouped else e * self.matrices
        vain_gates, vain_down = (0 if self.gates else 2 * vain), (0 if self.downs else vain)
        return (
            *self._clamped(kept),
            Moment(
                per_token=before + read + (e + 3 * routes + cast) * h * s + acts,
                fixed=gates + downs + factors,
            ),
            Moment(
                per_token=before + read + e * h * s + acts + e * m,
                fixed=gates + 2 * downs + vain_down + factors,
                graded=self.matrices,
                fresh=self.matrices,
            ),
            Moment(
                per_token=before + read + (self.acts + 3) * e * m,
                fixed=gates + factors,
                graded=self.matrices,
            ),
            Moment(
                per_token=before + read + e * h * s + 2 * e * m,
                fixed=2 * gates + vain_gates + factors,
                graded=3 * self.matrices,
                fresh=2 * self.matrices,
            ),
            *self._of_shared(kept, factors),
        )

    def _of_shared(self, kept: int, factors: int) -> tuple[Moment, ...]:
        """Of the shared expert's way back; where it comes last everything of the experts is there, their adapted matrices too."""
        if not self.shared.comes_last:
            return self.shared.moments(kept)
        moments = self.shared.moments(kept + self.routed)
        return tuple(more(each, fixed=self.adapted + factors) for each in moments)

    @property
    def _asked(self) -> bool:
        """Whether transformers' checkpointing runs the block again: when its last operation, which orders visits, asks for its indices."""
        return self.work.is_checkpointed

    def _clamped(self, kept: int) -> tuple[Moment, ...]:
        """Of gpt-oss's forward pass, at its product of activation and up.

        Beside each visit's input (h s) there are the biases of gate and up laid out (2 m), both (2 m), clamped (2 m), the sigmoid, the
        activation, up and one, and the product (4 m). Where the block is run again because it was asked for, the gradient of the
        sum over visits has been laid out for each of them by then (h s).
        """
        if not self.shape.has_sinks:
            return ()
        visits = self.h * self.s * (1 + self._asked) + 10 * self.m
        return (Moment(per_token=kept + 12 * self.shape.experts + self.e * visits),)
