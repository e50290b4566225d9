"""What DoRA makes of linear layers and of a feed-forward block, of all tokens at one time or of a tile (PEFT 0.21, `DoraLinearLayer`). Closed formulas.

DoRA gives m (W + s B A) x / |W + s B A| for a linear layer of i inputs and o outputs. In a forward pass PEFT goes through four
moments; the letters are those of `kept`.

1. To multiply the factors it sends a unit matrix through the adapter: float32 (4 i i), in the compute type (c i i, which
   the adapter keeps to the end), and what comes of it (c i o).
2. For the norm it has, in the input's type, which is float32 unless a 16-bit input is not cast, the base's matrix, the product of
   the factors, the latter scaled, and the sum (16 i o).
3. Then the adapter reads the input, of which autocast makes a copy (c i a token), unless it has the compute type.
4. Magnitudes are float32: the base's output times them is (4 o a token), the adapter's (4 o), and this scaled (4 o). Both
   outputs are kept in the compute type (2 c o), the base's without its bias, which is once more (c o). The float32 matrices of
   base and factors are still there (8 i o).

What a linear layer gives (g a number) is float32, unless the base is not quantised and PEFT casts it back. On the way back there
are the gradient of what it gave in float32, its products with the magnitudes and with what was multiplied by them (16 o), and a
copy in the compute type (c o). A linear layer that has no adapter gives the compute type, keeps nothing, and is expanded for
its product.
"""

from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.shape import ModelShape
from xtune.memory.ungated import UngatedBlock
from xtune.memory.workload import ADAPTER_BYTES, Workload


class DoraLinears:
    """Linear layers of which some have DoRA.

    Args:
        work: What is done with them.
    """

    def __init__(self, work: Workload) -> None:
        self.work, self.c = work, work.compute_bytes

    def adapts(self, linear: Linear) -> bool:
        """Whether it has DoRA."""
        return self.work.adapts(linear.name)

    def keeps(self, *linears: Linear) -> int:
        """Bytes a token of what base and adapter gave, kept of each that has DoRA (2 c o)."""
        return 2 * self.c * sum(each.outputs for each in linears if self.adapts(each))

    def copies(self, linear: Linear, reads: int) -> int:
        """Bytes a token of what it copies of its input and keeps: for the adapter, and for LLM.int8().

        Args:
            linear: The layer.
            reads: Bytes of a number of its input.
        """
        cast = self.adapts(linear) and (self.c < self._wide(reads) or self.work.dropout)
        own = self.work.quantization == "int8" and self.c < reads
        return self.c * linear.inputs * (cast + own) + self.mask(linear)

    def mask(self, linear: Linear) -> int:
        """Bytes a token of what says what an adapter has dropped of its input."""
        return linear.inputs if self.work.dropout and self.adapts(linear) else 0

    def matrix(self, linear: Linear) -> int:
        """Bytes of the base's matrix that is kept where some of the input is dropped: PEFT multiplies what is left by it once more (c i o)."""
        if not (self.work.dropout and self.adapts(linear)):
            return 0
        made = self.work.quantization or self.work.casts_inputs
        return self.c * linear.weights if made else 0

    def entries(self, linear: Linear) -> int:
        """Of its adapter and magnitudes."""
        if not self.adapts(linear):
            return 0
        return self.work.rank * (linear.inputs + linear.outputs) + linear.outputs

    def _wide(self, reads: int) -> int:
        """Bytes of a number of the input as the adapter has it, and of the matrices: PEFT casts it beside an unquantised base."""
        return ADAPTER_BYTES if self.work.casts_inputs else reads

    def forward(
        self, linear: Linear, kept: int, *, reads: int, products: int = 3
    ) -> tuple[Moment, ...]:
        """Of the forward pass: when it makes its matrices, and when the products with magnitudes; or when its matrix is expanded.

        Args:
            linear: The layer.
            kept: Bytes a token that are there before it, its input among them.
            reads: Bytes of a number of its input.
            products: Products with magnitudes.
        """
        if not self.adapts(linear):
            return (self._plain(linear, kept, reads),)
        wide = self._wide(reads)
        own = self.c if self.work.quantization == "int8" and self.c < reads else 0
        cast = self.c if self.c < wide else 0
        widened = ADAPTER_BYTES if reads < wide else 0
        per_token = kept + (widened + own) * linear.inputs + self.mask(linear)
        per_token += wide * linear.inputs if self.work.dropout else 0
        more = linear.bias or self.work.dropout  # the base's output besides
        outputs = (3 if more else 2) * self.c + 4 * products
        return (
            Moment(
                per_token=per_token + self.c * linear.outputs,
                fixed=_matrices(linear, self.work, wide),
            ),
            Moment(
                per_token=per_token + cast * linear.inputs + outputs * linear.outputs,
                fixed=_kept_matrices(linear, self.work, wide),
            ),
        )

    def _plain(self, linear: Linear, kept: int, reads: int) -> Moment:
        """Of one without an adapter. LLM.int8() has its input's levels, 32-bit sums and, scaled, 16 bits of them (i + 6 o)."""
        cast = self.c * linear.inputs if self.c < reads else 0
        if self.work.quantization == "int8":
            return Moment(per_token=kept + cast + linear.inputs + 6 * linear.outputs)
        fixed = self.c * linear.weights if self.work.quantization else 0
        return Moment(per_token=kept + cast + self.c * linear.outputs, fixed=fixed)

    def after(self, linear: Linear, reads: int) -> int:
        """Bytes a token that its forward pass leaves: its output, copies of its input, and what base and adapter gave."""
        low_rank = self.c * self.work.rank if self.adapts(linear) else 0
        given = self.c * linear.outputs
        return given + self.copies(linear, reads) + self.keeps(linear) + low_rank

    def slopes(self, linear: Linear) -> int:
        """Bytes a token of the way back through its magnitudes: 16 o, and the copy for the base's output."""
        return (16 + (self.c if self.c < ADAPTER_BYTES else 0)) * linear.outputs


class DoraBlock(DoraLinears):
    """A dense feed-forward block of which some linear layers have DoRA: gate, up (or both in one), and down.

    Args:
        shape: The model; its feed-forward blocks are dense.
        work: What is done with it.
    """

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        super().__init__(work)
        self.shape, self.m = shape, shape.intermediate
        *self.first, self.down = shape.mlp_linears
        self.ungated = None if shape.gated else UngatedBlock(shape, work)
        self.inside = self.ungated.product if self.ungated else self.c
        """Bytes of a number of the product of gate and up; without a gate of what the activation gives before it is cast (`xtune.models.activations`)."""

    @property
    def widths(self) -> int:
        """Bytes a token of gate, its activation and up; without a gate of what the activation keeps."""
        if self.ungated is not None:
            return self.ungated.activation
        return 3 * self.c * self.m

    @property
    def product_copies(self) -> int:
        """Bytes a token of the product, or of copies of it, that the last layer keeps."""
        copies = self.copies(self.down, self.c)
        is_read = self.adapts(self.down) or self.work.quantization == "int8"
        return copies or (self.c * self.m if is_read else 0)

    @property
    def kept(self) -> int:
        """Bytes a token that the block keeps for its backward pass, besides its input and between the factors."""
        return self.widths + self.product_copies + self.keeps(*self.first, self.down)

    def again(self, kept: int, *, reads: int, stops_early: bool = False) -> tuple[Moment, ...]:
        """Of the forward pass, or of the one that is run again: each linear layer, beside what those before it left.

        Args:
            kept: Bytes a token that are there before the block, its input among them.
            reads: Bytes of a number of its input.
            stops_early: Whether the pass ends with the last number that is wanted: the first product with the magnitudes of the
                last layer, or, if it has none, its matrix; a quantised matrix is not kept by autograd, so it ends with up.
        """
        moments: list[Moment] = []
        for each in self.first:
            moments.extend(self.forward(each, kept, reads=reads))
            kept += self.after(each, reads)
            if each is self.first[0]:  # the activation
                kept += self._activation
        if stops_early and not self.adapts(self.down):
            ends = kept if self.work.quantization else kept + self.c * self.m
            return (*moments, Moment(per_token=ends))
        kept += self.c * self.m
        products = 1 if stops_early else 3
        last = self.forward(self.down, kept, reads=self.c, products=products)
        return (*moments, *last)

    @property
    def _activation(self) -> int:
        """Bytes a token that the activation keeps beside its input."""
        if self.ungated is not None:
            return self.ungated.activation - self.c * self.m
        return self.c * self.m

    def back(self, kept: int, *, reads: int, counted: int, scaled: int = 0) -> tuple[Moment, ...]:
        """Of the way back: through the last layer, through the product, then through up and gate, or both in one.

        Of the product's gradient there are what adapter and base give. Going back through the product there are its gradient and those
        of activation and up, in its type, and where one of both has another a copy in that (c m).

        Args:
            kept: Bytes a token that are there besides what the block keeps.
            reads: Bytes of a number of the block's input.
            counted: Those of the gradient of what the block gave that are among `kept`.
            scaled: Those of that gradient once more, where it is multiplied; gone behind the last layer.
        """
        c, m = self.c, self.m
        there = kept + self.keeps(*self.first) + self.widths
        aside = c * m if self.work.quantization == "int8" else 0  # what down has read
        work, done = self.work, self.entries(self.down)
        # transformers' checkpointing has let go of what was multiplied by then
        held = not work.is_checkpointed
        cast, gradients = 0, 3
        if self.ungated is not None:
            cast = c if held and self.ungated.widens and c < ADAPTER_BYTES else 0
            gradients = 3 if self.ungated.composed or self.adapts(self.down) else 2
        moments = [
            self._through_base(
                self.down, there + scaled + aside + self._adapter_gave(), adapted=done
            ),
            Moment(per_token=there + aside + (gradients * self.inside + cast) * m, adapted=done),
        ]
        if self.adapts(self.down):
            through = self.product_copies + self.keeps(self.down) + self.slopes(self.down)
            moments.append(Moment(per_token=there + scaled + through - counted))
        return (*moments, *self._first_back(kept + aside, reads, done))

    def _adapter_gave(self) -> int:
        """Of the product's gradient what the adapter gave; beside an unquantised base it is float32 first (c + 4 in place of twice c)."""
        if not self.adapts(self.down):
            return 0
        return (4 if self.work.casts_inputs else self.c) * self.m

    def _through_base(self, linear: Linear, kept: int, *, adapted: int) -> Moment:
        """When the gradient goes through a linear layer's matrix: before it (c o), behind it (c i), and the matrix if it is quantised."""
        fixed = self.c * linear.weights if self.work.quantization else 0
        gradients = self.c * (linear.inputs + linear.outputs)
        return Moment(per_token=kept + gradients, fixed=fixed, adapted=adapted)

    def _first_back(self, kept: int, reads: int, done: int) -> tuple[Moment, ...]:
        m = self.m
        first, last = self.first[0], self.first[-1]
        if len(self.first) == 1:
            given = self.keeps(first)
            if not self.adapts(first):
                return (self._through_base(first, kept, adapted=done),)
            return (Moment(per_token=kept + given + self.slopes(first), adapted=done),)
        beside = 2 * self.c * m  # gate, and the gradient of its activation
        moments = []
        if self.adapts(last):
            each = kept + self.keeps(first, last) + beside + self.slopes(last)
            moments.append(Moment(per_token=each, adapted=done))
        else:
            each = kept + self.keeps(first) + beside
            moments.append(self._through_base(last, each, adapted=done))
        done += self.entries(last)
        kept += reads * self.shape.hidden  # the gradient of the input
        if self.adapts(first):
            each = kept + self.keeps(first) + self.slopes(first)
            moments.append(Moment(per_token=each, adapted=done))
        else:
            moments.append(self._through_base(first, kept, adapted=done))
        return tuple(moments)


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
