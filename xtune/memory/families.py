"""What each model type does that its config.json leaves unsaid; no config is read here."""

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


FAMILIES: Mapping[str, Family] = {
    "llama": Family(mlp_bias=None),
    "mistral": Family(
        query_bias=False,
        output_bias=False,
        defaults={"num_key_value_heads": 8, "sliding_window": 4096},
    ),
    "mixtral": Family(
        query_bias=False,
        output_bias=False,
        expert_width="intermediate_size",
        wide_routes=True,
        defaults={"num_key_value_heads": 8},
    ),
    "granite": Family(mlp_bias=None),
    "qwen2": Family(query_bias=True, output_bias=False),
    "qwen3": Family(query_key_norm="head", defaults={"head_dim": 128}),
    "qwen3_moe": Family(query_key_norm="head", expert_width="moe_intermediate_size"),
    "qwen2_moe": Family(
        query_bias=True,
        output_bias=False,
        expert_width="moe_intermediate_size",
        shared="gated",
        shared_width="shared_expert_intermediate_size",
        defaults={
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            "num_key_value_heads": 16,
        },
    ),
    "glm4_moe": Family(
        partial_rotary=True,
        output_bias=False,
        expert_width="moe_intermediate_size",
        shared="after",
        wide_routes=True,
        routes_in_float32=True,
        narrow_routes=True,
        shared_width="n_shared_experts",
        defaults={
            "n_routed_experts": 128,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 1408,
            "first_k_dense_replace": 1,
            "num_key_value_heads": 8,
        },
    ),
    "deepseek_v2": Family(
        mlp_bias=None,
        expert_width="moe_intermediate_size",
        shared="after",
        wide_routes=True,
        routes_in_float32=True,
        shared_width="n_shared_experts",
        defaults={
            "n_routed_experts": 64,
            "n_shared_experts": 2,
            "moe_intermediate_size": 1407,
            "q_lora_rank": 1536,
            "kv_lora_rank": 512,
            "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
        },
    ),
    "deepseek_v3": Family(
        expert_width="moe_intermediate_size",
        shared="after",
        wide_routes=True,
        routes_in_float32=True,
        narrow_routes=True,
        shared_width="n_shared_experts",
        defaults={
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 3,
            "q_lora_rank": 1536,
            "kv_lora_rank": 512,
            "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
        },
    ),
    "hunyuan_v1_moe": Family(
        query_key_norm="head",
        expert_width="intermediate_size",
        shared="before",
        wide_routes=True,
        shared_width="intermediate_size",
        defaults={"num_experts": 1, "moe_topk": 1},
    ),
    "dots1": Family(
        query_key_norm="head",
        expert_width="moe_intermediate_size",
        shared="after",
        wide_routes=True,
        routes_in_float32=True,
        narrow_routes=True,
        shared_width="n_shared_experts",
        defaults={"moe_intermediate_size": 1408, "sliding_window": 4096, "max_window_layers": 62},
    ),
    "olmoe": Family(
        query_key_norm="full",
        expert_width="intermediate_size",
        defaults={"num_experts": 64, "num_experts_per_tok": 8},
    ),
    "granitemoe": Family(
        expert_width="intermediate_size",
        experts_last=True,
        defaults={"num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "granitemoeshared": Family(
        expert_width="intermediate_size",
        shared="after",
        shared_width="shared_intermediate_size",
        fused_shared=True,
        defaults={"num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "ernie4_5_moe": Family(
        tied=True,
        mlp_bias=None,
        bias_fields=("use_bias",),
        mlp_bias_fields=("use_bias",),
        float32_rotary=True,
        expert_width="moe_intermediate_size",
        shared="before",
        shared_width="moe_num_shared_experts",
        routes_in_float32=True,
        route_bias=True,
        defaults={
            "num_key_value_heads": 4,
            "moe_intermediate_size": 1536,
            "moe_num_experts": 64,
            "moe_k": 6,
            "moe_num_shared_experts": 2,
            "moe_layer_start_index": 1,
        },
    ),
    "gpt_oss": Family(
        windowless_every=2,
        query_bias=True,
        output_bias=True,
        expert_width="intermediate_size",
        float32_norms=True,
        defaults={
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "sliding_window": 128,
        },
    ),
    "smollm3": Family(tied=True, mlp_bias=None),
    "internlm3": Family(mlp_bias=None, defaults={"num_key_value_heads": 2, "head_dim": 128}),
    "internlm": Family(remote=True, bias_fields=("bias",), defaults={"bias": True}),
    "internlm2": Family(
        remote=True,
        bias_fields=("bias",),
        fused_qkv=True,
        names={
            "qkv_proj": "wqkv",
            "o_proj": "wo",
            "gate_proj": "w1",
            "up_proj": "w3",
            "down_proj": "w2",
            "self_attn": "attention",
            "mlp": "feed_forward",
            "input_layernorm": "attention_norm",
            "post_attention_layernorm": "ffn_norm",
            "embed_tokens": "tok_embeddings",
            "lm_head": "output",
        },
        defaults={"bias": True},
    ),
    "olmo2": Family(
        query_key_norm="full", norms_before=False, float32_norms=True, float32_rotary=True
    ),
    "olmo": Family(norm="weightless", float32_rotary=True),
    "olmo3": Family(
        query_key_norm="full",
        norms_before=False,
        float32_norms=True,
        float32_rotary=True,
        rotary_by_kind=True,
        windowless_every=4,
        defaults={"sliding_window": 4096},
    ),
    "exaone4": Family(
        query_key_norm="head",
        norms_before=False,
        query_bias=False,
        output_bias=False,
        windowless_every=4,
        defaults={"sliding_window": 4096, "num_key_value_heads": 32},
    ),
    "cohere": Family(
        optional_norm="full",
        tied=True,
        norm="written",
        norms=1,
        parallel=True,
        float32_norms=True,
        defaults={"logit_scale": 0.0625},
    ),
    "cohere2": Family(
        tied=True,
        norm="written",
        norms=1,
        parallel=True,
        float32_norms=True,
        windowless_every=4,
        defaults={"logit_scale": 0.0625, "sliding_window": 4096},
    ),
    "stablelm": Family(
        optional_norm="full",
        holds_states=True,
        norm="layer",
        partial_rotary=True,
        output_bias=False,
        bias_fields=("use_qkv_bias",),
        defaults={"num_key_value_heads": 32},
    ),
    "gpt_neox": Family(
        norm="layer",
        parallel=True,
        partial_rotary=True,
        gated=False,
        fused_qkv=True,
        mlp_bias=True,
        names={
            "qkv_proj": "query_key_value",
            "o_proj": "dense",
            "up_proj": "dense_h_to_4h",
            "down_proj": "dense_4h_to_h",
            "self_attn": "attention",
            "model": "gpt_neox",
            "embed_tokens": "embed_in",
            "norm": "final_layer_norm",
        },
        defaults={"attention_bias": True, "hidden_act": "gelu"},
    ),
    "nemotron": Family(
        norm="layer",
        gated=False,
        partial_rotary=True,
        mlp_bias=None,
        defaults={"hidden_act": "relu2", "head_dim": 128},
    ),
    "arcee": Family(gated=False, mlp_bias=None, defaults={"hidden_act": "relu2"}),
    "apertus": Family(
        gated=False,
        query_key_norm="head",
        names={
            "input_layernorm": "attention_layernorm",
            "post_attention_layernorm": "feedforward_layernorm",
        },
        defaults={"hidden_act": "xielu", "num_key_value_heads": 32},
    ),
    "helium": Family(
        output_bias=False,
        mlp_bias=None,
        float32_norms=True,
        defaults={"num_key_value_heads": 20, "head_dim": 128},
    ),
    "ernie4_5": Family(
        tied=True,
        mlp_bias=None,
        bias_fields=("use_bias",),
        mlp_bias_fields=("use_bias",),
        float32_rotary=True,
        defaults={"num_key_value_heads": 2, "head_dim": 128},
    ),
    "hunyuan_v1_dense": Family(
        query_key_norm="head", names={"q_norm": "query_layernorm", "k_norm": "key_layernorm"}
    ),
    "seed_oss": Family(
        mlp_bias=None,
        defaults={
            "attention_bias": True,
            "attention_out_bias": False,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "attention_dropout": 0.1,
            "residual_dropout": 0.1,
        },
    ),
    "ministral": Family(
        query_bias=False,
        output_bias=False,
        windowless_every=0,
        defaults={"num_key_value_heads": 8, "sliding_window": 4096},
    ),
    "ministral3": Family(
        query_bias=False,
        output_bias=False,
        windowless_every=0,
        defaults={"num_key_value_heads": 8, "head_dim": 128},
    ),
    "gemma": Family(tied=True, float32_norms=True, defaults={"head_dim": 256}),
    "gemma2": Family(
        tied=True,
        windowless_every=2,
        float32_norms=True,
        norms=4,
        defaults={
            "head_dim": 256,
            "num_key_value_heads": 4,
            "sliding_window": 4096,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
    ),
    "gemma3_text": Family(
        tied=True,
        windowless_every=6,
        float32_norms=True,
        normalises_last=True,
        rotary_by_kind=True,
        norms=4,
        query_key_norm="head",
        defaults={
            "head_dim": 256,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "vocab_size": 262_208,
            "sliding_window": 4096,
        },
    ),
    "phi": Family(
        norm="layer",
        norms=1,
        parallel=True,
        partial_rotary=True,
        gated=False,
        query_bias=True,
        output_bias=True,
        mlp_bias=True,
        head_bias=True,
        names={"o_proj": "dense", "up_proj": "fc1", "down_proj": "fc2", "norm": "final_layernorm"},
        defaults={"hidden_act": "gelu_new"},
    ),
    "phi3": Family(
        query_bias=False,
        output_bias=False,
        fused_qkv=True,
        fused_gate_up=True,
        partial_rotary=True,
    ),
    "glm": Family(
        output_bias=False,
        fused_gate_up=True,
        partial_rotary=True,
        defaults={"num_key_value_heads": 2, "head_dim": 128},
    ),
    "glm4": Family(
        norms=4,
        output_bias=False,
        fused_gate_up=True,
        partial_rotary=True,
        names={
            "post_attention_layernorm": "post_self_attn_layernorm",
            "pre_feedforward_layernorm": "post_attention_layernorm",
            "post_feedforward_layernorm": "post_mlp_layernorm",
        },
        defaults={"num_key_value_heads": 2, "head_dim": 128},
    ),
    "starcoder2": Family(
        tied=True,
        norm="layer",
        gated=False,
        mlp_bias=None,
        names={"up_proj": "c_fc", "down_proj": "c_proj"},
        defaults={"use_bias": True, "num_key_value_heads": 2},
    ),
}
"""Model types whose counts the tests compare with transformers, parameter by parameter; those that are `remote` with published ones."""


UNKNOWN = Family(float32_norms=True, experts_last=True, wide_routes=True)
"""What is taken for a model type that is not known: of two ways the one that takes more."""


def own_name(model_type: str, name: str) -> str:
    """What a model type calls the module that Llama calls `name`."""
    family = FAMILIES.get(model_type)
    return name if family is None else family.names.get(name, name)


def _all_names(name: str) -> frozenset[str]:
    return frozenset(own_name(kind, name) for kind in FAMILIES)


HEADS = _all_names("lm_head")
"""What heads are called."""

EMBEDDINGS = _all_names("embed_tokens")
"""What embeddings are called."""


FUSED_ACTIVATIONS = frozenset(
    ["gelu", "gelu_pytorch_tanh", "hardswish", "leaky_relu", "linear", "mish", "relu", "relu6", "sigmoid", "silu", "swish", "tanh"]
)  # fmt: skip
"""Activations that are one operation of torch's (`transformers.activations.ACT2CLS`, 5.23)."""


ACTIVATION_FIELDS = ("hidden_activation", "hidden_act", "activation_function", "hidden_activation_function")  # fmt: skip


def read_activation(fields: Mapping[str, Any], *, known: bool) -> dict[str, Any]:
    """The activation's name, and whether it is none of those; where no field names it, for a type of which nothing is known."""
    named = next((fields[name] for name in ACTIVATION_FIELDS if isinstance(fields.get(name), str)), "")  # fmt: skip
    composed = named not in FUSED_ACTIVATIONS if named else not known
    return {"activation": named, "composed_activation": composed}


EXPERT_COUNTS = (
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "num_routed_experts",
    "moe_num_experts",
)
"""What configs call the number of a layer's experts."""

EXPERTS_PER_TOKEN = ("num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "num_experts_per_token", "top_k", "top_k_experts")  # fmt: skip
"""What they call the number of those that a token visits."""

SHARED_COUNTS = ("n_shared_experts", "moe_num_shared_experts", "num_shared_experts", "num_shared_expert")  # fmt: skip
"""What they call the number of those that every token visits besides."""

DENSE_FIRST = ("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers")
"""What they call the number of layers before the first with experts."""

MOST_VISITED = 8
"""Experts that a token is taken to visit where no field says how many."""
