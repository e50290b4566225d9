"""What a decoder layer consists of, and how much of it is trained. Closed formulas; letters as in `kept`."""

from functools import cached_property

from xtune.memory.experts import ExpertBlock
from xtune.memory.latent_attention import READERS
from xtune.memory.linear import Linear
from xtune.memory.moments import Moment, more
from xtune.memory.norms import Norm
from xtune.memory.shape import ModelShape
from xtune.memory.ungated import UngatedBlock
from xtune.memory.workload import ADAPTER_BYTES, Workload


class LayerParts:
    """The widest layer of a model under a workload: its linear layers, its experts, its adapters."""

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        self.c, self.w = work.compute_bytes, work.weight_bytes
        self.input = work.weight_bytes
        """Bytes of a number of the states before attention; `w` is of those behind it, `output` of what the layer gives."""

        self.output = work.weight_bytes
        # of experts' numbers: autocast leaves products by group in the type of the weights
        self.e = work.weight_bytes
        self.h, self.q, self.k = shape.hidden, shape.query_width, shape.kv_width
        self.a = shape.attended_width
        self.sparse = shape.expert_layers > 0
        self.block = ExpertBlock(shape, work)
        self.norm = Norm(shape, work)

    # its linear layers and experts

    def _is_adapted(self, linear: Linear) -> bool:
        return self.shape.adapts(linear, self.work.targets)

    @cached_property
    def _attention(self) -> tuple[Linear, ...]:
        return self.shape.attention_linears

    @cached_property
    def _readers(self) -> tuple[Linear, ...]:
        """Those of them that read what the layer's first norm gave: all but the output projection and those that read latents."""
        return tuple(each for each in self._attention[:-1] if each.name not in READERS)

    @cached_property
    def _feed_forward(self) -> tuple[Linear, ...]:
        return () if self.sparse else self.shape.mlp_linears

    @cached_property
    def ungated(self) -> UngatedBlock | None:
        """The feed-forward block, if it has no gate."""
        return None if self.sparse or self.shape.gated else UngatedBlock(self.shape, self.work)

    @property
    def between(self) -> int:
        """Bytes of a number of the states that the feed-forward block's norm reads, and gives."""
        return self.input if self.shape.parallel else self.w

    @property
    def shares_norm(self) -> bool:
        """Whether attention and feed-forward block read what one norm gave: a frugal layer's parts each run it for themselves."""
        return self.shape.parallel and self.shape.norms == 1 and not self.work.frugal

    @cached_property
    def width(self) -> int:
        """m: of a mixture, the experts that one token visits, side by side."""
        shape = self.shape
        if not self.sparse:
            return shape.intermediate
        return shape.experts_per_token * shape.expert_intermediate

    @cached_property
    def experts(self) -> int:
        """One layer's adapted experts with what the adapter adds, in their own type: three matrices h by m for each, or some of them."""
        return 0 if self.work.is_full or not self.sparse else self.block.adapted

    # what the model itself drops out

    @property
    def dropped(self) -> int:
        """What says what a block gave is dropped: a byte for each number."""
        return self.h if self.shape.dropouts.hidden else 0

    @property
    def dropped_gradient(self) -> int:
        """The gradient of what was dropped, while it goes back through the block's last layer (c h), where none is cast for that anyway."""
        if not self.dropped or (self.work.is_full and self.c < self.w):
            return 0
        return self.h * (ADAPTER_BYTES if self.work.dora else self.c)

    @property
    def writes_dropped(self) -> bool:
        """Whether attention's weights are written out because some are dropped: a CPU's fused kernel knows no dropout."""
        fused = self.work.attention == "sdpa" and self.work.device == "cpu"
        return fused and self.shape.dropouts.scores

    @property
    def written_back(self) -> int:
        """What they take for every pair and head on the way back: four float32 numbers, and of a group in tiles five, at most."""
        if not self.writes_dropped:
            return 0
        return 20 if self.work.frugal else 16

    def with_dropped_gradient(self, moments: tuple[Moment, ...]) -> tuple[Moment, ...]:
        """Of a block's moments those at which a matrix is expanded, or its gradient comes, with the gradient of what was dropped."""
        at_matrices = (each for each in moments if each.fixed or each.fresh)
        return tuple(more(each, per_token=self.dropped_gradient) for each in at_matrices)

    # what of them is trained, in entries

    def adapter_of(self, linear: Linear) -> int:
        """Entries of a linear layer's adapter, if it has one."""
        if self.work.is_full or not self._is_adapted(linear):
            return 0
        magnitudes = linear.outputs if self.work.dora else 0
        return self.work.rank * (linear.inputs + linear.outputs) + magnitudes

    @cached_property
    def adapters(self) -> int:
        """Entries of one layer's adapters."""
        if self.work.is_full:
            return 0
        work = self.work
        return self.shape.one_layer.lora_parameters(work.rank, work.layer_targets, dora=work.dora)

    @cached_property
    def expert_adapters(self) -> int:
        """Entries of the adapters of one layer's experts."""
        work = self.work
        return self.shape.expert_lora_parameters(work.rank, work.targets) if self.experts else 0

    @cached_property
    def factors(self) -> int:
        """Copies of an adapter's factors beside one layer's experts, in their type where that is not the adapter's."""
        return self.e * self.expert_adapters if self.e < ADAPTER_BYTES else 0

    @cached_property
    def uncast(self) -> int:
        """Trained entries of one layer that autocast does not copy: of experts, or of their adapters."""
        if not self.work.is_full:
            return self.expert_adapters
        return self._block_entries if self.sparse else 0

    @cached_property
    def _block_adapters(self) -> int:
        """Entries of the adapters of the feed-forward block."""
        return self.adapters - sum(self.adapter_of(each) for each in self._attention)

    @property
    def _block_entries(self) -> int:
        if self.sparse:
            shared = sum(each.weights for each in self.shape.shared_linears)
            return 3 * self.shape.experts * self.h * self.shape.expert_intermediate + shared
        return sum(each.weights for each in self._feed_forward)

    @property
    def casts(self) -> int:
        """Autocast's copies of what one layer trains, which products keep for their backward passes."""
        return self._cast(0)

    def _cast(self, graded: int) -> int:
        work = self.work
        if work.compute_dtype == "float32":
            return 0
        if not work.is_full:
            return self.c * (self.adapters - self.uncast)
        unused = self.shape.layer_entries - max(graded, self.uncast)
        return self.c * unused if self.w == 4 else 0
