"""The frugal layer's backward pass (`xtune.kernels.frugal`): a handful of numbers a token, and one tile or one group. Closed formulas."""

from functools import cached_property

from xtune.memory.blocks import Block, capped_blocks, keys_before, window_block, window_blocks
from xtune.memory.layer import Layer
from xtune.memory.moments import Moment, more
from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload

LAST_BLOCKS = 3
"""Blocks at the end of a sample that are looked at. All but the last have as many queries, and each sees no fewer keys than the one
before: the largest is the last of these, or the rest behind it, and beside each is the one before it."""


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
        """The one from which those of a window's blocks are cut, kept for the next layer; capped scores keep none."""
        window = self.shape.sliding_window
        if self.shape.caps_scores or window is None or window >= self.work.tokens:
            return 0
        block = window_block(window)
        return block * (block + keys_before(window)) * self.c

    @cached_property
    def repeats_keys(self) -> bool:
        """Never."""
        return False

    @cached_property
    def _turned_bytes(self) -> int:
        """Of a number of queries and keys: float32 by tables in the type of the held states.

        Where tables are float32 whatever the states are, what they turn is cast back.
        """
        tables = self.work.weight_bytes > self.c and not self.shape.float32_rotary
        return ADAPTER_BYTES if tables else self.c

    @cached_property
    def _queries(self) -> int:
        """Bytes a token of queries, as they are there for all tokens; of keys, values and what attention gave below."""
        return self._turned_bytes * self.q

    @cached_property
    def _keys(self) -> int:
        return self._turned_bytes * self.k

    @cached_property
    def _values(self) -> int:
        return self.c * (self.k if self.latent is None else self.a)

    @cached_property
    def _attended(self) -> int:
        return self.c * self.a

    def peaks(self) -> tuple[int, ...]:
        """Bytes of the moments, without the layer's input, and with the layer's own gradients so far.

        First the tiles behind attention go back, while queries, keys, values and what attention gave are whole; then attention,
        a group at a time, beside the sums of the tiles' gradients; then the tiles before it; at last there are the sums.
        """
        n, held = self.work.positions, self.work.weight_bytes
        without = n * (held * self.h + self._queries + self._keys + self._values)
        whole = without + n * self._attended
        behind = 4 * self._trained_behind
        finishing = tuple(more(each, per_token=self.dropped) for each in self._finishing())
        finishing += self.with_dropped_gradient(finishing)
        return (
            whole + self._in_tiles(finishing, self._trained_behind),
            whole + behind + self._group(),
            without + behind + self._in_tiles(self._projecting(), self._trained_before),
            n * held * self.h + behind + 4 * self._trained_before + self._given(),
        )

    # gradients of the layer's own parameters

    @cached_property
    def _trained_before(self) -> int:
        """Entries of what is trained before attention: of the projections, or of their adapters."""
        projections = self._attention[:-1]
        if self.work.is_full:
            return sum(each.parameters for each in projections)
        return sum(self.adapter_of(each) for each in projections)

    @cached_property
    def _trained_behind(self) -> int:
        """Of everything else."""
        all_trained = self.shape.layer_entries if self.work.is_full else self.adapters
        return all_trained - self._trained_before

    def _in_tiles(self, moments: tuple[Moment, ...], trained: int) -> int:
        """The largest of a part's moments, with its gradients: of its first tile, or of a later one beside the sums so far.

        At the end of a tile all its gradients are there and, where they are narrower than float32, the sums that are made of
        them.
        """
        tiles = [(self.tile, 0)]
        if self.cut:
            tiles.append((min(self.tile, self.work.positions - self.tile), 4 * trained))
        sizes = [
            sums + each.bytes(tile) + self._gradients(each, trained)
            for tile, sums in tiles
            for each in moments
        ]
        own = self._gradient_bytes
        added = 4 * trained if self.cut or own < 4 else 0
        return max(*sizes, own * trained + added + self.tile * (self.w * self.h + self.c * self.a))

    @property
    def _gradient_bytes(self) -> int:
        return self.w if self.work.is_full else ADAPTER_BYTES

    def _gradients(self, moment: Moment, trained: int) -> int:
        """Gradients that a tile has given by a moment, and autocast's copies of what it has not yet used of a part."""
        given = moment.graded if self.work.is_full else moment.adapted
        unused = max(0, trained - max(given, self.uncast))
        copies = self.c * unused if self.c < self._gradient_bytes else 0
        return self._gradient_bytes * given + copies

    def _given(self) -> int:
        """The sums once more in the type of the weights, when the layer is done."""
        return self.w * self.shape.layer_entries if self.work.is_full and self.w < 4 else 0

    # tiles

    def _finishing(self) -> tuple[Moment, ...]:
        """Output projection, second norm and feed-forward block of a tile."""
        before = self.c * self.a + self.low_rank + self.after + self._masks(self._attention[-1])
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
        again = 6 * self.w * self.h + (4 + 4 * self.c) * self.a
        again += 5 * self.a if self.work.dropout else 0
        return (Moment(per_token=again, adapted=self._block_adapters),)

    def _projecting(self) -> tuple[Moment, ...]:
        """First norm and projections of a tile: five float32 copies of a norm's input, of the hidden states, the queries or the keys.

        Queries, keys and values of the tile are held, in their own types. The keys' norm goes back first, beside the queries'
        input in float32 and their gradient.
        """
        q, k, h = self.q, self.k, self.h
        kept = self.first_half + (4 * h if self.w == 4 else 0) + self.w * h
        scaled = self.norm.trained_copy
        held = self._queries + self._keys + self._values
        norm = Moment(
            per_token=(self.norm.keeps(self.w) + self._back + self.w) * h + held,
            graded=self._trained_before,
            adapted=self._trained_before,
        )
        if self.latent is not None:
            return norm, Moment(per_token=kept + held + self.latent.projecting)
        if self.shape.query_key_norm == "none":
            return (norm,)
        queries = (24 + scaled) * q + self._keys + scaled * k
        keys = (24 + scaled) * k + (4 + scaled) * q + self._queries
        return norm, *(Moment(per_token=kept + held + each) for each in (queries, keys))

    def _group(self) -> int:
        """Attention of one key head and its query heads, back: of all tokens at one time, or a block of queries after the other.

        Samples of a pack are calls of their own, the longest of which has as many tokens as a row.
        """
        shape, work = self.shape, self.work
        causal, windowed = [Block(0, 0, work.tokens)], [Block(0, 0, work.tokens)]
        heads, window = shape.heads // shape.kv_heads, shape.sliding_window
        if shape.caps_scores:
            causal = capped_blocks(work.tokens, None, work.rows * heads, last=LAST_BLOCKS)
            windowed = capped_blocks(work.tokens, window, work.rows * heads, last=LAST_BLOCKS)
        elif window is not None and window < work.tokens:
            windowed = window_blocks(work.tokens, window, last=LAST_BLOCKS)
        kinds = (windowed,) if shape.all_windowed else (causal, windowed)
        return max(self._of_blocks(blocks) for blocks in kinds)

    def _of_blocks(self, blocks: list[Block]) -> int:
        """The largest block, beside the gradients of keys and values of the one before it, of which the next sees some.

        There are what the block gave, which somebody holds (c query); heads that came in float32 have copies in the compute type.
        """
        shape, c = self.shape, self.c
        heads, width = shape.heads // shape.kv_heads, shape.head_dim
        query, masked = heads * width, len(blocks) > 1
        keys_and_values = (self._keys + self._values) // self.k
        copies_of_queries = (
            c * query * ((self._queries > c * self.q) + (self._attended > c * self.q))
        )
        copies_of_keys = c * width * ((self._keys > c * self.k) + (self._values > c * self.k))
        sizes, carried = [], 0
        for block in blocks:
            queries, keys = block.end - block.start, block.end - block.first
            there = queries * (c * query + copies_of_queries) + keys * copies_of_keys + carried
            if shape.caps_scores:
                sizes.append(there + self._capped(queries, keys))
            else:
                sizes.append(there + self._uncapped(queries, keys, masked=masked))
            carried = keys * keys_and_values * width
        return self.work.rows * max(sizes)

    def _uncapped(self, queries: int, keys: int, *, masked: bool) -> int:
        """Of a fused kernel: the gradient of its queries (c query) and those of its keys and values (2 c width), and what it has inside."""
        c, shape = self.c, self.shape
        heads, width = shape.heads // shape.kv_heads, shape.head_dim
        query = heads * width
        if self.latent is not None:
            of_keys = c * (width + self.a // shape.heads)
            return queries * (c * query + self.latent.inside // shape.heads) + keys * of_keys
        inside = self.inside_of_queries(query, heads) + 4 * heads + self._sinks(heads)
        of_keys = 2 * c * width + self.inside_of_keys(query, width, heads, masked=masked)
        written = heads * queries * keys * self.written_back
        return queries * (c * query + inside) + keys * of_keys + written

    def _capped(self, queries: int, keys: int) -> int:
        """Of capped scores, at the gradient of their softmax.

        For every score the gradient of the weights, the weights and the gradient of the score in float32, and the capped score; a
        byte for what is not seen; for every query head keys, and the gradient of values (c query each). Queries of several rows
        are copied for their product.
        """
        shape, c, rows = self.shape, self.c, self.work.rows
        heads = shape.heads // shape.kv_heads
        query = heads * shape.head_dim
        copied = queries * c * query if rows > 1 and shape.kv_heads > 1 else 0
        pairs = queries * keys
        each = 12 + c
        if shape.dropouts.scores:  # softmax, a byte, the gradients before and behind dropout
            each = max(each, 5 + 3 * c)
        return heads * each * pairs + keys * 2 * c * query + copied + -(-pairs // rows)

    def _sinks(self, heads: int) -> int:
        """gpt-oss: queries, keys and values with a column for the sink, filled up to 16 numbers, and their gradients."""
        if not self.shape.model_type.startswith("gpt_oss"):
            return 0
        width = -(-(self.shape.head_dim + 1) // 16) * 16
        return 2 * self.c * (heads + 2) * width
