"""What attention has for every pair of tokens: masks, and the scores of eager attention. Closed formulas; letters as in `kept`."""

from functools import cached_property

from xtune.memory.layer_parts import LayerParts


class AttendingParts(LayerParts):
    """The parts of a layer, and how it attends."""

    @property
    def pairs(self) -> int:
        """Pairs of tokens, all rows together."""
        return self.work.rows * self.work.tokens**2

    @cached_property
    def repeats_keys(self) -> bool:
        """Whether keys and values are repeated for every query head before attention."""
        # a single one is seen by every head where it is
        grouped = 1 < self.shape.kv_heads < self.shape.heads
        repeats = self.has_mask or not self.work.flash or self.shape.remote
        return grouped and (
            self.work.attention == "eager" or (self.work.attention == "sdpa" and repeats)
        )

    @property
    def repeats_in_cast(self) -> bool:
        """Whether autocast writes out a single key head for every query head: rotated by float32 cosines keys are float32, and seen by all when they are cast."""
        single = self.shape.kv_heads == 1 < self.shape.heads and not self.work.frugal
        shown = self.work.attention == "eager" or self.has_mask or not self.work.flash
        return single and shown and self.c < self.work.weight_bytes

    @property
    def has_mask(self) -> bool:
        """Whether sdpa is given a mask: for packs, and for windows no longer than a sequence."""
        if self.work.attention != "sdpa":
            return False
        window = self.shape.sliding_window
        return self.work.packing or (window is not None and window <= self.work.tokens)

    @property
    def sink_scores(self) -> int:
        """Bytes of a number of gpt-oss's scores: its sinks are in the weights' type, and mask and sinks widen what is joined with them."""
        return max(self.c, self.work.weight_bytes)

    @property
    def _scores(self) -> int:
        """What eager attention keeps for every pair and head: after softmax in float32 and, if that is another, in the compute type."""
        if self.writes_dropped:  # in float32 softmax, what is left of it and what says so; heads too, as many keys as queries
            return self.pairs * self.shape.heads * 12 + self.work.positions * 12 * self.q
        if self.work.attention != "eager":
            return 0
        c, dropped = self.c, self.shape.dropouts.scores
        wide = self.sink_scores if self.shape.has_sinks else 4
        each = wide + (c if c < wide else 0) + (c if self.shape.caps_scores else 0)
        # of what is dropped a byte says so; what is left is another tensor, unless softmax was cast to be read
        shares = c < wide
        each += (1 + (0 if shares else c)) if dropped else 0
        return self.pairs * self.shape.heads * each

    @cached_property
    def _mask(self) -> int:
        """A mask's copy in the compute type, made for the kernel and kept for its backward pass."""
        return self.pairs * self.c if self.has_mask else 0

    @property
    def mask(self) -> int:
        """Masks that exist all the while: of a byte for each pair, or of a number in the type of the embedding's states for eager attention.

        Layers without a window have one of their own, unless they need none. Most models make it whether there are such layers or not;
        when layers are computed again it is gone.
        """
        shape, packing = self.shape, self.work.packing
        again = self.work.gradient_checkpointing and shape.all_windowed
        masks = 1 if shape.sliding_window is None or shape.makes_one_mask or again else 2
        if self.work.attention == "eager":
            return self.pairs * self.w * masks
        # without packs one for all rows
        shared = self.pairs * masks if packing else self.work.tokens**2
        return shared if self.has_mask else 0

    @property
    def idle_mask(self) -> int:
        """A mask for layers with a window that is made although there are none: three of them while it is, and one until the forward pass ends."""
        makes = self.shape.makes_idle_mask and self.work.attention == "sdpa"
        return self.work.tokens**2 if makes and not self.work.frugal else 0
