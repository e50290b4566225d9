"""What DoRA makes of a layer that is computed for all tokens at one time (PEFT 0.21, `DoraLinearLayer`). Closed formulas.

DoRA gives m (W + s B A) x / |W + s B A| for a linear layer of i inputs and o outputs. In a forward pass PEFT goes through four
moments; the letters are those of `layer`.

1. To multiply the factors it sends a unit matrix through the adapter: float32 (4 i i), in the compute type (c i i, which
   the adapter keeps to the end), and what comes of it (c i o).
2. For the norm it has, in float32, the base's matrix, the product of the factors, the latter scaled, and the sum (16 i o).
3. Then the adapter reads the input, of which autocast makes a copy (c i a token).
4. Magnitudes are float32: the base's output times them is (4 o a token), the adapter's (4 o), and this scaled (4 o). Both
   outputs are kept in the compute type (2 c o). The float32 matrices of base and factors are still there (8 i o).

What a linear layer gives is float32, unless the base is not quantised and PEFT casts it back. On the way back there are the
gradient of what it gave in float32, its products with the magnitudes and with what was multiplied by them (16 o), and a copy in
the compute type (c o).
"""

from xtune.memory.moments import Moment, dora_matrices
from xtune.memory.shape import Linear, ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload


class DoraBlock:
    """A dense feed-forward block with DoRA, and the output projection before it.

    Args:
        shape: The model; its feed-forward blocks are dense.
        work: What is done with it.
        attention: Bytes a token that are kept before what attention gave is projected.
    """

    def __init__(self, shape: ModelShape, work: Workload, attention: int) -> None:
        self.shape, self.work, self.attention = shape, work, attention
        self.c = work.compute_bytes
        self.cast = self.c if self.c < ADAPTER_BYTES else 0
        """Bytes of autocast's copy of a number, where it makes one."""

    def again(self, kept: int, stops_early: bool) -> tuple[Moment, ...]:
        """Of the forward pass that is run again.

        When the last linear layer begins, gate and up have kept what base and adapter gave (4 c m); what they gave, the activation
        and the product exist (4 numbers), and the product in float32 where the adapter casts it (4 m).

        Args:
            kept: Bytes a token that are there before the block.
            stops_early: Whether the pass ends with the first product with the magnitudes.
        """
        c, h, m = self.c, self.shape.hidden, self.shape.intermediate
        widened = ADAPTER_BYTES * m if self.work.casts_inputs else 0
        inside = kept + (4 * c + 4 * self.work.given_bytes) * m + widened
        *first, down = self.shape.mlp_linears
        moments = self._matrices(down, inside + c * h)
        moments += self._outputs(down, inside, products=1 if stops_early else 3)
        output = self.shape.attention_linears[-1]
        moments += self._matrices(output, self.attention + c * h)
        if self.shape.fused:
            moments += self._matrices(first[0], kept + c * first[0].outputs)
            moments += self._outputs(first[0], kept, products=3)
        return tuple(moments)

    def _matrices(self, linear: Linear, per_token: int) -> list[Moment]:
        """Moments 1 and 2."""
        return [Moment(per_token=per_token, fixed=dora_matrices(linear, self.work))]

    def _outputs(self, linear: Linear, per_token: int, *, products: int) -> list[Moment]:
        """Moment 4, beside moment 3's copy of the input: base and adapter, and so many products with the magnitudes."""
        copies = 2 if self.cast or self.work.quantization else 1
        read = self.cast * linear.inputs
        made = (2 * self.c + 4 * products) * linear.outputs
        fixed = self.c * linear.inputs**2 + 4 * copies * linear.weights
        return [Moment(per_token=per_token + read + made, fixed=fixed)]

    def back(self, kept: int) -> tuple[Moment, ...]:
        """Of the way back through up, with what gate gave and its gradient; or through gate and up in one."""
        m = self.shape.intermediate
        outputs = 4 * self.c * m
        if self.shape.fused:
            return (Moment(per_token=kept + outputs + 2 * (16 + self.cast) * m),)
        gate = 2 * self.work.given_bytes * m
        return (Moment(per_token=kept + outputs + gate + (16 + self.cast) * m),)
