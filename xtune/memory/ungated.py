"""A feed-forward block without a gate: a layer that widens, an activation, a layer that narrows. Closed formulas; letters as in `kept`.

Of an activation that is one operation its input is kept (c m), and it gives the compute type. gelu_new is put together: x / 2 times
1 + tanh(...), in which there is x to the third power. It keeps x for the power, half of it, the tanh, and 1 more (4 c m), and gives the compute
type. CUDA's autocast computes the power, and with it all but the half, in float32: a copy of x, the tanh, and 1 more (4 m each), half of
x (c m); and gives float32, of which the last layer's readers are counted with copies of their own, though `xtune.models.activations` casts it once for all.

relu2 is a power of relu's result, which is kept once for both; autocast has a float32 copy of it for the power. xielu keeps its input,
that times a factor, and an exponential, both of which autocast computes in float32, a byte that says which, and, where its factors
are trained, a difference. What these give is counted as it is cast, once for all.

Numbers are bytes a token.
"""

from collections.abc import Mapping
from typing import NamedTuple

from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload


class Composed(NamedTuple):
    """An activation that is put together: what it keeps, and how many of its numbers there are on its way back, besides."""

    kept: int
    """Numbers in the compute type, without autocast."""

    narrow: int
    """Numbers that autocast leaves in the compute type."""

    wide: int
    """Those that it has in float32."""

    back: int
    """Numbers, of the type that it computes in, on the way back."""

    back_narrow: int = 0
    """Of these, those that autocast leaves in the compute type."""

    masks: int = 0
    """Bytes that say which way it took, gone when it has gone back."""

    trained: int = 0
    """Numbers more where it has parameters that are trained."""

    cast_at_once: bool = True
    """Whether what it gives is counted as it is cast once for all, and not as every reader's own copy."""


GELU_NEW = Composed(kept=4, narrow=1, wide=3, back=3, cast_at_once=False)
COMPOSED: Mapping[str, Composed] = {
    "relu2": Composed(kept=1, narrow=1, wide=1, back=4),
    "xielu": Composed(kept=3, narrow=1, wide=2, back=5, back_narrow=1, masks=1, trained=1),
}
"""Of all others GELU_NEW is taken."""


class UngatedBlock:
    """The block of a layer.

    Args:
        shape: The model.
        work: What is done with it.
    """

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        self.c, self.m = work.compute_bytes, shape.intermediate
        self.first, self.down = shape.mlp_linears
        self.composed = shape.composed_activation
        self.parts = COMPOSED.get(shape.activation, GELU_NEW)
        self.widens = self.composed and work.autocasts

    @property
    def product(self) -> int:
        """Bytes of a number that the activation gives."""
        return ADAPTER_BYTES if self.widens and not self.parts.cast_at_once else self.c

    @property
    def activation(self) -> int:
        """Kept for the activation's gradient."""
        if not self.composed:
            return self.c * self.m
        parts = self.parts
        numbers = parts.narrow if self.widens else parts.kept
        each = ADAPTER_BYTES if self.widens else self.c
        trained = each * parts.trained if self.work.is_full else 0
        wide = ADAPTER_BYTES * parts.wide if self.widens else 0
        return (self.c * numbers + trained + wide + parts.masks) * self.m

    @property
    def back_through(self) -> int:
        """On the activation's way back, besides what it keeps: gradients, and of one that is put together factors of its product."""
        if not self.composed:
            return 2 * self.c * self.m
        parts = self.parts
        wide = (parts.back - parts.back_narrow) * (ADAPTER_BYTES if self.widens else self.c)
        return (wide + parts.back_narrow * self.c - parts.masks) * self.m

    @property
    def reading(self) -> int:
        """There when the last layer reads what the activation gave: what that keeps, and what it gave."""
        return self.activation + self.product * self.m

    def back(self, read: int, adapted: int) -> tuple[Moment, ...]:
        """The way back, besides what is kept before the block.

        The gradient of what the block gave is cast for its products (c h), where it is of another type. First the gradient of what the last layer read, when its matrix is expanded or has its own gradient (c m); then that of base and
        adapter, and their sum. Through the activation there are its output's gradient and its input's; where it is put together two
        more for the factors of its product, of which half of x is cast (c m) beside what was multiplied, unless transformers'
        checkpointing has let go of that. At last the first layer's input (c h) comes of its output's gradient.

        Args:
            read: What the last layer keeps of what it read.
            adapted: Entries of the last layer's adapter.
        """
        work, c, m, p, down = self.work, self.work.compute_bytes, self.m, self.product, self.down
        casts = work.is_full and c < work.weight_bytes
        cast = c * down.outputs if casts else 0
        given = {"graded": down.weights, "adapted": adapted}
        held = not work.is_checkpointed
        through = self.back_through + cast
        through += c * m if p > c and held else 0
        moments = [
            Moment(per_token=self.activation + through, **given),
            self.of_matrix(self.activation + read + c * m + cast, down),
        ]
        if adapted:
            moments.append(Moment(per_token=self.activation + 3 * p * m, **given))
        if casts:  # the matrix's gradient is cast from the compute type
            given |= {"fixed": c * down.weights, "fresh": down.weights}
            moments.append(Moment(per_token=self.activation + p * m + cast, **given))
        moments.append(self.of_matrix(c * (m + self.first.inputs), self.first, done=down.weights))
        return tuple(moments)

    def of_matrix(self, per_token: int, linear: Linear, done: int = 0) -> Moment:
        """The moment at which a linear layer's matrix is expanded, or its gradient comes; `done` entries have come before."""
        c, entries = self.work.compute_bytes, linear.weights
        if self.work.quantization:
            return Moment(per_token=per_token, fixed=c * entries)
        if not self.work.is_full:
            return Moment(per_token=per_token)
        if c < self.work.weight_bytes:
            return Moment(per_token=per_token, fixed=c * entries, graded=done)
        return Moment(per_token=per_token, graded=done + entries, fresh=entries)
