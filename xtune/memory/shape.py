"""The sizes of a decoder-only model, read from its config.json, and exact parameter counts; no weights, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from xtune.memory.eyes import read_eyes
from xtune.memory.families import (
    EXPERT_COUNTS,
    FAMILIES,
    Family,
    Fields,
    Norms,
    composed_activation,
)
from xtune.memory.linear import Linear
from xtune.memory.unquantised import unquantised_weights


@dataclass(frozen=True, kw_only=True)
class ModelShape:
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
    query_key_norm: Norms = "none"
    query_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    fused: bool = False
    experts: int = 0
    """Experts in a mixture-of-experts layer; 0: every layer is dense."""

    expert_intermediate: int = 0
    experts_per_token: int = 0
    expert_layers: int = 0
    """How many of the layers are mixtures of experts."""

    max_positions: int | None = None
    """Longest context the config promises."""

    stored_dtype: str | None = None
    """dtype that the config names for its weights: "bfloat16", "float16" or "float32"."""

    sliding_window: int | None = None
    """Tokens that a query sees in some layer, itself included; None: all before it."""

    all_windowed: bool = False
    """Whether every layer is known to have the window."""

    caps_scores: bool = False
    """Whether attention scores are soft-capped, as Gemma 2 does."""

    caps_logits: bool = False
    """Whether logits are."""

    scales_logits: bool = False
    """Whether logits are multiplied by a number, as Granite does."""

    composed_activation: bool = False
    """Whether the feed-forward block's activation is put together from other operations, each of which keeps what it needs."""

    whole_weights: int = 0
    """Entries of the layers' matrices that a base which is stored quantised keeps as they are."""

    most_whole_weights: int = 0
    """Those of one layer, the most."""

    eyes: tuple[tuple[int, Linear], ...] = ()
    """Linear layers of the half that reads pictures, each with how often it occurs: loaded, and never computed with."""

    eyes_rest: int = 0
    """Its other parameters."""

    known: bool = True
    """Whether the model type is one whose counts are checked; otherwise they are computed as for a Llama."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelShape":
        """Read the sizes from a config.json as a dict; a nested `text_config` is looked into.

        Raises:
            ModelError: Fields are missing or make no sense; all of them are named.
        """
        model_type, fields = _fields(config)
        family = FAMILIES.get(model_type) or _unknown_family(fields)
        reader = Fields(model_type, {**(family.defaults or {}), **fields})
        hidden, heads = reader.size("hidden_size"), reader.size("num_attention_heads")
        layers, vocab = reader.size("num_hidden_layers"), reader.size("vocab_size")
        experts, expert_intermediate, intermediate = _feed_forward(reader, family)
        kv_heads = reader.optional_size("num_key_value_heads") or heads
        head_dim = _head_dim(reader, hidden, heads)
        known = model_type in FAMILIES
        shared = 0 if known or not experts else _shared_experts(reader, expert_intermediate)
        reader.check(
            kv_heads == 0 or heads % kv_heads == 0,
            "`num_attention_heads` is no multiple of `num_key_value_heads`",
        )
        reader.finish()
        bias = _first(fields, "attention_bias", "qkv_bias")  # InternLM3 has names of its own
        shape = cls(
            model_type=model_type,
            layers=layers,
            hidden=hidden,
            intermediate=intermediate,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            vocab=vocab,
            tied=_tied(config, fields, family),
            norms=family.norms,
            query_key_norm=family.query_key_norm,
            query_bias=bias if family.query_bias is None else family.query_bias,
            output_bias=bias if family.output_bias is None else family.output_bias,
            mlp_bias=_first(fields, "mlp_bias", "bias")
            if family.mlp_bias is None
            else family.mlp_bias,
            fused=family.fused,
            experts=experts + shared,
            expert_intermediate=expert_intermediate,
            experts_per_token=(reader.optional_size("num_experts_per_tok") or 2) + shared
            if experts
            else 0,
            expert_layers=_expert_layers(fields, family, layers),
            max_positions=reader.optional_size("max_position_embeddings") or None,
            stored_dtype=_dtype(config, fields),
            sliding_window=_window(reader.fields, family, layers),
            all_windowed=_all_windowed(reader.fields, model_type, layers),
            caps_scores=bool(reader.fields.get("attn_logit_softcapping")),
            caps_logits=bool(reader.fields.get("final_logit_softcapping")),
            composed_activation=composed_activation(reader.fields, known=known),
            scales_logits=(reader.fields.get("logits_scaling") or 1.0) != 1.0,
            known=known,
            **read_eyes(config, hidden),
        )
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
    def float32_norms(self) -> bool:
        """Whether a norm multiplies by its weight in float32, as Gemma and OLMo 2 do."""
        return self.model_type.startswith(("gemma", "olmo2"))

    @property
    def float32_rotary(self) -> bool:
        """Whether cosines and sines stay in float32, as OLMo 2's do."""
        return self.model_type == "olmo2"

    @property
    def norms_before(self) -> bool:
        """Whether attention and feed-forward block read normalised states."""
        return self.model_type != "olmo2"

    @property
    def norms_after(self) -> bool:
        """Whether what they give is normalised; of a type that is not known it may be, as GLM 4's is, and no field says so."""
        return self.norms > 2 or self.model_type == "olmo2" or not self.known

    @property
    def may_normalise_heads(self) -> bool:
        """Whether there are norms on queries and keys, or may be for all that is known of the type."""
        return self.query_key_norm != "none" or not self.known

    @cached_property
    def one_layer(self) -> "ModelShape":
        """The same with one layer, the largest: one with experts where there are any."""
        return replace(
            self,
            layers=1,
            expert_layers=min(1, self.expert_layers),
            whole_weights=self.most_whole_weights,
            eyes=(),
            eyes_rest=0,
        )

    @cached_property
    def layer_entries(self) -> int:
        """Parameters of one decoder layer, the largest."""
        one = self.one_layer
        return one.linear_weights + one.expert_parameters + one.small_parameters - self.hidden

    @cached_property
    def attention_linears(self) -> tuple[Linear, ...]:
        """The linear layers of one attention block."""
        output = Linear(
            name="o_proj", inputs=self.query_width, outputs=self.hidden, bias=self.output_bias
        )
        if self.fused:
            width = self.query_width + 2 * self.kv_width
            return (
                Linear(name="qkv_proj", inputs=self.hidden, outputs=width, bias=self.query_bias),
                output,
            )
        widths = {"q_proj": self.query_width, "k_proj": self.kv_width, "v_proj": self.kv_width}
        return (
            *(
                Linear(name=name, inputs=self.hidden, outputs=width, bias=self.query_bias)
                for name, width in widths.items()
            ),
            output,
        )

    @cached_property
    def mlp_linears(self) -> tuple[Linear, ...]:
        """The linear layers of one dense feed-forward block."""
        down = Linear(
            name="down_proj", inputs=self.intermediate, outputs=self.hidden, bias=self.mlp_bias
        )
        if self.fused:
            width = 2 * self.intermediate
            return (
                Linear(name="gate_up_proj", inputs=self.hidden, outputs=width, bias=self.mlp_bias),
                down,
            )
        return (
            Linear(
                name="gate_proj", inputs=self.hidden, outputs=self.intermediate, bias=self.mlp_bias
            ),
            Linear(
                name="up_proj", inputs=self.hidden, outputs=self.intermediate, bias=self.mlp_bias
            ),
            down,
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
        return self.expert_layers * per_layer

    @cached_property
    def small_parameters(self) -> int:
        """Norms and biases."""
        biases = sum(count * (linear.parameters - linear.weights) for count, linear in self.linears)
        query_key = {
            "none": 0,
            "head": 2 * self.head_dim,
            "full": self.query_width + self.kv_width,
        }[self.query_key_norm]
        return biases + self.layers * (self.norms * self.hidden + query_key) + self.hidden

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
        """Those of `linears` that LoRA's targets name: `all-linear`, names, or name endings."""
        if "all-linear" in targets:
            return self.linears
        ends = {target.rpartition(".")[2] for target in targets}
        head = Linear(name="lm_head", inputs=self.hidden, outputs=self.vocab)
        candidates = (*self.linears, *(() if self.tied else ((1, head),)))
        return tuple((count, linear) for count, linear in candidates if linear.name in ends)

    def lora_parameters(
        self, rank: int, targets: tuple[str, ...] = ("all-linear",), *, dora: bool = False
    ) -> int:
        """Entries of A (rank, inputs) and B (outputs, rank) of every target; DoRA adds a norm per output."""
        return _lora_parameters(self, rank, targets, dora)

    def expert_lora_parameters(self, rank: int) -> int:
        """What PEFT 0.21 adapts in one layer's experts under `all-linear`, the router not counted.

        The fused gate-and-up of each expert with twice the rank, its down with the rank.
        """
        width, hidden = self.expert_intermediate, self.hidden
        return self.experts * (2 * rank * (hidden + 2 * width) + rank * (width + hidden))


@lru_cache(maxsize=64)
def _lora_parameters(shape: ModelShape, rank: int, targets: tuple[str, ...], dora: bool) -> int:
    low_rank = sum(
        count * (rank * (linear.inputs + linear.outputs) + (linear.outputs if dora else 0))
        for count, linear in shape.target_linears(targets)
    )
    if "all-linear" not in targets:
        return low_rank
    router = rank * (shape.hidden + shape.experts)
    return low_rank + shape.expert_layers * (shape.expert_lora_parameters(rank) + router)


def _fields(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Model type and fields of the language model: of `text_config` where there is one."""
    text = config.get("text_config")
    if not isinstance(text, Mapping):
        return str(config.get("model_type") or ""), config
    outer = str(config.get("model_type") or "")
    # Gemma 3's first configs carry no model_type inside text_config.
    return str(
        text.get("model_type") or (f"{outer}_text" if f"{outer}_text" in FAMILIES else outer)
    ), text


def _unknown_family(fields: Mapping[str, Any]) -> Family:
    """What to take for a model type that is not in the table: a Llama, with experts if the config has any."""
    has_experts = any(fields.get(name) for name in EXPERT_COUNTS)
    names = ("moe_intermediate_size", "intermediate_size")
    width = next((name for name in names if fields.get(name)), names[-1])
    return Family(mlp_bias=None, expert_width=width if has_experts else "")


def _feed_forward(reader: Fields, family: Family) -> tuple[int, int, int]:
    """Experts, the width of one, and the width of a dense block (0 where a mixture model has none)."""
    if not family.expert_width:
        return 0, 0, reader.size("intermediate_size")
    experts, width = reader.optional_size(*EXPERT_COUNTS), reader.size(family.expert_width)
    reader.check(experts > 0, "`num_experts` is missing")
    return experts, width, reader.optional_size("intermediate_size")


def _shared_experts(reader: Fields, width: int) -> int:
    """Experts that every token visits, as so many of the others' width."""
    shared = reader.optional_size("shared_expert_intermediate_size", "shared_intermediate_size")
    if reader.fields.get("n_shared_experts"):
        shared = shared or width * reader.optional_size("n_shared_experts")
    return -(-shared // width) if width else 0


def _head_dim(reader: Fields, hidden: int, heads: int) -> int:
    """Width of a head; of latent attention (DeepSeek) that of its queries, as if keys and values were as wide."""
    if reader.fields.get("qk_nope_head_dim") and reader.fields.get("qk_rope_head_dim"):
        return sum(reader.optional_size(f"qk_{part}_head_dim") for part in ("nope", "rope"))
    return reader.optional_size("head_dim") or (hidden // heads if heads else 0)


def _first(fields: Mapping[str, Any], *names: str) -> bool:
    """The first of the switches that is there; off if none is."""
    return bool(next((fields[name] for name in names if fields.get(name) is not None), False))


def _tied(config: Mapping[str, Any], fields: Mapping[str, Any], family: Family) -> bool:
    for source in (fields, config):
        if source.get("tie_word_embeddings") is not None:
            return bool(source["tie_word_embeddings"])
    return family.tied


def _dtype(config: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    for source in (fields, config):
        for key in ("dtype", "torch_dtype"):  # transformers 5 writes dtype, 4 wrote torch_dtype
            name = str(source.get(key) or "").removeprefix("torch.")
            if name in {"bfloat16", "float16", "float32"}:
                return name
    return None


def _window(fields: Mapping[str, Any], family: Family, layers: int) -> int | None:
    """The window of the layers that have one; Qwen's configs name one that is off unless they say otherwise."""
    window = fields.get("sliding_window")
    if not isinstance(window, int) or isinstance(window, bool) or window < 1:
        return None
    kinds = fields.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return window if "sliding_attention" in kinds[:layers] else None
    if family.window_is_optional:
        first = fields.get("max_window_layers")
        some = not isinstance(first, int) or first < layers
        return window if fields.get("use_sliding_window") and some else None
    return window


def _all_windowed(fields: Mapping[str, Any], model_type: str, layers: int) -> bool:
    """Whether a window, where there is one, is every layer's: as `layer_types` say, or for model types that have no other layers."""
    kinds = fields.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return set(kinds[:layers]) == {"sliding_attention"}
    return model_type in {"mistral", "mixtral", "phi3"}


def _expert_layers(fields: Mapping[str, Any], family: Family, layers: int) -> int:
    """Layers with experts: all of Mixtral's, and by the rule of Qwen-MoE's configs elsewhere."""
    if family.expert_width != "moe_intermediate_size":
        return layers if family.expert_width else 0
    every, named = fields.get("decoder_sparse_step"), fields.get("mlp_only_layers")
    every = every if isinstance(every, int) and every > 0 else 1
    dense = {each for each in named if isinstance(each, int)} if isinstance(named, list) else set()
    first = fields.get("first_k_dense_replace")
    if isinstance(first, int) and 0 < first < layers:
        dense |= set(range(first))
    return layers // every - sum(
        0 <= layer < layers and (layer + 1) % every == 0 for layer in dense
    )
