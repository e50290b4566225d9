"""The sizes of a decoder-only model and its exact parameter counts; how a config.json is read is in `config.py`. No weights, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from xtune.memory.config import read_sizes
from xtune.memory.dropouts import NO_DROPOUTS, Dropouts
from xtune.memory.expert_targets import ExpertTargets, expert_targets, is_translated
from xtune.memory.families import own_name
from xtune.memory.family import NormKind, Norms, Shared
from xtune.memory.latent import Latent
from xtune.memory.linear import Linear
from xtune.memory.traits import Traits
from xtune.memory.unquantised import unquantised_weights

ALL_WINDOWED = frozenset(
    {"mistral", "mixtral", "ministral3", "phi3", "phimoe", "qwen3_moe", "starcoder2"}
)
"""Model types that have one kind of layer, so that transformers 5.23 makes one mask."""


@dataclass(frozen=True, kw_only=True)
class ModelShape(Traits):
    """A decoder-only transformer by its sizes; a pure value, so it can be written by hand too."""

    model_type: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    """Whether the head is the embedding matrix."""

    norms: int = 2
    norm: NormKind = "rms"
    parallel: bool = False
    partial_rotary: bool = False
    query_key_norm: Norms = "none"
    query_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    gated: bool = True
    fused_qkv: bool = False
    fused_gate_up: bool = False
    recurrent_width: int = 0
    """Width of recurrent layers, of which any layer may be one (`xtune.memory.recurrent`); 0: there are none."""

    recurrent_kept: int = 0
    """Bytes a token that one of them keeps."""

    latent: Latent | None = None
    """Sizes of latent attention, if it is that."""

    experts: int = 0
    """Experts in a mixture-of-experts layer; 0: every layer is dense."""

    expert_intermediate: int = 0
    experts_per_token: int = 0
    shared_intermediate: int = 0
    """Width of a dense block beside the experts, which every token visits."""

    shared: Shared = "none"
    """Whether it is computed before the experts, and gated, or after them."""

    expert_layers: int = 0
    """How many of the layers are mixtures of experts."""

    dense_at: tuple[int, ...] = ()
    """Which of the layers are none, where others are; empty: the first."""

    max_positions: int | None = None
    """Longest context the config promises."""

    stored_dtype: str | None = None
    """dtype that the config names for its weights: "bfloat16", "float16" or "float32"."""

    sliding_window: int | None = None
    """Tokens that a query sees in some layer, itself included; None: all before it."""

    windowed_layers: int | None = None
    """Layers that have the window; None: not known."""

    caps_scores: bool = False
    """Whether attention scores are soft-capped, as Gemma 2 does."""

    caps_logits: bool = False
    """Whether logits are."""

    scales_logits: bool = False
    """Whether logits are multiplied by a number, as Granite does."""

    activation: str = ""
    """What transformers calls it, where the config does."""

    composed_activation: bool = False
    """Whether the feed-forward block's activation is put together from other operations, each of which keeps what it needs."""

    whole_weights: int = 0
    """Entries of the layers' matrices that a base which is stored quantised keeps as they are."""

    most_whole_weights: int = 0
    """Those of one layer, the most."""

    layer_inputs: int = 0
    """Numbers a token that tables of their own give to the layers, all of them together (Gemma 3n and 4)."""

    layer_input_vocab: int = 0
    """Rows of these tables."""

    eyes: tuple[tuple[int, Linear], ...] = ()
    """Linear layers of the half that reads pictures, each with how often it occurs: loaded, and never computed with."""

    eyes_rest: int = 0
    """Its other parameters."""

    dropouts: Dropouts = NO_DROPOUTS
    """What it drops some of while it is trained."""

    known: bool = True
    """Whether the model type is one whose counts are checked; otherwise they are computed as for a Llama."""

    remote: bool = False
    """Whether, though that is not so, sizes and names are known of its own code, which comes with the weights."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelShape":
        """Read the sizes from a config.json as a dict; a nested `text_config` is looked into.

        Raises:
            ModelError: Fields are missing or make no sense; all of them are named.
        """
        shape = cls(**read_sizes(config))
        whole, most = unquantised_weights(shape, config)
        return replace(shape, whole_weights=whole, most_whole_weights=most)

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def attended_width(self) -> int:
        """Width of what attention gives, all heads together."""
        return self.heads * (self.latent.values if self.latent is not None else self.head_dim)

    @property
    def all_windowed(self) -> bool:
        """Whether every layer is known to have the window."""
        return self.windowed_layers == self.layers

    @property
    def makes_one_mask(self) -> bool:
        """Whether a window is every layer's, and there is no mask but its own."""
        return self.all_windowed and self.model_type in ALL_WINDOWED

    @property
    def makes_idle_mask(self) -> bool:
        """Whether transformers 5.23 makes a mask for a window that no layer has: of Qwen2-MoE it does."""
        return self.model_type == "qwen2_moe" and self.sliding_window is None

    @property
    def windowless_layers(self) -> int:
        """Layers that are known not to have it."""
        known = self.sliding_window is not None and self.windowed_layers is not None
        return self.layers - (self.windowed_layers or 0) if known else 0

    def expert_targets(self, targets: tuple[str, ...]) -> ExpertTargets:
        """What of the experts of a layer gets adapters."""
        return expert_targets(self.model_type, targets) if self.expert_layers else ExpertTargets()

    def adapts(self, linear: Linear, targets: tuple[str, ...]) -> bool:
        """Whether a linear layer gets an adapter."""
        if is_translated(self.model_type, linear.name):
            return False
        return "all-linear" in targets or linear.name in {t.rpartition(".")[2] for t in targets}

    @property
    def norm_vectors(self) -> int:
        """Vectors of a norm: its weight, and LayerNorm's bias."""
        return {"layer": 2, "weightless": 0}.get(self.norm, 1)

    @property
    def norm_entries(self) -> int:
        """Parameters of a norm over the hidden size."""
        return self.norm_vectors * self.hidden

    @property
    def dense_positions(self) -> tuple[int, ...]:
        """Which of the layers of a mixture have no experts, counted from the first; none of a model that is no mixture."""
        if not 0 < self.expert_layers < self.layers:
            return ()
        return self.dense_at or tuple(range(self.layers - self.expert_layers))

    @cached_property
    def without_experts(self) -> "ModelShape":
        """The dense layers of a mixture as a model of their own."""
        dense = len(self.dense_positions)
        return replace(
            self,
            layers=dense,
            experts=0,
            expert_layers=0,
            dense_at=(),
            shared_intermediate=0,
            windowed_layers=dense if self.all_windowed else None,
            whole_weights=0,
            most_whole_weights=0,
            eyes=(),
            eyes_rest=0,
        )

    @cached_property
    def one_layer(self) -> "ModelShape":
        """The same with one layer, the largest: one with experts where there are any."""
        return replace(
            self,
            layers=1,
            windowed_layers=None,
            expert_layers=min(1, self.expert_layers),
            dense_at=(),
            whole_weights=self.most_whole_weights,
            eyes=(),
            eyes_rest=0,
        )

    @cached_property
    def layer_entries(self) -> int:
        """Parameters of one decoder layer, the largest."""
        one = self.one_layer
        return (
            one.linear_weights + one.expert_parameters + one.small_parameters - self.last_parameters
        )

    def _linear(self, name: str, inputs: int, outputs: int, *, bias: bool) -> Linear:
        own = own_name(self.model_type, name)
        return Linear(name=own, inputs=inputs, outputs=outputs, bias=bias)

    @cached_property
    def attention_linears(self) -> tuple[Linear, ...]:
        """The linear layers of one attention block, the output projection last."""
        hidden, query, key = self.hidden, self.query_width, self.kv_width
        output = self._linear("o_proj", self.attended_width, hidden, bias=self.output_bias)
        if self.latent is not None:
            return (*self.latent.linears(hidden, self.heads, bias=self.query_bias), output)
        widths = {"q_proj": query, "k_proj": key, "v_proj": key}
        if self.fused_qkv:
            widths = {"qkv_proj": query + 2 * key}
        if self.recurrent_width:  # what goes into a recurrence and its gate, and what comes out
            widths |= {"in_proj": 3 * self.recurrent_width, "out_proj": self.recurrent_width}
        return (
            *(
                self._linear(name, hidden, width, bias=self.query_bias)
                for name, width in widths.items()
            ),
            output,
        )

    @cached_property
    def mlp_linears(self) -> tuple[Linear, ...]:
        """The linear layers of one dense feed-forward block: gate and up, or one that is both; without a gate up alone; down last."""
        hidden, width = self.hidden, self.intermediate
        widths = {"gate_proj": width, "up_proj": width} if self.gated else {"up_proj": width}
        if self.fused_gate_up:
            widths = {"gate_up_proj": 2 * width}
        return (
            *(
                self._linear(name, hidden, width, bias=self.mlp_bias)
                for name, width in widths.items()
            ),
            self._linear("down_proj", width, hidden, bias=self.mlp_bias),
        )

    @cached_property
    def shared_linears(self) -> tuple[Linear, ...]:
        """The linear layers of one shared expert: of Qwen2-MoE its gate first, of all down last."""
        width, hidden, bias = self.shared_intermediate, self.hidden, self.mlp_bias
        if not width:
            return ()
        if self.family.fused_shared:
            first = Linear(name="input_linear", inputs=hidden, outputs=2 * width, bias=bias)
            return first, Linear(name="output_linear", inputs=width, outputs=hidden, bias=bias)
        gate = Linear(name="shared_expert_gate", inputs=hidden, outputs=1)
        return (
            *((gate,) if self.shared == "gated" else ()),
            Linear(name="gate_proj", inputs=hidden, outputs=width, bias=bias),
            Linear(name="up_proj", inputs=hidden, outputs=width, bias=bias),
            Linear(name="down_proj", inputs=width, outputs=hidden, bias=bias),
        )

    @cached_property
    def linears(self) -> tuple[tuple[int, Linear], ...]:
        """Each kind of linear layer with how often it occurs; experts and the head are not among them.

        transformers 5 holds the experts of a layer as three-dimensional parameters, in which bitsandbytes
        sees no linear layer.
        """
        dense = self.layers - self.expert_layers
        return (
            *((self.layers, linear) for linear in self.attention_linears),
            *((dense, linear) for linear in self.mlp_linears if dense),
            *((self.expert_layers, linear) for linear in self.shared_linears if self.expert_layers),
        )

    @property
    def embedding_parameters(self) -> int:
        """The embedding matrix."""
        return self.vocab * self.hidden

    @property
    def head_parameters(self) -> int:
        """The output head where it is a matrix of its own, else 0."""
        return 0 if self.tied else self.vocab * self.hidden

    @cached_property
    def linear_weights(self) -> int:
        """Entries of all matrices that quantisation replaces: linear layers but not head and experts."""
        return sum(count * linear.weights for count, linear in self.linears)

    @cached_property
    def expert_parameters(self) -> int:
        """Gate, up and down of every expert, and the routers."""
        per_layer = (
            self.experts * 3 * self.hidden * self.expert_intermediate + self.experts * self.hidden
        )
        per_layer += self.experts if self.family.route_bias else 0
        if self.has_sinks:  # biases of gate, up, down and router
            per_layer += self.experts * (2 * self.expert_intermediate + self.hidden + 1)
        return self.expert_layers * per_layer

    @property
    def last_parameters(self) -> int:
        """What is in no layer: the last norm, the head's bias, and tables with an input for each layer, with three projections of that."""
        tables = self.layer_inputs * (self.layer_input_vocab + 3 * self.hidden)
        return self.norm_entries + (self.vocab if self.head_bias else 0) + tables

    @cached_property
    def small_parameters(self) -> int:
        """Norms and biases, the head's among them."""
        biases = sum(count * (linear.parameters - linear.weights) for count, linear in self.linears)
        query_key = {
            "none": 0,
            "head": 2 * self.head_dim,
            "full": self.query_width + self.kv_width,
        }[self.query_key_norm]
        sinks = self.heads if self.has_sinks else 0
        # norms over all heads have no bias
        query_key *= self.norm_vectors if self.query_key_norm == "head" else 1
        norms = self.norms * self.norm_entries + query_key
        norms += 2 if self.activation == "xielu" else 0  # its factors
        latents = self.latent.normalised if self.latent is not None else 0
        return biases + self.layers * (norms + sinks + latents) + self.last_parameters

    @property
    def parameters(self) -> int:
        """All parameters of the causal language model, a tied matrix counted once."""
        return (
            self.embedding_parameters
            + self.head_parameters
            + self.linear_weights
            + self.expert_parameters
            + self.small_parameters
        )

    def target_linears(
        self, targets: tuple[str, ...] = ("all-linear",)
    ) -> tuple[tuple[int, Linear], ...]:
        """Those of `linears` that LoRA's targets name: `all-linear`, names, or name endings; of single layers no more than are named."""
        head = self._linear("lm_head", self.hidden, self.vocab, bias=False)
        has_head = not self.tied and "all-linear" not in targets
        candidates = (*self.linears, *(((1, head),) if has_head else ()))
        return tuple(
            (min(count, _layers_named(each.name, targets, count)), each)
            for count, each in candidates
            if self.adapts(each, targets)
        )

    def lora_parameters(
        self, rank: int, targets: tuple[str, ...] = ("all-linear",), *, dora: bool = False
    ) -> int:
        """Entries of A (rank, inputs) and B (outputs, rank) of every target; DoRA adds a norm per output."""
        return _lora_parameters(self, rank, targets, dora)

    def expert_lora_parameters(self, rank: int, targets: tuple[str, ...] = ("all-linear",)) -> int:
        """Entries of the adapters of one layer's experts, the router's not counted.

        The fused gate-and-up of each expert has twice the rank, its down the rank.
        """
        width, hidden, found = self.expert_intermediate, self.hidden, self.expert_targets(targets)
        gate_and_up = 2 * rank * (hidden + 2 * width) if found.gate_and_up else 0
        return self.experts * (gate_and_up + (rank * (width + hidden) if found.down else 0))


def _layers_named(linear: str, targets: tuple[str, ...], every: int) -> int:
    """In how many layers targets name a linear layer: `layers.31.mlp.down_proj` and `31.mlp.down_proj` do in one, `down_proj` in every."""
    layers = set()
    for *outer, last in (target.split(".") for target in targets):
        numbers = [part for part in outer if part.isdigit()]
        if last in {linear, "all-linear"}:
            if not numbers:
                return every
            layers.add(numbers[-1])
    return len(layers)


@lru_cache(maxsize=64)
def _lora_parameters(shape: ModelShape, rank: int, targets: tuple[str, ...], dora: bool) -> int:
    low_rank = sum(
        count * (rank * (linear.inputs + linear.outputs) + (linear.outputs if dora else 0))
        for count, linear in shape.target_linears(targets)
    )
    router = shape.expert_targets(targets).router * rank * (shape.hidden + shape.experts)
    experts = shape.expert_lora_parameters(rank, targets)
    return low_rank + shape.expert_layers * (experts + router)
