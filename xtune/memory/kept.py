"""What a decoder layer holds for its backward pass. Closed formulas.

Letters: n tokens in a forward pass, h hidden size, m feed-forward width, q and k widths of all query and key heads, d width of
one head, r rank, w bytes of an unquantised weight (and so of the hidden states), c bytes of a compute number. Numbers are bytes a
token unless they say otherwise. They follow transformers' layers, PEFT's adapters and torch's autograd, operation by operation;
`benchmarks/simulation.py` runs these and holds the formulas to them.
"""

from functools import cached_property

from xtune.memory.dora import DoraBlock, DoraLinears
from xtune.memory.latent_attention import READERS, LatentAttention
from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.scores import AttendingParts


class KeptLayer(AttendingParts):
    """What the widest layer of a model keeps under a workload."""

    # what linear layers read

    def _read(self, linears: tuple[Linear, ...], reads: int | None = None) -> int:
        """Copies of one input that linear layers keep: those that an adapter casts for itself, or that autocast does, each its own.

        Args:
            linears: Those that read it.
            reads: Bytes of a number of it; None: as of the states behind attention.
        """
        work, reads = self.work, reads or self.w
        if work.is_full:
            return len(linears) if self.c < reads else 1
        adapted = sum(self._is_adapted(each) for each in linears)
        # LLM.int8() keeps what it reads too: of float32 states a copy of its own
        kept = len(linears) if work.quantization == "int8" else 0
        if self._copies_of(reads):
            return adapted + kept
        # what an adapter drops some of is its own
        return adapted + min(1, kept) if work.dropout else min(1, adapted + kept)

    def _masks(self, *linears: Linear) -> int:
        """What says what an adapter has dropped: a byte for each number that it reads."""
        if not self.work.dropout:
            return 0
        return sum(each.inputs for each in linears if self._is_adapted(each))

    # what the halves of a layer keep

    @cached_property
    def first_half(self) -> int:
        """Kept by the norm before attention and the readers of what it gives.

        A norm keeps its input in float32 (4 h); where hidden states are float32 that is the layer's input itself (`own_input`).
        Readers keep what they read (c h each). Without a norm the layer's own input is read.
        """
        h, c = self.h, self.c
        reads = self._read(self._readers, self.input)
        masks = self._masks(*self._readers)
        if not self.shape.norms_before:
            own = self._copies_of(self.input) or self.work.dropout
            return masks + h * c * (reads if own else 0)
        norm = h * (self.norm.copies(self.input) + self.norm.trained_copy)
        return norm + h * c * reads + masks + self.shape.recurrent_kept

    @property
    def _reads_copies(self) -> bool:
        """Whether each linear layer that reads what a norm behind attention gave reads a copy of its own."""
        return self._copies_of(self.between)

    def _copies_of(self, reads: int) -> bool:
        """The same of linear layers that read numbers of so many bytes."""
        return self.work.casts_inputs or self.c < reads

    @property
    def read_states(self) -> int:
        """Hidden states that are there while the feed-forward block runs, and that nothing keeps: between the halves, and normalised."""
        normalised = self.between * self.h
        if not (self._reads_copies or self.work.dropout):
            normalised = 0
        if not self.shape.norms_before:
            return normalised
        given = self.attention_gives * self.h
        if self.shape.parallel:  # what attention gave waits
            return given + normalised
        if self.shape.family.holds_states:  # and what it read
            normalised += given + normalised
        return (self.w * self.h if self.norm.copies(self.w) else 0) + normalised

    @property
    def own_input(self) -> int:
        """Kept of a layer's input itself: by its norm where it is float32, without one by what reads it.

        Where layers are computed again it is the checkpoint.
        """
        if self.shape.norms_before:
            return self.norm.keeps_itself(self.w) * self.h
        reads = not self._reads_copies and self._read(self._readers)
        return self.c * self.h if reads else 0

    @property
    def ungraded(self) -> Moment:
        """What the first layer does not keep where the embedding is frozen and layers are not computed again.

        Autograd keeps what is wanted for some gradient. The first norm's input has none (4 h); with no adapter on queries, keys or
        values attention has none, and with none on its output projection either the norm before the feed-forward block; of that the
        activation and up stand for each other's gradient.
        """
        if self.work.is_full:
            return Moment(per_token=0)
        norm = self.norm.keeps(self.input) * self.h if self.shape.norms_before else 0
        each = norm + self._ungraded_attention + self._ungraded_block + self._ungraded_copies
        attends = any(self._is_adapted(each) for each in self._attention[:-1])
        fixed = 0 if attends else self._scores + self._mask
        if not any(self._is_adapted(each) for each in self._attention):
            fixed += self.block.ungraded_matrices
        return Moment(per_token=each, fixed=fixed)

    @property
    def _ungraded_copies(self) -> int:
        """Those that LLM.int8() has made of what the first norm gave, whose gradient nobody wants."""
        if self.work.quantization != "int8" or not self._copies_of(self.input):
            return 0
        readers = self._readers
        readers += self._feed_forward[:-1] if self.shares_norm else ()
        return self.c * self.h * len(readers)

    @property
    def _ungraded_attention(self) -> int:
        *projections, output = self._attention
        if self.latent is not None:
            return 0
        if any(self._is_adapted(each) for each in projections):
            if self.shape.fused_qkv or not self.shape.may_normalise_heads:
                return 0
            # a norm keeps nothing of queries or keys that have no gradient
            plain = (each for each in projections[:2] if not self._is_adapted(each))
            return 4 * sum(each.outputs for each in plain)
        read = self.c * self.q if self._is_adapted(output) and not self.output_copy else 0
        return self.heads - self._doubled((output,)) - read

    @property
    def _ungraded_block(self) -> int:
        attends = any(self._is_adapted(each) for each in self._attention)
        if attends and not self.shares_norm:
            return 0
        if self.sparse:
            block = self.block
            return self.after + self.second_half - self.c * self.h * block.reads + block.ungraded
        norm = 0
        if not self.shares_norm:
            norm = self.after + self.second_half - self.c * self.h * self._reads_of_block
        gate, up = self._feed_forward[0], self._feed_forward[-2]
        if self.ungated is not None:
            return norm + (0 if self._is_adapted(up) else self.ungated.activation)
        gives = self.work.compute_bytes
        of_gate, of_up = (gives if self._is_adapted(each) else self.c for each in (gate, up))
        if not self._is_adapted(gate):
            norm += (of_gate + of_up) * self.width
        return norm + (0 if self._is_adapted(up) else of_gate * self.width)

    @cached_property
    def second_half(self) -> int:
        """The same of the feed-forward block; without a norm before it the state between the halves is kept (c h)."""
        h, c = self.h, self.c
        reads = self.block.reads if self.sparse else self._reads_of_block
        more = self._masks(*self._feed_forward[:-1]) + self._written_out
        if not self.shape.norms_before:
            return h * c * max(1, reads) + more
        # of a parallel block in tiles the norm's input is the layer's own, which is there whole
        keeps = self.norm.copies if self.shape.parallel else self.norm.keeps
        norm = 0 if self.shares_norm else keeps(self.between) + self.norm.trained_copy
        return h * norm + h * c * reads + more

    @property
    def _reads_of_block(self) -> int:
        """Copies of normalised states that the feed-forward block keeps, or one; those that attention's projections keep are theirs."""
        readers, normalised = self._feed_forward[:-1], self.between
        if self.shares_norm and not (self._copies_of(normalised) or self.work.dropout):
            every = self._read((*self._readers, *readers), normalised)
            return every - self._read(self._readers, normalised)
        return self._read(readers, normalised)

    @property
    def _written_out(self) -> int:
        """What an activation that is no operation of its own keeps besides, at most: eight numbers of the block's width.

        The largest, gelu_new, keeps its input, half of it, the tanh and one more; autocast on CUDA has the power, and with it all but
        the half, in float32 (4 m each). Going back there are three gradients more (4 m each), where others have one (c m).
        """
        put_together = self.shape.composed_activation and self.ungated is None
        return 8 * self.c * self.width if put_together else 0

    @cached_property
    def after(self) -> int:
        """Kept by a norm behind attention or the feed-forward block: its input in float32."""
        return self.h * (4 + self.norm.trained_copy) if self.shape.norms_after else 0

    @cached_property
    def heads(self) -> int:
        """Kept by attention: queries and what it gave (2 c q), keys and values (2 c k).

        Where the kernel gets a mask transformers repeats keys and values for every query head (2 c q in place of 2 c k). Norms on
        queries and keys keep their input in float32, and what they scale where they are trained. Values that are a view of a fused
        projection, and neither repeated nor cast, keep its queries and keys alive (c q + c k). Where heads are rotated in part what attention
        gave is laid out as queries are, and once more (c q) for an output projection that keeps what it reads, unless it keeps a copy.
        Eager attention itself does not keep what it gave.
        """
        c, q, k = self.c, self.q, self.k
        if self.latent is not None:
            return self._of_latent
        kept = 2 * c * q + (2 * c * q if self.repeats_keys else 2 * c * k)
        kept += self._norms_of_heads + (c * (q - k) if self.repeats_in_cast else 0)
        if self.output_copy:
            kept -= c * q if self.work.attention == "eager" else 0
        elif self.shape.partial_rotary and self._read(self._attention[-1:]):
            kept += c * q
        if self._keeps_views:
            kept += c * (q + k)
        dropped = self._masks(self._attention[-1])
        if not self.output_copy:  # by an adapter that would read what attention keeps
            dropped += c * dropped
        return kept + dropped + self._doubled(self._attention)

    @cached_property
    def latent(self) -> LatentAttention | None:
        """Attention, if it is latent."""
        if self.shape.latent is None:
            return None
        readers = [each for each in self._attention if each.name in READERS]
        read = sum(self.c * each.inputs * self._read((each,)) for each in readers)
        read += self._masks(*readers)
        return LatentAttention(self.shape, self.work, self.shape.latent, read)

    @property
    def _of_latent(self) -> int:
        """Kept by latent attention; of what it gave what an adapter drops some of is a copy."""
        assert self.latent is not None
        dropped = self._masks(self._attention[-1])
        dropped += 0 if self.output_copy else self.c * dropped
        return self.latent.latents + self.latent.heads + dropped + self._doubled(self._attention)

    def _doubled(self, linears: tuple[Linear, ...]) -> int:
        """With DoRA what base and adapter gave of each, once more (2 c)."""
        if not self.work.dora:
            return 0
        return 2 * self.c * sum(each.outputs for each in linears if self._is_adapted(each))

    @cached_property
    def dora_block(self) -> bool:
        """Whether linear layers of a dense feed-forward block may have DoRA (`xtune.memory.dora`)."""
        return self.work.dora and bool(self._feed_forward)

    @property
    def _norms_of_heads(self) -> int:
        """Kept by norms on queries and keys: their input in float32, and in its type what they scale where they are trained."""
        if not self.shape.may_normalise_heads:
            return 0
        scaled = (4 if self.shape.float32_norms else self.c) if self.work.is_full else 0
        return ((8 if self.norm.is_written else 4) + scaled) * (self.q + self.k)

    @property
    def _keeps_views(self) -> bool:
        """Whether values are a view of a fused projection."""
        return self.shape.fused_qkv and not self.repeats_keys

    @cached_property
    def output_copy(self) -> int:
        """A copy of what attention gave that the output projection keeps for itself."""
        reads = self._read(self._attention[-1:])
        return self.c * self.a * reads if self.work.casts_inputs else 0

    @cached_property
    def low_rank(self) -> int:
        """What adapters keep between their factors: c r for each layer that has one."""
        if self.work.is_full:
            return 0
        linears = (*self._attention, *self._feed_forward)
        return self.c * self.work.rank * sum(self._is_adapted(each) for each in linears)

    @property
    def aside(self) -> int:
        """What LLM.int8() has read of the feed-forward block and keeps until the layer is done: c m and c h; experts are not its own."""
        if self.work.quantization != "int8" or self.sparse:
            return 0
        return self.c * (self.width + self.h)

    # the feed-forward block

    @cached_property
    def feed_forward(self) -> int:
        """Kept by the feed-forward block: gate, its activation and up (3 c m), and their product, which the last layer reads.

        Of experts see `experts`.
        """
        c, m = self.c, self.width
        if self.sparse:
            return self.block.routed + self.block.shared.kept
        if self.dora_block:
            return DoraBlock(self.shape, self.work).kept
        last = self._feed_forward[-1]
        if self.ungated is not None:
            return self.ungated.activation + self.product_read + self._masks(last)
        return 3 * c * m + c * m * self._read((last,)) + self._masks(last)

    @property
    def product_read(self) -> int:
        """Of a block without a gate what its last layer keeps of what it read."""
        assert self.ungated is not None
        return self.c * self.width * self._read(self._feed_forward[-1:], self.ungated.product)

    def matrices(self, *linears: Linear) -> int:
        """Bytes of matrices that DoRA multiplies what it has dropped some of by once more, and keeps for the way back."""
        dora = DoraLinears(self.work)
        return sum(dora.matrix(each) for each in linears) if self.work.dora else 0

    @property
    def block_input(self) -> int:
        """What is there of the hidden states when a feed-forward block begins: those between the halves, the norm's float32 copy, and normalised ones."""
        if not self.shape.norms_before:
            return self.w * self.h
        if self.shares_norm:
            return (self.attention_gives + self.between) * self.h
        return (self.norm.copies(self.between) + self.w + self.between) * self.h

    @property
    def attention_gives(self) -> int:
        """Bytes of a number that the output projection gives."""
        return self.work.compute_bytes if self._is_adapted(self._attention[-1]) else self.c

    def expanded(self, *linears: Linear) -> int:
        """The largest of some quantised matrices in the compute type: they are expanded one at a time."""
        if self.work.quantization is None:
            return 0
        return self.c * max((each.weights for each in linears), default=0)

    # everything that is kept

    @property
    def saved(self) -> Moment:
        """What one layer keeps between its forward and its backward pass."""
        kept = self.first_half + self.second_half + 2 * self.after + self.heads
        kept += self.output_copy + self.low_rank + self.feed_forward + self.own_input
        kept += 2 * self.dropped
        fixed = self._scores + self.experts + self.factors + self._mask + self.casts
        fixed += self.matrices(*self._attention, *self._feed_forward)
        return Moment(per_token=kept, fixed=fixed)
