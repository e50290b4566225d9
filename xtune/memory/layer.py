"""What a decoder layer holds for its backward pass, and the moments of that pass in which most exists. Closed formulas.

Letters: n tokens in a forward pass, h hidden size, m feed-forward width, q and k widths of all query and key heads, d width of
one head, r rank, w bytes of an unquantised weight (and so of the hidden states), c bytes of a compute number. Numbers are bytes a
token unless they say otherwise. They follow transformers' layers, PEFT's adapters and torch's autograd, operation by operation;
`benchmarks/simulation.py` runs these and holds the formulas to them.
"""

from functools import cached_property

from xtune.memory.dora import DoraBlock
from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload

SCORE_BYTES = 2**26
"""float32 scores of a softcapped block that exist at one time (`xtune.kernels.attention.SCORE_BYTES`)."""

WIDEST_IN_REGISTERS = 128
"""Widest head whose gradients of keys and values torch's memory-efficient kernel sums in registers (`kOutputInRF`)."""


class Layer:
    """The widest layer of a model under a workload."""

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        self.c, self.w = work.compute_bytes, work.state_bytes
        # of experts' numbers: autocast leaves products by group in the type of the weights
        self.e = work.weight_bytes
        self.h, self.q, self.k = shape.hidden, shape.query_width, shape.kv_width
        self.sparse = shape.expert_layers > 0
        self._adapts_all = "all-linear" in work.targets
        self._adapted = {target.rpartition(".")[2] for target in work.targets}

    # what linear layers read

    def _read(self, linears: tuple[Linear, ...]) -> int:
        """Copies of one input that linear layers keep: those that an adapter casts for itself, or that autocast does, each its own."""
        work = self.work
        if work.is_full:
            return len(linears) if self.c < self.w else 1
        adapted = sum(self._is_adapted(each) for each in linears)
        # LLM.int8() keeps what it reads too: of float32 states a copy of its own
        kept = len(linears) if work.quantization == "int8" else 0
        return adapted + kept if self._reads_copies else min(1, adapted + kept)

    def _is_adapted(self, linear: Linear) -> bool:
        return self._adapts_all or linear.name in self._adapted

    @cached_property
    def _attention(self) -> tuple[Linear, ...]:
        return self.shape.attention_linears

    @cached_property
    def _feed_forward(self) -> tuple[Linear, ...]:
        return () if self.sparse else self.shape.mlp_linears

    # what the halves of a layer keep

    @cached_property
    def _before_scale(self) -> int:
        """Bytes of the normalised input that a trained norm keeps to get its weight's gradient: c, or float32 where it is scaled there."""
        if not self.work.is_full:
            return 0
        return 4 if self.shape.float32_norms else self.w

    @cached_property
    def first_half(self) -> int:
        """Kept by the norm before attention and the readers of what it gives.

        A norm keeps its input in float32 (4 h); where hidden states are float32 that is the layer's input itself (`own_input`).
        Readers keep what they read (c h each). Without a norm the layer's own input is read.
        """
        h, c = self.h, self.c
        reads = self._read(self._attention[:-1])
        if not self.shape.norms_before:
            return h * c * (reads if self._reads_copies else 0)
        norm = h * (4 if self.w < 4 else 0) + h * self._before_scale
        return norm + h * c * reads

    @property
    def _reads_copies(self) -> bool:
        """Whether each linear layer reads a copy of its own."""
        return self.work.casts_inputs or self.c < self.w

    @property
    def read_states(self) -> int:
        """Hidden states that are there while the feed-forward block runs, and that nothing keeps: between the halves, and normalised."""
        state, normalised = self.w * self.h, self.w * self.h
        if not self._reads_copies:
            normalised = 0
        if not self.shape.norms_before:
            return normalised
        return (state if self.w < 4 else 0) + normalised

    @property
    def own_input(self) -> int:
        """Kept of a layer's input itself: by its norm where it is float32, without one by what reads it.

        Where layers are computed again it is the checkpoint.
        """
        if self.shape.norms_before:
            return 4 * self.h if self.w == 4 else 0
        reads = not self._reads_copies and self._read(self._attention[:-1])
        return self.c * self.h if reads else 0

    @property
    def ungraded(self) -> int:
        """What the first layer does not keep where the embedding is frozen and layers are not computed again.

        Its norm wants no gradient of its input, and does not keep it (4 h). Where DoRA makes the other layers' states float32, what
        the embedding gave is in the type of the weights: what reads it, normalised or not, shares it and copies nothing.
        """
        if self.work.is_full:
            return 0
        norm = 4 * self.h if self.shape.norms_before else 0
        shares = self.work.weight_bytes <= self.c < self.w
        copies = max(0, self._read(self._attention[:-1]) - 1) if shares else 0
        return norm + copies * self.c * self.h

    @cached_property
    def second_half(self) -> int:
        """The same of the feed-forward block; without a norm before it the state between the halves is kept (c h)."""
        h, c = self.h, self.c
        reads = 1 if self.sparse else self._read(self._feed_forward[:-1])
        if not self.shape.norms_before:
            return h * c * max(1, reads)
        return h * (4 + self._before_scale) + h * c * reads

    @cached_property
    def after(self) -> int:
        """Kept by a norm behind attention or the feed-forward block: its input in float32."""
        return self.h * (4 + self._before_scale) if self.shape.norms_after else 0

    @cached_property
    def heads(self) -> int:
        """Kept by attention: queries and what it gave (2 c q), keys and values (2 c k).

        Where the kernel gets a mask transformers repeats keys and values for every query head (2 c q in place of 2 c k). Norms on
        queries and keys keep their input in float32, and what they scale where they are trained. Values that are a view of a fused
        projection, and neither repeated nor cast, keep its queries and keys alive (c q + c k), and what attention gave is laid out
        once more (c q), unless the output projection keeps a copy. Eager attention itself does not keep what it gave.
        """
        c, q, k = self.c, self.q, self.k
        kept = 2 * c * q + (2 * c * q if self.repeats_keys else 2 * c * k)
        kept += self._norms_of_heads
        if self.output_copy:
            kept -= c * q if self.work.attention == "eager" else 0
        elif self.shape.fused:
            kept += c * q
        if self._keeps_views:
            kept += c * (q + k)
        if self.work.dora:  # what base and adapter gave, each once more
            kept += 2 * c * (q + 2 * k + self.h)
        return kept

    @property
    def _norms_of_heads(self) -> int:
        """Kept by norms on queries and keys: their input in float32, and in its type what they scale where they are trained."""
        if self.shape.query_key_norm == "none":
            return 0
        scaled = (4 if self.shape.float32_norms else self.c) if self.work.is_full else 0
        return (4 + scaled) * (self.q + self.k)

    @property
    def _keeps_views(self) -> bool:
        """Whether values are a view of a fused projection."""
        return self.shape.fused and not self.repeats_keys and self.work.given_bytes == self.c

    @cached_property
    def output_copy(self) -> int:
        """A copy of what attention gave that the output projection keeps for itself."""
        reads = self._read(self._attention[-1:])
        return self.c * self.q * reads if self.work.casts_inputs else 0

    @cached_property
    def low_rank(self) -> int:
        """What adapters keep between their factors: c r for each layer that has one."""
        if self.work.is_full:
            return 0
        linears = (*self._attention, *self._feed_forward)
        return self.c * self.work.rank * sum(self._is_adapted(each) for each in linears)

    @cached_property
    def repeats_keys(self) -> bool:
        """Whether keys and values are repeated for every query head before attention."""
        # a single one is seen by every head where it is
        grouped = 1 < self.shape.kv_heads < self.shape.heads
        repeats = self.has_mask or not self.work.flash
        return grouped and (
            self.work.attention == "eager" or (self.work.attention == "sdpa" and repeats)
        )

    @property
    def has_mask(self) -> bool:
        """Whether sdpa is given a mask: for packs, and for windows no longer than a sequence."""
        if self.work.attention != "sdpa":
            return False
        window = self.shape.sliding_window
        return self.work.packing or (window is not None and window <= self.work.tokens)

    @property
    def aside(self) -> int:
        """What LLM.int8() has read of the feed-forward block and keeps until the layer is done: c m and c h; experts are not its own."""
        if self.work.quantization != "int8" or self.sparse:
            return 0
        return self.c * (self.width + self.h)

    @property
    def pairs(self) -> int:
        """Pairs of tokens, all rows together."""
        return self.work.rows * self.work.tokens**2

    # the feed-forward block

    @cached_property
    def width(self) -> int:
        """m: of a mixture, the experts that one token visits, side by side."""
        shape = self.shape
        if not self.sparse:
            return shape.intermediate
        return shape.experts_per_token * shape.expert_intermediate

    @cached_property
    def feed_forward(self) -> int:
        """Kept by the feed-forward block: gate, its activation and up (3 c m), and their product, which the last layer reads.

        Experts keep it always, and a copy of the input and of the output for each that a token visits; their router's float32
        scores and what is made of them take 12 for each expert.
        """
        c, m = self.c, self.width
        if self.sparse:
            visits = 2 * self.e * self.h * self.shape.experts_per_token
            return 4 * self.e * m + visits + 12 * self.shape.experts
        product = c * m * self._read(self._feed_forward[-1:])
        if self.work.dora:  # and what base and adapter gave of each
            return (3 * self.work.given_bytes + 4 * c) * m + product + 2 * c * self.h
        return 3 * c * m + product

    def expanded(self, *linears: Linear) -> int:
        """The largest of some quantised matrices in the compute type: they are expanded one at a time."""
        if self.work.quantization is None:
            return 0
        return self.c * max((each.weights for each in linears), default=0)

    @cached_property
    def experts(self) -> int:
        """One layer's adapted experts with what the adapter adds: three matrices h by m for each, in their own type."""
        shape = self.shape
        if self.work.is_full or not self.sparse or "all-linear" not in self.work.targets:
            return 0
        return self.e * shape.experts * 3 * self.h * shape.expert_intermediate

    @cached_property
    def factors(self) -> int:
        """Copies of an adapter's factors beside one layer's experts, in their type where that is not the adapter's."""
        return self.e * self.expert_adapters if self.e < ADAPTER_BYTES else 0

    @cached_property
    def expert_adapters(self) -> int:
        """Entries of the adapters of one layer's experts."""
        return self.shape.expert_lora_parameters(self.work.rank) if self.experts else 0

    @cached_property
    def uncast(self) -> int:
        """Trained entries of one layer that autocast does not copy: of experts, or of their adapters."""
        if not self.work.is_full:
            return self.expert_adapters
        return self._block_entries if self.sparse else 0

    @cached_property
    def adapters(self) -> int:
        """Entries of one layer's adapters."""
        if self.work.is_full:
            return 0
        work = self.work
        return self.shape.one_layer.lora_parameters(work.rank, work.targets, dora=work.dora)

    def adapter_of(self, linear: Linear) -> int:
        """Entries of a linear layer's adapter, if it has one."""
        if self.work.is_full or not self._is_adapted(linear):
            return 0
        magnitudes = linear.outputs if self.work.dora else 0
        return self.work.rank * (linear.inputs + linear.outputs) + magnitudes

    @cached_property
    def _block_adapters(self) -> int:
        """Entries of the adapters of the feed-forward block."""
        return self.adapters - sum(self.adapter_of(each) for each in self._attention)

    # everything that is kept

    @property
    def saved(self) -> Moment:
        """What one layer keeps between its forward and its backward pass."""
        kept = self.first_half + self.second_half + 2 * self.after + self.heads
        kept += self.output_copy + self.low_rank + self.feed_forward + self.own_input
        fixed = self._scores + self.experts + self.factors + self._mask + self.casts
        return Moment(per_token=kept, fixed=fixed)

    @property
    def _scores(self) -> int:
        """What eager attention keeps for every pair and head: after softmax in float32 and, if that is another, in the compute type."""
        if self.work.attention != "eager":
            return 0
        each = 4 + (self.c if self.c < 4 else 0) + (self.c if self.shape.caps_scores else 0)
        return self.pairs * self.shape.heads * each

    @property
    def casts(self) -> int:
        """Autocast's copies of what one layer trains, which products keep for their backward passes."""
        return self._cast(0)

    def _cast(self, graded: int) -> int:
        work = self.work
        if work.compute_dtype == "float32":
            return 0
        if not work.is_full:
            return self.c * (self.adapters - self.uncast)
        unused = self.shape.layer_entries - max(graded, self.uncast)
        return self.c * unused if self.w == 4 else 0

    def _after_feed_forward(self, before: int) -> tuple[Moment, ...]:
        """A norm behind the block goes back while the block still has everything: five float32 copies of its input (20 h)."""
        if not self.shape.norms_after:
            return ()
        kept = before + self.second_half + self.after + self.feed_forward
        fixed = self.experts + self.factors
        gone = self._before_scale * self.h if self.shape.norms_before else 0
        return (Moment(per_token=kept + (self._back + self.w) * self.h - gone, fixed=fixed),)

    def feed_forward_moments(self, before: int) -> tuple[Moment, ...]:
        """Of the block, with so much a token kept before it.

        Going back through the last layer there are gate, activation and up (3 c m), the gradient of their product (c m), and
        two more: of gate and up, or the base's and the adapter's, before which the matrix is expanded beside one (5 c m).
        An adapter beside an unquantised base casts the product to float32 and back in the forward pass that is run again: 14 m
        with c = 2, and the normalised state, the state between the halves and the base's output exist (6 h).
        """
        c, h, m = self.c, self.h, self.width
        kept = before + self.second_half + self.w * h
        scaled = self._scaled_gradient
        if self.sparse:
            return self._expert_moments(kept)
        down = self._feed_forward[-1]
        if self.work.dora:
            block = DoraBlock(self.shape, self.work)
            run_again = block.again(before + self.second_half + self.read_states)  # no gradient yet
            return (*run_again, *block.back(kept))
        kept += c * m if self.aside else 0
        two = Moment(per_token=kept + 6 * c * m, graded=down.weights, adapted=self.adapter_of(down))
        one = Moment(per_token=kept + scaled + 5 * c * m, fixed=self.expanded(down))
        # where gate and up are one layer, its matrix is the larger one: beside the gradients of what it gave (2 c m)
        first = Moment(
            per_token=kept + 2 * c * m + c * h, fixed=self.expanded(self._feed_forward[0])
        )
        moments = (two, one, first) if self.work.quantization else (two,)
        if self.work.casts_inputs and self._is_adapted(self._feed_forward[-1]):
            again = (
                kept
                + scaled
                + (5 * c + 4) * m
                + (4 if self.work.gradient_checkpointing else 6) * self.w * h
            )
            moments = (*moments, Moment(per_token=again))
        return moments

    def _expert_moments(self, kept: int) -> tuple[Moment, ...]:
        """Of a mixture, whose tokens are copied for each expert they visit (s).

        Laid out again there are five copies (5 c h s) beside what is kept; then the gradients of what was expanded come, first of
        down's third, then of the two thirds of gate and up.
        """
        c, h, m, s = self.e, self.h, self.width, self.shape.experts_per_token
        own = 12 * self.shape.experts
        all_experts, factors = self.experts, self.factors
        mixtral = (
            self.shape.model_type == "mixtral"
        )  # sums in float32, and casts what comes of them
        wide, more = (4, c if c < 4 else 0) if mixtral else (c, 0)
        matrices = self.shape.experts * self.h * self.shape.expert_intermediate
        return (
            Moment(
                per_token=kept + own + (2 * c + 3 * wide + more) * h * s + 4 * c * m,
                fixed=all_experts + factors,
            ),
            Moment(
                per_token=kept + own + 2 * c * h * s + 5 * c * m,
                fixed=all_experts * 4 // 3 + factors,
                graded=matrices,
            ),
            Moment(
                per_token=kept + own + 2 * c * h * s + 4 * c * m,
                fixed=all_experts * 4 // 3 + factors,
                graded=3 * matrices,
            ),
        )

    def _between(self, before: int) -> Moment:
        """The norm before the block goes back: its float32 input, copies of it and the gradient (w h)."""
        each = before + self._scaled_gradient + (4 + self._back + self.w) * self.h + self.aside
        return Moment(per_token=each, graded=self._block_entries, adapted=self._block_adapters)

    @property
    def _scaled_gradient(self) -> int:
        """The gradient of what a block gives once more where that is multiplied before it is added (w h): gone when adapter and base have used it."""
        scales = self.shape.model_type.startswith("granite") and not self.work.is_full
        return self.w * self.h if scales else 0

    @property
    def _back(self) -> int:
        """float32 copies of a norm's input on its way back: five, or four where hidden states are float32 and nothing is cast."""
        return 20 if self.w < 4 else 16

    @property
    def _block_entries(self) -> int:
        if self.sparse:
            return 3 * self.shape.experts * self.h * self.shape.expert_intermediate
        return sum(each.weights for each in self._feed_forward)

    @cached_property
    def _mask(self) -> int:
        """A mask's copy in the compute type, made for the kernel and kept for its backward pass."""
        return self.pairs * self.c if self.has_mask else 0

    @property
    def mask(self) -> int:
        """Masks that exist all the while: of a byte for each pair, or two in the compute type for eager attention with windows."""
        if self.work.attention == "eager":
            windows = 2 if self.shape.sliding_window is not None else 1
            return self.pairs * self.c * windows
        # without packs one for all rows
        shared = self.pairs if self.work.packing else self.work.tokens**2
        return shared if self.has_mask else 0

    def inside(self, query: int, key: int, heads: int) -> int:
        """What the attention kernel has inside, going back.

        float32 sums of the queries' gradients and one number a head; where key heads are shared, the gradients of keys and values
        for every query head. The memory-efficient kernel, where flash attention does not run, has the same, and for wide heads
        float32 sums of the keys' and values' gradients, unless these are float32 themselves.
        """
        if self.work.attention == "eager":
            return 0
        width = query // heads
        sums = 4 * heads * (-(-width // 32) * 32 + 1)
        shared = 2 * self.c * query if query != key and not self.repeats_keys else 0
        if not self.work.flash and width > WIDEST_IN_REGISTERS and self.c < 4:
            shared += 8 * query
        return sums + shared

    @property
    def rotary(self) -> int:
        """Cosines and sines of every position, in the type of what the embedding gave or in float32; Gemma 3 has two sets."""
        sets = 2 if self.shape.model_type.startswith("gemma3") else 1
        wide = 4 if self.shape.float32_rotary else self.work.weight_bytes
        return sets * 2 * wide * self.shape.head_dim
