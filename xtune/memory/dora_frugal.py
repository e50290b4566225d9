"""A frugal layer some of whose linear layers have DoRA: what its tiles have, moment by moment. Closed formulas; letters as in `kept`.

A frugal layer writes its states for all tokens in the type of the embedding's. Within a tile a linear layer with DoRA beside a
quantised base gives float32 (`xtune.memory.dora`): so come the queries, keys or values whose projection has it, whole, as what
is written where they are has their type; what attention gave has that of the values; and behind the output projection, or the
last linear layer, the tile's states are float32 until its output is written.
"""

from dataclasses import replace

from xtune.memory.dora import DoraBlock, DoraLinears
from xtune.memory.frugal import FrugalLayer
from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload


class FrugalDoraLayer(FrugalLayer):
    """The same letters as in `Layer`."""

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        super().__init__(shape, work)
        self.dora = DoraLinears(work)
        *self._projections, self._out = self.shape.attention_linears

    @property
    def _whole(self) -> int:
        return self._queries + self._keys + self._values

    def peaks(self) -> tuple[int, ...]:
        """And the output projection in the forward pass, where what attention gives is written over the queries, in their type.

        Nothing is kept then: no unit matrix and no float32 input of a norm.
        """
        peaks, out, c = super().peaks(), self._out, self.c
        if not self.dora.adapts(out) or self._queries <= self._attended:
            return peaks
        held, wide = self.work.weight_bytes, self._queries // self.q
        unit = (4 + c) * out.inputs**2 + c * out.weights
        normalised = held * self.h if self.shape.norms_before else 0
        kept = normalised + self._queries + c * (self.q + self.k + self.h)
        whole = self.work.positions * (held * self.h + self._whole)
        return (*peaks, whole + self.tile * kept + max(unit, 4 * wide * out.weights))

    # behind attention

    @property
    def _around_tile(self) -> int:
        """The gradient of its output."""
        return self.output * self.h

    @property
    def _counted(self) -> int:
        """Bytes a token of the gradient of what the block gave that are there already: nothing is cast, normalised or multiplied on its way."""
        is_wide = self.c == ADAPTER_BYTES
        changed = self.shape.norms_after or self._scaled_gradient
        return 4 * self.h if is_wide and not changed else 0

    def _finishing(self) -> tuple[Moment, ...]:
        """Output projection, second norm and feed-forward block of a tile."""
        dora, out, reads = self.dora, self._out, self.c
        is_read = dora.adapts(out) or self.work.quantization == "int8"
        read = dora.copies(out, reads) or (self.c * self.q if is_read else 0)
        before = read + self._low_rank((out, *self._feed_forward)) + self.after + dora.keeps(out)
        matrices = self.matrices(out, *self._feed_forward)
        normed = self.shape.query_key_norm != "none"
        moments = (
            *self._of_block(before),
            self._back_to_attention(before),
            *self._of_output(before),
            *dora.forward(
                out,
                # of the projections, which are left out, there are turned queries and keys, and what their norms keep
                self._normalised + self._attended + (self.c + 4 * normed) * (self.q + self.k),
                reads=reads,
            ),
        )
        return tuple(replace(each, fixed=each.fixed + matrices) for each in moments)

    def _low_rank(self, linears: tuple[Linear, ...]) -> int:
        return self.c * self.work.rank * sum(self._is_adapted(each) for each in linears)

    def _of_block(self, before: int) -> tuple[Moment, ...]:
        if self.sparse:
            more = self._around_tile - self.w * self.h
            return (
                *self._after_feed_forward(before + more),
                *self.feed_forward_moments(before + more),
            )
        block = DoraBlock(self.shape, self.work)
        kept = before + self.second_half + self._around_tile
        moments = [
            # a forward pass has no gradient yet
            *block.again(before + self.block_input, reads=self.between),
            *block.back(
                kept,
                reads=self.between,
                counted=self._counted,
                scaled=self._scaled_gradient,
            ),
        ]
        if self.shape.norms_after:  # the norm behind the block goes back beside all of it
            norm = 20 * self.h + self.after  # five float32 copies of its input
            moments.append(Moment(per_token=kept + norm + block.kept))
        return tuple(moments)

    def _back_to_attention(self, before: int) -> Moment:
        """The norm before the block goes back."""
        each = before + self._around_tile + self._kept_by_int8
        return Moment(
            per_token=each + (self.norm.keeps(self.between) + self.copies_beside(self.w)) * self.h,
            adapted=self._block_adapters,
        )

    @property
    def _kept_by_int8(self) -> int:
        """What LLM.int8() has read of the feed-forward block: of float32 states each layer a copy of its own."""
        if not self.aside:
            return 0
        readers = len(self._feed_forward) - 1 if self.between > self.c else 1
        return self.c * (self.width + readers * self.h)

    def _of_output(self, before: int) -> tuple[Moment, ...]:
        """Going back through the output projection: what is left of the gradient of the tile's states (w h) is there, and its own."""
        if not self.dora.adapts(self._out):
            return ()
        each = before + self._around_tile + self._kept_by_int8 + self.dora.slopes(self._out)
        return (
            *self._output_projection(),
            Moment(per_token=each + self.work.weight_bytes * self.h, adapted=self._block_adapters),
        )

    # before attention

    def _projecting(self) -> tuple[Moment, ...]:
        """First norm and projections of a tile.

        Queries and keys go back through their rotation: their gradient times cosine and sine, and two halves of the latter laid out.
        Then values, keys and queries go back through their projections, one after another, beside the gradients of those that wait.
        """
        dora, held = self.dora, self._whole
        normed = self.shape.query_key_norm != "none"
        inputs = self.first_half + self._low_rank(tuple(self._projections)) + held
        inputs += 4 * (self.q + self.k) if normed else 0
        if self.shape.fused_qkv:  # values are a view of what the projection gave
            inputs += self.c * (self.q + self.k)
        inputs += self.norm.keeps_itself(self.input) * self.h
        keeps = dora.keeps(*self._projections)
        moments = [Moment(per_token=inputs + keeps + self._keys + 4 * self._queries)]
        if (
            normed and self.shape.normalises_last
        ):  # the keys' gradient waits, and nothing has gone back through a projection
            moments.append(Moment(per_token=inputs + keeps + self._keys + 20 * self.q))
        waiting = self._queries + self._keys
        done = 0
        for index in reversed(range(len(self._projections))):
            each = self._projections[index]
            if not self.shape.fused_qkv:
                waiting -= (self._queries, self._keys, 0)[index]
            else:
                waiting = 0
            if dora.adapts(each):
                through = inputs + keeps + waiting + dora.slopes(each)
                through += self.input * self.h if done else 0  # the gradient of what they read
                moments.append(Moment(per_token=through, adapted=done))
            if normed and index < 2:
                own = (self.q, self.k)[index]
                norm = inputs + keeps + waiting + 20 * own
                moments.append(Moment(per_token=norm, adapted=done))
            keeps -= dora.keeps(each)
            done += dora.entries(each)
        norm = (self.norm.keeps(self.input) + self._back + self.input) * self.h + held
        moments.append(Moment(per_token=norm, adapted=self._trained_before))
        matrices = self.matrices(*self._projections)
        every = (*moments, *self._projecting_again())
        return tuple(replace(each, fixed=each.fixed + matrices) for each in every)

    @property
    def _normalised(self) -> int:
        """There when a part begins, as both run the layer's first norm: its float32 input (4 h) and what it gave (w h); else nothing."""
        if not self.shape.norms_before:
            return 0
        return (self.norm.copies(self.input) + self.input) * self.h

    def _projecting_again(self) -> tuple[Moment, ...]:
        """When they are computed again, one after another: their matrices outweigh a tile of few tokens."""
        kept, moments = self._normalised, list[Moment]()
        normed = self.shape.query_key_norm != "none"
        for each in self._projections:
            moments.extend(self.dora.forward(each, kept, reads=self.input))
            kept += self.dora.after(each, self.input) + 4 * normed * each.outputs
        # queries are turned: times cosine, their halves changed over, and these times sine
        moments.append(Moment(per_token=kept + 3 * self._queries))
        return tuple(moments)
