"""The frugal layer's backward pass (`xtune.kernels.frugal`): a handful of numbers a token, and one tile or one group. Closed formulas."""

from functools import cached_property

from xtune.memory.layer import SCORE_BYTES, Layer
from xtune.memory.moments import Moment
from xtune.memory.shape import Linear, ModelShape
from xtune.memory.workload import Workload

FEWEST_QUERIES, MOST_QUERIES = 128, 4096
"""Queries of a block of a sliding window (`xtune.kernels.attention`)."""


class FrugalLayer(Layer):
    """The same letters as in `Layer`; what is whole is the gradient, queries, keys, values and what attention gave."""

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        super().__init__(shape, work)
        self.tile = min(work.tile_tokens, work.tokens) * work.rows
        self.cut = self.tile < work.positions

    @property
    def has_mask(self) -> bool:
        """Never: samples are calls of their own, windows are cut into blocks."""
        return False

    @property
    def mask(self) -> int:
        """The one from which those of a window's blocks are cut, kept for the next layer.

        A block has about a window's worth of queries (`xtune.kernels.attention.window_block`). Capped scores keep none.
        """
        window = self.shape.sliding_window
        if self.shape.caps_scores or window is None or window >= self.work.tokens:
            return 0
        block = min(MOST_QUERIES, max(FEWEST_QUERIES, window))
        return block * (block + window) * self.c

    @property
    def _capped_queries(self) -> int:
        """Queries of a block of capped scores."""
        heads = self.shape.heads // self.shape.kv_heads
        most = SCORE_BYTES // (4 * self.work.rows * heads * self.work.tokens)
        return min(self.work.tokens, max(128, most))

    @cached_property
    def repeats_keys(self) -> bool:
        """Never."""
        return False

    def peaks(self) -> tuple[int, ...]:
        """Bytes of the moments, without the layer's input."""
        n, c, w, held = self.work.positions, self.c, self.w, self.work.held_bytes
        turned = max(w, c) if w > c else c  # float32 tables turn queries and keys into float32
        given = turned if self.work.dora else c  # what attention gave, and values
        whole = n * (held * self.h + (turned + given) * (self.q + self.k))
        without = n * (held * self.h + turned * self.q + (turned + given) * self.k)
        finishing = [each.bytes(self.tile) for each in self._finishing()]
        projecting = [each.bytes(self.tile) for each in self._projecting()]
        finished, every = self._sums()
        made = self._made(self._feed_forward)
        return (
            *(whole + finished + made + each for each in finishing),
            whole + finished + self._group(),
            *(without + every + self._made(self._attention[:-1]) + each for each in projecting),
            n * held * self.h + every + self._given(),
        )

    def _sums(self) -> tuple[int, int]:
        """float32 sums of a full fine-tune's gradients when every tile is finished, and of all of them."""
        if not self.work.is_full:
            return 0, 0
        entries = self.shape.layer_entries
        projections = sum(each.weights for each in self._attention[:-1])
        return 4 * (entries - projections), 4 * entries

    def _made(self, linears: tuple[Linear, ...]) -> int:
        """The largest gradient of a tile, before it is added to the sums, and autocast's copies of what is not yet used of the part."""
        if not self.work.is_full:
            return 0
        experts = self.shape.experts * self.h * self.shape.expert_intermediate if not linears else 0
        sizes = [2 * experts, experts, *(each.weights for each in linears)]
        if self.w == 4 and self.c < 4:
            return self.c * (sum(sizes) - max(sizes)) + 4 * max(sizes)
        return self.c * max(sizes)

    def _given(self) -> int:
        """The sums once more in the type of the weights, when the layer is done."""
        return self.w * self.shape.layer_entries if self.work.is_full and self.w < 4 else 0

    def _finishing(self) -> tuple[Moment, ...]:
        """Output projection, second norm and feed-forward block of a tile."""
        before = self.c * self.q + self.low_rank + self.after
        return (
            *self._after_feed_forward(before),
            *self.feed_forward_moments(before),
            self._between(before),
            *self._output_projection(),
        )

    def _output_projection(self) -> tuple[Moment, ...]:
        """Beside an unquantised base an adapter of the output projection casts what attention gave to float32 and back."""
        if not self.work.casts_inputs:
            return ()
        return (Moment(per_token=6 * self.w * self.h + (4 + 4 * self.c) * self.q),)

    def _projecting(self) -> tuple[Moment, ...]:
        """First norm and projections of a tile: five float32 copies of a norm's input, of the hidden states or the queries."""
        c, q, k, h = self.c, self.q, self.k, self.h
        kept = self.first_half + (4 * h if self.w == 4 else 0)
        scaled = self._before_scale
        norm = Moment(per_token=(4 + self._back + self.w) * h + c * (q + 2 * k))
        if self.shape.query_key_norm == "none":
            return (norm,)
        return (norm, Moment(per_token=kept + self.w * h + (26 + scaled) * q + (6 + scaled) * k))

    def _group(self) -> int:
        """Attention of one key head and its query heads: what it gave, gradients, and what the kernel has inside.

        Capped scores are computed a block at a time: gradient of the weights, weights and gradient of the scores in float32, and
        capped scores.
        """
        shape, c = self.shape, self.c
        query, width, heads = (
            self.q // shape.kv_heads,
            shape.head_dim,
            shape.heads // shape.kv_heads,
        )
        n, work = self.work.positions, self.work
        each = 2 * c * query + 2 * c * width
        if not shape.caps_scores:
            inside = self.inside(query, width, heads)
            return n * (each + inside + self._sinks(heads)) + self._blocks(n, query, width)
        keys, queries = work.tokens, self._capped_queries
        scores = work.rows * heads * queries * keys
        return n * (each + c * query) + scores * (12 + c) + 2 * queries * keys

    def _sinks(self, heads: int) -> int:
        """gpt-oss: queries, keys and values with a column for the sink, filled up to 16 numbers, and their gradients."""
        if not self.shape.model_type.startswith("gpt_oss"):
            return 0
        width = -(-(self.shape.head_dim + 1) // 16) * 16
        return 2 * self.c * (heads + 2) * width

    def _blocks(self, n: int, query: int, width: int) -> int:
        """Windows: the blocks' outputs and the whole of them."""
        window = self.shape.sliding_window
        if window is None or window >= self.work.tokens:
            return 0
        return n * self.c * (query + 2 * width)
