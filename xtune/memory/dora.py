"""What DoRA makes of a feed-forward block, of all tokens at one time or of a tile (PEFT 0.21, `DoraLinearLayer`). Closed formulas.

DoRA gives m (W + s B A) x / |W + s B A| for a linear layer of i inputs and o outputs. In a forward pass PEFT goes through four
moments; the letters are those of `kept`.

1. To multiply the factors it sends a unit matrix through the adapter: float32 (4 i i), in the compute type (c i i, which
   the adapter keeps to the end), and what comes of it (c i o).
2. For the norm it has, in the input's type, which is float32 unless a 16-bit input is not cast, the base's matrix, the product of
   the factors, the latter scaled, and the sum (16 i o).
3. Then the adapter reads the input, of which autocast makes a copy (c i a token).
4. Magnitudes are float32: the base's output times them is (4 o a token), the adapter's (4 o), and this scaled (4 o). Both
   outputs are kept in the compute type (2 c o). The float32 matrices of base and factors are still there (8 i o).

What a linear layer gives (g a number) is float32, unless the base is not quantised and PEFT casts it back. On the way back there
are the gradient of what it gave in float32, its products with the magnitudes and with what was multiplied by them (16 o), and a
copy in the compute type (c o).
"""

from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload


class DoraBlock:
    """A dense feed-forward block with DoRA.

    Args:
        shape: The model; its feed-forward blocks are dense.
        work: What is done with it.
    """

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        self.c = work.compute_bytes
        self.cast = self.c if self.c < ADAPTER_BYTES else 0
        """Bytes of autocast's copy of a number, where it makes one."""

        self.widened = ADAPTER_BYTES if work.casts_inputs else 0
        """Bytes of a number of an input that the adapter casts for itself beside an unquantised base."""

        copies = work.quantization == "int8" and self.c < work.state_bytes
        self.own = self.c if copies else 0
        """The same of the copy that LLM.int8() makes of float32 states and keeps."""

    def again(self, kept: int, *, stops_early: bool = False) -> tuple[Moment, ...]:
        """Of the forward pass, or of the one that is run again.

        When up begins, gate has kept what base and adapter gave (2 c m), what it gave and its activation exist (2 g m). When the
        last linear layer begins, so has up, and what it gave and the product exist (4 c m + 4 g m).

        Args:
            kept: Bytes a token that are there before the block.
            stops_early: Whether the pass ends with the first product with the magnitudes.
        """
        c, g, m = self.c, self.work.given_bytes, self.shape.intermediate
        *first, down = self.shape.mlp_linears
        before = kept if self.shape.fused else kept + (2 * c + 2 * g) * m
        return (
            *self.forward(first[-1], before),
            *self.forward(down, kept + 4 * (c + g) * m, products=1 if stops_early else 3),
        )

    def forward(
        self, linear: Linear, kept: int, *, products: int = 3, reads: int = ADAPTER_BYTES
    ) -> tuple[Moment, ...]:
        """Of one linear layer: when it makes its matrices, and when the products with magnitudes.

        Args:
            linear: The layer.
            kept: Bytes a token that are there before it.
            products: Products with magnitudes.
            reads: Bytes of a number of its input, whose type the matrices get, unless the adapter casts it to float32.
        """
        wide = ADAPTER_BYTES if self.work.casts_inputs else reads
        per_token = kept + (self.widened + self.own) * linear.inputs
        made = self.cast * linear.inputs + (2 * self.c + 4 * products) * linear.outputs
        return (
            Moment(
                per_token=per_token + self.c * linear.outputs,
                fixed=_matrices(linear, self.work, wide),
            ),
            Moment(per_token=per_token + made, fixed=_kept_matrices(linear, self.work, wide)),
        )

    def back(self, kept: int) -> tuple[Moment, ...]:
        """Of the way back.

        Through the last layer gate, activation, up and product are there (4 g m), and the gradient of what it gave is among what is
        kept; then through up with what gate gave and its gradient (2 g m), or through gate and up in one.
        """
        c, g, h, m = self.c, self.work.given_bytes, self.shape.hidden, self.shape.intermediate
        each = 16 + self.cast
        outputs = kept + 4 * c * m
        last = Moment(per_token=outputs + 4 * g * m + (2 * c + each - 4) * h)
        first = 2 * each * m if self.shape.fused else (2 * g + each) * m
        return last, Moment(per_token=outputs + first)


def _matrices(linear: Linear, work: Workload, wide: int) -> int:
    """Of moments 1 and 2. Where the matrices have the compute type nothing is cast (3 c i o, or 4 where the base's is expanded); in float32 there is one unit matrix."""
    c, square = work.compute_bytes, linear.inputs**2
    same = (4 if work.quantization else 3) * c
    norm = c * square + (same if wide == c else 4 * wide) * linear.weights
    if c == ADAPTER_BYTES:
        return norm
    return max((4 + c) * square + c * linear.weights, norm)


def _kept_matrices(linear: Linear, work: Workload, wide: int) -> int:
    """Those that are there until the layer has given its output: the unit matrix, and those of base and factors that are not its own."""
    copies = 2 if wide != work.compute_bytes or work.quantization else 1
    return work.compute_bytes * linear.inputs**2 + copies * wide * linear.weights
