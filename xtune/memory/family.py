"""What can be said of a model type's layers beside its config.json; says it of none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Norms: TypeAlias = Literal["none", "head", "full"]
Shared: TypeAlias = Literal["none", "gated", "before", "after"]
NormKind: TypeAlias = Literal["rms", "layer", "weightless", "written"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a model type does in its layers that its config.json does not say, or may leave out."""

    tied: bool = False
    """Whether head and embedding are one matrix when the config is silent."""

    partial_rotary: bool = False
    """Whether a part of each head is rotated and put together with the rest, which lays queries and keys out head by head."""

    norms: int = 2
    """Norms over the hidden size in each layer."""

    norm: NormKind = "rms"
    """What norms over the hidden size are (`xtune.memory.norms`): root mean squares with a weight; torch's LayerNorm with weight and
    bias; that of a float32 copy, without either; or one that is written out, with a weight."""

    parallel: bool = False
    """Whether attention and feed-forward block read the same states, so that their outputs are added up together."""

    holds_states: bool = False
    """Whether its code holds on to what attention read and gave while the feed-forward block runs."""

    query_key_norm: Norms = "none"
    """Norms on queries and keys: over one head, or over all heads together."""

    optional_norm: Norms = "head"
    """What these are where its config wants them and the type has none of itself."""

    query_bias: bool | None = None
    """Bias on the query, key and value projections; None: the config's `attention_bias`."""

    output_bias: bool | None = None
    """Bias on the attention's output projection; None: the config's `attention_bias`."""

    mlp_bias: bool | None = False
    """Bias on the feed-forward block's linear layers; None: the config's `mlp_bias`."""

    bias_fields: tuple[str, ...] = ("attention_bias", "qkv_bias", "use_bias")
    """The config's fields that may say whether attention has biases; the first that is there does."""

    mlp_bias_fields: tuple[str, ...] = ("mlp_bias", "bias", "use_bias")
    """Those that may say whether the feed-forward block has; the same."""

    head_bias: bool = False
    """Whether the head has a bias."""

    gated: bool = True
    """Whether the feed-forward block has a gate, whose activation is multiplied; without one its first layer's output is activated."""

    fused_qkv: bool = False
    """Query, key and value are one linear layer."""

    fused_gate_up: bool = False
    """Gate and up are one linear layer."""

    windowless_every: int = 1
    """Every so many layers one has no window, where no `layer_types` say otherwise; 0: all have it."""

    names: Mapping[str, str] = field(default_factory=dict)
    """What its modules are called, by Llama's names, where that is something else."""

    expert_width: str = ""
    """The field with the width of one expert, where layers are mixtures of experts."""

    shared: Shared = "none"
    """Whether there is an expert that every token visits, computed before the others, and gated, or after them."""

    shared_width: str = ""
    """The field with its width, or with how many of the others' width it is."""

    norms_before: bool = True
    """Whether attention and feed-forward block read normalised states."""

    normalises_last: bool = False
    """Whether queries and keys are normalised when all three are projected, and not each as it is."""

    float32_norms: bool = False
    """Whether a norm multiplies by its weight in float32."""

    float32_rotary: bool = False
    """Whether cosines and sines stay in float32."""

    rotary_by_kind: bool = False
    """Whether there is a set of rotary tables for layers with a window, and one for those without."""

    experts_last: bool = False
    """Whether experts are the last parameters of a layer, behind its norms."""

    wide_routes: bool = False
    """Whether routes of experts stay in float32."""

    route_bias: bool = False
    """Whether every route has a bias, which is not trained."""

    fused_shared: bool = False
    """Whether gate and up of the shared expert are one linear layer, as Granite calls them."""

    routes_in_float32: bool = False
    """Whether a router reads a float32 copy of the states."""

    narrow_routes: bool = False
    """Whether routes have the type of the router's product, which autocast makes narrow: those that are no softmax."""

    remote: bool = False
    """Whether its code is none of transformers' and comes with the weights: sizes and names are known, what its layers keep is taken for a Llama's."""

    defaults: Mapping[str, Any] | None = None
    """Fields that published configs leave out, with the values of its config class (of transformers 5.23's, where it has one)."""
