"""A moment of a layer's backward pass, and those of a feed-forward block with DoRA. Closed formulas; the letters are those of `layer`."""

from dataclasses import dataclass

from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment of one layer's backward pass."""

    per_token: int
    """Bytes for every token that the layer, or its tile, is computed over."""

    fixed: int = 0
    """Bytes whatever the length."""

    graded: int = 0
    """Entries of the layer's own matrices that have gradients by then, where they are trained."""

    adapted: int = 0
    """Entries of the layer's own adapters that have gradients by then."""

    def bytes(self, positions: int) -> int:
        """All of it for so many tokens."""
        return positions * self.per_token + self.fixed


def dora_moments(shape: ModelShape, work: Workload, kept: int) -> tuple[Moment, ...]:
    """Of a feed-forward block with DoRA, whose magnitudes turn what linear layers give into float32.

    When the last layer has given its output there are the base's, the adapter's, and their products with magnitudes; on the way
    back float32 gradients of both. Where gate and up are one layer the gradient of its magnitudes is a sum over products as wide.

    Args:
        shape: The model; its feed-forward blocks are dense.
        work: What is done with it.
        kept: Bytes a token that are there before the block.
    """
    c, h, m = work.compute_bytes, shape.hidden, shape.intermediate
    last = shape.mlp_linears[-1]
    given = Moment(
        per_token=kept + (16 + 5 * c) * m + (16 + 2 * c) * h,
        fixed=c * last.inputs**2 + 4 * last.weights,
    )
    back = Moment(per_token=kept + (20 + 4 * c) * m, fixed=_matrices(shape, work))
    if not shape.fused:
        return given, back
    return given, back, Moment(per_token=kept + (32 + 6 * c) * m + 8 * h, fixed=c * h * h)


def _matrices(shape: ModelShape, work: Workload) -> int:
    """What DoRA makes of one linear layer of i inputs and o outputs (PEFT 0.21, `DoraLinearLayer`).

    A float32 unit matrix (4 i i) and its copy in the compute type (c i i), through which the factors are multiplied (c i o);
    then, the float32 one gone, float32 copies of the base's matrix, of the factors' product, of the latter scaled and of the
    sum (16 i o). Where all is float32 there is one unit matrix and nothing to cast (12 i o, or 16 where the base's matrix
    is expanded).
    """
    c = work.compute_bytes
    linears = (*shape.attention_linears, *shape.mlp_linears)
    if c == ADAPTER_BYTES:
        copies = 4 if work.quantization else 3
        return max(c * each.inputs**2 + copies * c * each.weights for each in linears)
    unit = max((4 + c) * each.inputs**2 + c * each.weights for each in linears)
    return max(unit, *(c * each.inputs**2 + 16 * each.weights for each in linears))
