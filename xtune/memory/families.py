"""What each model type does that its config.json leaves unsaid; no config is read here."""

from collections.abc import Mapping

from xtune.memory.family import Family

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
