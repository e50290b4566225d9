"""The decoder layers of a model one above the other: of which kinds they are, what they keep and what of them is trained. Closed formulas.

Of a mixture of experts some layers may be dense. They are a kind of their own, and may be the wider one: each kind has its moments, at
the last and at the first of its layers.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from xtune.memory.dora_frugal import FrugalDoraLayer
from xtune.memory.dora_whole import WholeDoraLayer
from xtune.memory.frugal import FrugalLayer
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.whole import WholeLayer
from xtune.memory.workload import Workload


def make_layer(shape: ModelShape, work: Workload) -> FrugalLayer | WholeLayer:
    """The widest layer of a model, as it is computed."""
    if work.frugal:
        return FrugalDoraLayer(shape, work) if work.dora else FrugalLayer(shape, work)
    return WholeDoraLayer(shape, work) if work.dora else WholeLayer(shape, work)


@dataclass(frozen=True)
class Kind:
    """Layers that are alike."""

    layer: FrugalLayer | WholeLayer
    at: tuple[int, ...]
    """Which they are, counted from the first of the model."""

    def below(self, layer: int) -> int:
        """How many of the model's first so many layers are of this kind."""
        return sum(each < layer for each in self.at)

    @property
    def entries(self) -> int:
        """Trained entries of one of them, modules that are trained in full not counted."""
        return self.layer.shape.layer_entries if self.layer.work.is_full else self.layer.adapters


class LayerStack:
    """All layers of a model under a workload."""

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        dense = shape.dense_positions
        others = tuple(each for each in range(shape.layers) if each not in set(dense))
        self.kinds = [Kind(make_layer(shape, work), others)]
        if dense:
            self.kinds.append(Kind(make_layer(shape.without_experts, work), dense))

    @property
    def learns(self) -> bool:
        """Whether any layer has something that is trained."""
        return any(kind.entries for kind in self.kinds)

    def entries_below(self, layer: int, saved: int) -> int:
        """Trained entries of the first so many layers, `saved` of each of them in modules that are trained in full."""
        return sum(kind.below(layer) * (kind.entries + saved) for kind in self.kinds)

    @cached_property
    def casts(self) -> int:
        """Autocast's copies of what all layers train, which are kept with what they keep."""
        return sum(len(kind.at) * kind.layer.casts for kind in self.kinds)

    @cached_property
    def first_learner(self) -> int:
        """The first layer that has something trained; those before it go back for the sake of what comes before them, or not at all."""
        return min((kind.at[0] for kind in self.kinds if kind.entries), default=0)

    def passed(self, kind: Kind) -> int:
        """Bytes of a layer that never goes back, in its feed-forward block: activation, up and product (3 c m), or two of them beside a matrix."""
        layer, work = kind.layer, self.work
        positions = min(work.tile_tokens, work.positions) if work.frugal else work.positions
        visits = 3 * layer.e * layer.h * layer.block.s if layer.sparse else 0
        matrix = 0 if layer.sparse else layer.expanded(*layer.shape.mlp_linears)
        width = work.compute_bytes * layer.width * positions
        return positions * (layer.block_input + visits) + max(3 * width, 2 * width + matrix)

    def ungraded(self, layer: int) -> Moment:
        """What a layer does not keep if its input has no gradient."""
        return next(kind.layer.ungraded for kind in self.kinds if layer in kind.at)

    def kept_below(self, layer: int) -> int:
        """Bytes that the first so many layers keep that are not computed again; of those without a window there are as many as there can be."""
        positions, plain = self.work.positions, min(layer, self.shape.windowless_layers)
        kept = 0
        for kind in self.kinds:
            count = kind.below(layer)
            without = min(plain, count)
            plain -= without
            kept += (count - without) * kind.layer.saved.bytes(positions)
            if without:
                windowless = replace(kind.layer.shape, sliding_window=None)
                kept += without * make_layer(windowless, self.work).saved.bytes(positions)
        return kept
