"""A moment of a layer's backward pass, and those of a feed-forward block with DoRA. Closed formulas; the letters are those of `layer`."""

from dataclasses import dataclass

from xtune.memory.shape import Linear, ModelShape
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

    fresh: int = 0
    """Of these the entries whose gradient has just come, and is not yet stepped with or added up."""

    adapted: int = 0
    """Entries of the layer's own adapters that have gradients by then."""

    def bytes(self, positions: int) -> int:
        """All of it for so many tokens."""
        return positions * self.per_token + self.fixed


def dora_moments(shape: ModelShape, work: Workload, again: int, back: int) -> tuple[Moment, ...]:
    """Of a feed-forward block with DoRA, whose magnitudes turn what linear layers give into float32.

    A linear layer keeps what it gives (g), what base and adapter gave of it (2 c), and gives the sum of both and of three
    float32 products with magnitudes (12). In the forward pass that is run again most exists when a layer makes its matrices,
    the last one beside gate, activation, up and product (4 g + 4 c) and, beside an unquantised base, a float32 copy of the
    latter; or when a layer's products exist. On the way back products of up's gradient exist beside the latter in both types
    (4 + 12 + c), gate and the gradient of its activation (2 g).

    Args:
        shape: The model; its feed-forward blocks are dense.
        work: What is done with it.
        again: Bytes a token that are there before the block, in the forward pass that is run again.
        back: The same when the block goes back.
    """
    c, g, h, m = work.compute_bytes, work.given_bytes, shape.hidden, shape.intermediate
    cast = ADAPTER_BYTES if work.casts_inputs else 0
    first, last = shape.mlp_linears[0], shape.mlp_linears[-1]
    before_last = again + (4 * g + 4 * c + cast) * m
    gates = (
        _fused_gates(shape, work, again, back)
        if shape.fused
        else (
            Moment(
                per_token=again + (2 * g + 3 * c) * m + cast * h, fixed=dora_matrices(first, work)
            ),
            Moment(
                per_token=again + (2 * g + 4 * c + 12) * m + (cast + c) * h,
                fixed=_kept_matrices(first, work),
            ),
            Moment(per_token=back + (2 * g + 5 * c + 16) * m + c * h),
        )
    )
    return (
        *gates,
        Moment(per_token=before_last + c * h, fixed=dora_matrices(last, work)),
        Moment(per_token=before_last + c * m + (12 + 2 * c) * h, fixed=_kept_matrices(last, work)),
    )


def _fused_gates(shape: ModelShape, work: Workload, again: int, back: int) -> tuple[Moment, ...]:
    """Where gate and up are one layer products are twice as wide (24), and on the way back the gradient in both types (8 + 2 c)."""
    c, h, m = work.compute_bytes, shape.hidden, shape.intermediate
    cast = ADAPTER_BYTES if work.casts_inputs else 0
    first = shape.mlp_linears[0]
    return (
        Moment(per_token=again + 2 * c * m + cast * h, fixed=dora_matrices(first, work)),
        Moment(
            per_token=again + (24 + 4 * c) * m + (cast + c) * h, fixed=_kept_matrices(first, work)
        ),
        Moment(per_token=back + (32 + 6 * c) * m + c * h),
    )


def dora_matrices(linear: Linear, work: Workload) -> int:
    """What DoRA makes of one linear layer of i inputs and o outputs (PEFT 0.21, `DoraLinearLayer`).

    A float32 unit matrix (4 i i) and its copy in the compute type (c i i), through which the factors are multiplied (c i o);
    then, the float32 one gone, float32 copies of the base's matrix, of the factors' product, of the latter scaled and of the
    sum (16 i o). Where all is float32 there is one unit matrix and nothing to cast (12 i o, or 16 where the base's matrix
    is expanded).
    """
    c, square = work.compute_bytes, linear.inputs**2
    if c == ADAPTER_BYTES:
        return c * square + (4 if work.quantization else 3) * c * linear.weights
    return max((4 + c) * square + c * linear.weights, c * square + 16 * linear.weights)


def _kept_matrices(linear: Linear, work: Workload) -> int:
    """Those that are there until the layer has given its output: the unit matrix, the base's and the factors' product."""
    return work.compute_bytes * linear.inputs**2 + 2 * ADAPTER_BYTES * linear.weights
