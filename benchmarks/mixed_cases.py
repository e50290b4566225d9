"""Random cases that train what others leave alone: mixtures of every planned family, adapted or whole heads and tables, new tokens; runs nothing.

`python -m benchmarks.random_cases --mixed --seeds 0-40` compares them.
"""

import random
from dataclasses import replace
from typing import Any

from benchmarks.random_cases import METHODS, Case, draw_config, draw_techniques
from xtune.memory import ModelShape, Workload

MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe", "olmoe", "granitemoe", "gpt_oss")

FIRST_LATER = 500
"""Seeds from here on are mixtures alone, some of them of later types, in part dense, and adapted where experts have names."""

LATER_MIXTURES = ("deepseek_v3", "deepseek_v2", "glm4_moe", "dots1", "qwen3_moe", "qwen2_moe")
BLOCK = ("gate_proj", "up_proj", "down_proj")
LATER_TARGETS = (("all-linear",), BLOCK, ("down_proj",), ("o_proj", "kv_b_proj", *BLOCK))

TARGETS = (
    ("all-linear",),
    ("q_proj", "v_proj"),
    ("q_proj", "v_proj", "lm_head"),
    ("o_proj", "lm_head"),
    ("lm_head",),
)
SAVED = ((), ("lm_head",), ("embed_tokens",), ("embed_tokens", "lm_head"), ("norm",))
LENGTHS = ((64, 4), (700, 1), (1500, 2), (3000, 1))
"""Tokens of a row, and rows."""


def draw_mixed(seed: int) -> Case:
    """The case that follows from a seed; other than those of `random_cases.draw` and `wide_cases.draw_wide`."""
    dice = random.Random(f"mixed {seed}")
    if seed >= FIRST_LATER:
        return _later(dice)
    config = _mixture(dice) if dice.random() < 0.5 else draw_config(dice)
    shape = ModelShape.from_config(config)
    methods = [name for name in METHODS if "dora" not in name]
    if not shape.experts:
        methods.remove("full")
    method = dict(METHODS[dice.choice(methods)])
    work = _trained(dice, config, shape, method)
    each, work = draw_techniques(dice, shape, work)
    if work.is_full and shape.has_sinks:  # are never cut
        each = replace(each, frugal=False)
    return Case(config=config, work=each.applied(work), chosen="mixed")


def _later(dice: random.Random) -> Case:
    config = _mixture(dice, LATER_MIXTURES)
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    config["intermediate_size"] *= dice.choice((1, 4))
    dense = dice.choice((0, 1))
    config |= {"mlp_only_layers": [dense - 1] if dense else [], "first_k_dense_replace": dense}
    config |= {"n_routed_experts": 8, "n_shared_experts": dice.choice((1, 2)), "head_dim": 64}
    config |= {"n_group": 2, "topk_group": 1} if config["model_type"] != "deepseek_v2" else {}
    if config["model_type"].startswith("deepseek"):
        config |= {
            "num_key_value_heads": heads,
            "q_lora_rank": dice.choice((None, 192, 512)),
            "kv_lora_rank": dice.choice((128, 512)),
            "qk_rope_head_dim": dice.choice((32, 64)),
            "qk_nope_head_dim": dice.choice((64, 128)),
            "v_head_dim": dice.choice((64, 128)),
        }
    if config["model_type"] not in {"qwen3_moe", "glm4_moe", "dots1"}:
        del config["head_dim"]
    shape = ModelShape.from_config(config)
    methods = [name for name in METHODS if "dora" not in name]
    method = dict(METHODS[dice.choice(methods)])
    work = _trained(dice, config, shape, method)
    if not work.is_full:
        targets = dice.choice(LATER_TARGETS)
        work = replace(work, targets=targets, saved=(), new_tokens=0)
    each, work = draw_techniques(dice, shape, work)
    config["num_hidden_layers"] = layers + dense
    return Case(config=config, work=each.applied(work), chosen="mixed")


def _mixture(dice: random.Random, kinds: tuple[str, ...] = MIXTURES) -> dict[str, Any]:
    kind = dice.choice(kinds)
    head_dim = dice.choice((64, 128))
    kv_heads = dice.choice((2, 4))
    heads = kv_heads * dice.choice((1, 2, 4))
    config: dict[str, Any] = {
        "model_type": kind,
        "hidden_size": heads * head_dim,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": dice.choice((2, 3)),
        "intermediate_size": 64 * dice.randint(8, 32),
        "moe_intermediate_size": 64 * dice.randint(6, 24),
        "shared_expert_intermediate_size": 64 * dice.randint(8, 48),
        "num_experts": 8,
        "num_local_experts": 8,
        "num_experts_per_tok": dice.choice((1, 2, 4)),
        "vocab_size": dice.choice((8192, 50304, 128256)),
        "tie_word_embeddings": dice.random() < 0.4,
        "max_position_embeddings": 131072,
        "pad_token_id": 0,
    }
    if kind in {"mixtral", "qwen3_moe", "gpt_oss"}:
        config["head_dim"] = head_dim
    if kind == "gpt_oss":
        config["sliding_window"] = dice.choice((128, 1024))
    if kind == "granitemoe":
        config |= {"logits_scaling": 8.0, "residual_multiplier": 0.22}
    return config


def _trained(
    dice: random.Random, config: dict[str, Any], shape: ModelShape, method: dict[str, Any]
) -> Workload:
    tokens, rows = dice.choice(LENGTHS)
    full = method["type"] == "full"
    eager = config["model_type"] in {"gemma2", "gpt_oss"}
    work = Workload(
        method=method["type"],
        quantization=method.get("quantization", "nf4") if method["type"] == "qlora" else None,
        tokens=tokens,
        rows=rows,
        rank=0 if full else dice.choice((4, 16, 64)),
        attention="eager" if eager else "sdpa",
        accumulation_steps=dice.choice((1, 2)),
        loss_chunk_tokens=dice.choice((128, 512)),
        optimizer=dice.choice(("adamw", "adamw_8bit", "adafactor")),
        tile_tokens=dice.choice((512, 1024)),
    )
    if full:
        return work
    targets = dice.choice([each for each in TARGETS if not (shape.tied and "lm_head" in each)])
    if shape.fused_qkv:
        targets = ("qkv_proj", "lm_head") if "lm_head" in targets else ("all-linear",)
    saved = () if "lm_head" in targets else dice.choice(SAVED)
    tables = {"lm_head", "embed_tokens"} & {*targets, *saved}
    new_tokens = 0 if tables else dice.choice((0, 3))
    return replace(work, targets=targets, saved=saved, new_tokens=new_tokens)
