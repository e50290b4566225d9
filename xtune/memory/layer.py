"""The moments of a decoder layer's backward pass in which most exists. Closed formulas; letters as in `kept`."""

from dataclasses import replace

from xtune.memory.kept import KeptLayer
from xtune.memory.moments import Moment
from xtune.memory.workload import ADAPTER_BYTES

WIDEST_IN_REGISTERS = 128
"""Widest head whose gradients of keys and values torch's memory-efficient kernel sums in registers (`kOutputInRF`)."""


class Layer(KeptLayer):
    """The widest layer of a model under a workload, as it goes back."""

    def _after_feed_forward(self, before: int) -> tuple[Moment, ...]:
        """A norm behind the block goes back while the block still has everything: five float32 copies of its input (20 h)."""
        if not self.shape.norms_after:
            return ()
        kept = before + self.second_half + self.after + self.feed_forward
        fixed = self.experts + self.factors
        gone = self.norm.trained_copy * self.h if self.shape.norms_before else 0
        return (Moment(per_token=kept + (20 + self.w) * self.h - gone, fixed=fixed),)

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
            return self.block.moments(kept, self.factors)
        down = self._feed_forward[-1]
        kept += (c * m if self.aside else 0) + self._masks(down)
        if self.ungated is not None:
            return self.ungated_moments(kept, before)
        two = Moment(per_token=kept + 6 * c * m, graded=down.weights, adapted=self.adapter_of(down))
        one = Moment(per_token=kept + scaled + 5 * c * m, fixed=self.expanded(down))
        # where gate and up are one layer, its matrix is the larger one: beside the gradients of what it gave (2 c m)
        first = Moment(
            per_token=kept + 2 * c * m + c * h, fixed=self.expanded(self._feed_forward[0])
        )
        moments = (two, one, first) if self.work.quantization else (two,)
        if self.work.casts_inputs and self._is_adapted(self._feed_forward[-1]):
            wide, states = (8, 3) if self.work.dropout else (4, 4)
            states = states if self.work.gradient_checkpointing else 6
            again = kept + scaled + (5 * c + wide) * m + states * self.w * h
            moments = (*moments, Moment(per_token=again))
        elif self._masks(
            down
        ):  # beside the product there is what is left of it, and what base and adapter give
            again = before + self.second_half + self.read_states + self._masks(down)
            moments = (*moments, Moment(per_token=again + 5 * c * m + 3 * c * h))
        return moments

    def ungated_moments(self, kept: int, before: int) -> tuple[Moment, ...]:
        """The same without a gate: the way back, and that the last layer reads, when it is run again.

        Args:
            kept: Bytes a token that are there on the way back.
            before: Those kept before the block.
        """
        block, down = self.ungated, self._feed_forward[-1]
        assert block is not None
        back = block.back(self.product_read, self.adapter_of(down))
        gives = 3 if self._is_adapted(down) else 1  # its base and, twice, its adapter
        states = self.read_states + gives * self.c * self.h
        again = before + self.second_half + states
        reading = Moment(per_token=again + block.reading + self._copied_by_last)
        return (*(replace(each, per_token=kept + each.per_token) for each in back), reading)

    @property
    def _copied_by_last(self) -> int:
        """Of what an activation gave what the last layer's adapter copies as it reads it: in float32 beside an unquantised base, for autocast, and what it drops some of."""
        assert self.ungated is not None
        wide, down = self.ungated.product, self._feed_forward[-1]
        if not self._is_adapted(down) or self.work.is_full:
            return self.product_read
        widened = 4 if self.work.casts_inputs and wide < 4 else 0
        cast = self.c if max(wide, widened) > self.c else 0
        dropped = max(wide, widened) if self.work.dropout else 0
        return (widened + cast + dropped) * self.width + self._masks(down)

    def _between(self, before: int) -> Moment:
        """The norm before the block goes back: its float32 input, copies of it and the gradient (w h)."""
        copies = self.copies_beside(self.w)
        norm = self.norm.keeps(self.between) + copies + self.w
        each = before + self._scaled_gradient + norm * self.h + self.aside
        return Moment(per_token=each, graded=self._block_entries, adapted=self._block_adapters)

    @property
    def _scaled_gradient(self) -> int:
        """The gradient of what a block gives once more where that is multiplied before it is added (w h): gone when adapter and base have used it."""
        scales = self.shape.model_type.startswith("granite") and not self.work.is_full
        return self.w * self.h if scales else 0

    def copies_beside(self, states: int) -> int:
        """float32 copies that a norm's way back makes of states of so many bytes a number, beside what else is their gradient.

        Five: where that is float32, and nobody else's, four, as the norm's is added over it. Tiles, and layers that are computed
        again by us, are given it from outside.
        """
        if self.norm.is_layer:
            readers = sum(1 + self._is_adapted(each) for each in self._feed_forward[:-1])
            return self.norm.layer_back(states, readers)
        given = self.work.frugal or self.work.is_shelved
        return self.norm.back_copies - (4 if states == ADAPTER_BYTES and not given else 0)

    @property
    def _back(self) -> int:
        """float32 copies of a norm's input on its way back: five, or four where hidden states are float32 and nothing is cast."""
        if self.norm.is_layer:
            return self.norm.layer_back(self.w, len(self._attention))
        return self.norm.back_copies - (0 if self.w < 4 else 4)

    def inside(self, query: int, key: int, heads: int) -> int:
        """What the attention kernel has inside, going back."""
        return self.inside_of_queries(query, heads) + self.inside_of_keys(query, key, heads)

    def inside_of_queries(self, query: int, heads: int) -> int:
        """Of that for every query: float32 sums of the queries' gradients and one number a head."""
        if self.work.attention == "eager":
            return 0
        width = query // heads
        return 4 * heads * (-(-width // 32) * 32 + 1)

    def inside_of_keys(self, query: int, key: int, heads: int, *, masked: bool = False) -> int:
        """Of that for every key: where key heads are shared, the gradients of keys and values for every query head.

        The memory-efficient kernel, where flash attention does not run, has the same, and for wide heads float32 sums of the keys'
        and values' gradients, unless these are float32 themselves.

        Args:
            query: Width of the query heads together.
            key: Width of the key heads together.
            heads: Query heads.
            masked: Whether there is a mask, which flash attention does not take.
        """
        if self.work.attention == "eager":
            return 0
        shared = 2 * self.c * query if query != key and not self.repeats_keys else 0
        fused = self.work.flash and not masked
        if not fused and query // heads > WIDEST_IN_REGISTERS and self.c < 4:
            shared += 8 * query
        return shared

    @property
    def rotary(self) -> int:
        """Cosines and sines of every position, in the type of what the embedding gave or in float32; Gemma 3 has a set for each kind of layer.

        Gemma 3n's and 4's inputs of every layer are there too, and what they were made of.
        """
        shape = self.shape
        if shape.latent is not None:  # of DeepSeek-V2 complex numbers
            each = 2 if shape.model_type == "deepseek_v2" else self.work.weight_bytes
            return 2 * each * shape.latent.rotated
        kinds = 1 if shape.all_windowed or shape.windowed_layers == 0 else 2
        sets = kinds if shape.family.rotary_by_kind else 1
        wide = 4 if shape.float32_rotary else self.work.weight_bytes
        inputs = shape.layer_inputs * (4 + 2 * self.work.weight_bytes)
        return sets * 2 * wide * shape.head_dim + inputs
