"""A layer computed for all tokens at one time, some of whose linear layers have DoRA: its backward pass. Closed formulas; letters as in `kept`."""

from functools import cached_property

from xtune.memory.dora import DoraBlock, DoraLinears
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.whole import WholeLayer
from xtune.memory.workload import ADAPTER_BYTES, Workload


class WholeDoraLayer(WholeLayer):
    """The same letters as in `Layer`."""

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        super().__init__(shape, work)
        self.dora = DoraLinears(work)
        *self._projections, self._out = self.shape.attention_linears

    @cached_property
    def aside(self) -> int:
        """What LLM.int8() has read of the feed-forward block: of float32 states each layer a copy of its own."""
        if self.work.quantization != "int8" or self.sparse:
            return 0
        readers = len(self._feed_forward) - 1 if self.between > self.c else 1
        return self.c * (self.width + readers * self.h)

    @property
    def passing(self) -> int:
        """The largest matrices of one linear layer in a forward pass, beside all that the layer keeps."""
        linears = (*self._projections, self._out, *(self._feed_forward if self.dora_block else ()))
        moments = (self.dora.forward(each, 0, reads=self.c) for each in linears)
        return max(moment.fixed for each in moments for moment in each)

    # computed again

    def _again(self, before: int) -> tuple[Moment, ...]:
        """Each linear layer, beside what those before it left."""
        dora, moments = self.dora, list[Moment]()
        # computed again by us, nothing has been multiplied yet
        early = self._scaled_gradient if self.work.is_shelved else 0
        beside = self._around - early + self._beside
        kept = beside
        if self.shape.norms_before:
            kept += (self.norm.copies(self.input) + self.input) * self.h
        normed = self.shape.query_key_norm != "none"
        for each in self._projections:
            moments.extend(dora.forward(each, kept, reads=self.input))
            kept += dora.after(each, self.input) + 4 * normed * each.outputs
        # queries are turned: times cosine, their halves changed over, and these times sine
        moments.append(Moment(per_token=kept + 3 * self.c * self.q))
        kept = beside + before - self.after - self.output_copy - dora.keeps(self._out)
        moments.extend(dora.forward(self._out, kept, reads=self.c))
        if self.dora_block:
            block = DoraBlock(self.shape, self.work)
            kept = before + self.block_input + beside
            again = block.again(kept, reads=self.between, stops_early=self._stops_early)
            moments.extend(again)
        return tuple(moments)

    @property
    def _beside(self) -> int:
        """What there is of the gradient when transformers computes the layer again, besides itself: it has begun to go back by then.

        Before a last norm it is float32 (4 h), a copy where the block or the layer gave 16 bits. Through a last layer with DoRA it has been multiplied (4 h), beside a copy for the base
        (c h) and, as the layer gave 16 bits, a float32 one (4 h). Autograd keeps nothing of a quantised layer without an adapter:
        the gradient of the product is there.
        """
        work, h = self.work, self.h
        if self.sparse or not work.gradient_checkpointing or work.is_shelved:
            return 0
        block = DoraBlock(self.shape, work)
        if self.shape.norms_after:
            narrow = min(self.output, self.c) < ADAPTER_BYTES
            return 4 * h if narrow else 0
        if not block.adapts(block.down):
            return block.c * block.m if work.quantization else 0
        return 4 * h + (self.c * h + 4 * h if self.c < ADAPTER_BYTES else 0)

    # going back

    @property
    def _gradient(self) -> int:
        """The gradient of the layer's output, and once more where what a block gives is scaled."""
        return self.output * self.h + self._scaled_gradient

    def _after_feed_forward(self, before: int) -> tuple[Moment, ...]:
        """A norm behind the block goes back while the block still has everything: five float32 copies of its input (20 h)."""
        if not self.shape.norms_after:
            return ()
        kept = before + self.second_half + self.after + self.feed_forward
        each = kept + (20 + self.output) * self.h
        return (Moment(per_token=each, fixed=self.experts + self.factors),)

    def _between(self, before: int) -> Moment:
        """The norm before the block goes back."""
        each = before + self.output * self.h + self.aside
        each += (self.norm.keeps(self.between) + self.copies_beside(self.w)) * self.h
        return Moment(per_token=each, graded=self._block_entries, adapted=self._block_adapters)

    def feed_forward_moments(self, before: int) -> tuple[Moment, ...]:
        """Of the block, with so much a token kept before it."""
        if self.sparse:
            return super().feed_forward_moments(before)
        block = DoraBlock(self.shape, self.work)
        kept = before + self.second_half + self.output * self.h
        wide = self.c == self.output == ADAPTER_BYTES
        counted = 4 * self.h if wide and not self.shape.norms_after else 0
        scaled = self._scaled_gradient
        return block.back(kept, reads=self.between, counted=counted, scaled=scaled)

    def _attention_moments(self) -> tuple[Moment, ...]:
        """Through the output projection; attention itself; and then as a frugal layer's (`FrugalDoraLayer`) its projections.

        Queries and keys go back through their rotation: their gradient times cosine and sine, and two halves of the latter laid out.
        """
        dora = self.dora
        kept = self.first_half + self._gradient + self.low_rank + self.aside
        kept += self._given_by_block
        moments = list(super()._attention_moments())
        done = self._block_adapters
        if dora.adapts(self._out):
            each = kept + self.heads + self.output_copy + self.after + dora.slopes(self._out)
            counted = 4 * self.h if self.w == ADAPTER_BYTES and not self.shape.norms_after else 0
            moments.append(Moment(per_token=each - counted, adapted=done))
        done += dora.entries(self._out)
        query = key = value = self.c
        keeps, norms = dora.keeps(*self._projections), self._norms_of_heads
        both = query * self.q + key * self.k
        turned = kept + keeps + norms + (key + value) * self.k + 4 * query * self.q
        moments.append(Moment(per_token=turned, adapted=done))
        if self.shape.fused_qkv:
            through = kept + keeps + dora.slopes(self._projections[0])
            return (*moments, Moment(per_token=through, adapted=done))
        waits = (0, query * self.q, both)
        for index in (2, 1, 0):
            each_linear = self._projections[index]
            if dora.adapts(each_linear):
                through = kept + keeps + norms + waits[index] + dora.slopes(each_linear)
                moments.append(Moment(per_token=through, adapted=done))
            keeps -= dora.keeps(each_linear)
            done += dora.entries(each_linear)
        return tuple(moments)
