"""Random cases at the edges: odd sizes, targets, ranks, lengths and optimizers that `random_cases.draw` does not reach; runs nothing.

`python -m benchmarks.random_cases --wide --seeds 0-40` compares them.
"""

import random
from dataclasses import replace
from math import lcm
from typing import Any

from benchmarks.random_cases import METHODS, WITH_HEAD_DIM, Case, draw_config, draw_techniques
from xtune.memory import ModelShape, Workload

TARGETS = (
    ("q_proj", "v_proj"),
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("o_proj",),
    ("down_proj",),
    ("gate_proj", "up_proj", "down_proj"),
)
FUSED_TARGETS = (
    ("qkv_proj",),
    ("qkv_proj", "o_proj"),
    ("down_proj",),
    ("gate_up_proj", "down_proj"),
)
LENGTHS = ((64, 1), (64, 16), (100, 8), (1000, 3), (3001, 2), (16384, 1), (40000, 1), (200_000, 1))
"""Tokens of a row, and rows."""

OPTIMIZERS = ("adamw", "adamw_8bit", "adafactor", "muon")
FULL_OPTIMIZERS = (*OPTIMIZERS, "galore_adamw", "apollo_adamw")


def draw_wide(seed: int) -> Case:
    """The case that follows from a seed; other than that of `random_cases.draw`."""
    dice = random.Random(f"wide {seed}")
    config = _odd_config(dice)
    shape = ModelShape.from_config(config)
    methods = [name for name in METHODS if not (shape.experts and "dora" in name)]
    method = dict(METHODS[dice.choice(methods)])
    work = _odd_work(dice, config, shape, method)
    while True:
        each, work = draw_techniques(dice, shape, work)
        if each.frugal or work.tokens <= 3001:
            break
    if each.head_form == "host" and dice.random() < 0.5:
        each = replace(each, head_form=dice.choice(("nf4", "int8")))
    samples = None
    if work.packing:
        own = random.Random(f"samples {seed}")
        samples = tuple(_packed_row(own, work.tokens) for _ in range(work.rows))
    return Case(config=config, work=each.applied(work), chosen="wide", samples=samples)


def _packed_row(dice: random.Random, tokens: int) -> tuple[int, ...]:
    """Samples of a packed row: a long one and a short one, or as long as they happen to be; some are of one token."""
    first = tokens - 1 - dice.randrange(max(1, tokens // 50))
    lengths = [first if dice.random() < 0.5 else dice.randint(1, tokens - 1)]
    while (left := tokens - sum(lengths)) > 0:
        lengths.append(dice.randint(1, left))
    return tuple(lengths)


def _odd_config(dice: random.Random) -> dict[str, Any]:
    config = draw_config(dice)
    heads, kv_heads = dice.choice(
        ((3, 1), (5, 5), (6, 2), (9, 3), (12, 1), (14, 2), (20, 20), (25, 5), (36, 4))
    )
    head_dim = dice.choice((64, 96, 128, 256))
    config |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads}
    hidden = heads * head_dim
    if config["model_type"] in WITH_HEAD_DIM:
        config["head_dim"] = head_dim
        hidden = lcm(64, heads) * dice.randint(1, max(1, 4096 // lcm(64, heads)))
    elif "head_dim" in config:
        config["head_dim"] = head_dim
    config["hidden_size"] = hidden
    if config["model_type"] not in {"mixtral", "qwen3_moe"}:
        config["intermediate_size"] = 64 * max(2, round(hidden * dice.uniform(0.5, 5.0) / 64))
    config["vocab_size"] = dice.choice((1000, 32003, 262_144))
    return config


def _odd_work(
    dice: random.Random, config: dict[str, Any], shape: ModelShape, method: dict[str, Any]
) -> Workload:
    tokens, rows = dice.choice(LENGTHS)
    if config["model_type"] == "gemma2" and tokens > 3001:
        tokens = 1000
    full = method["type"] == "full"
    dtype = "bfloat16"
    if not shape.experts and method["type"] != "qlora":
        dtype = dice.choice(("float32", "bfloat16"))
    return Workload(
        method=method["type"],
        rank=0 if full else dice.choice((1, 3, 256)),
        targets=dice.choice((("all-linear",), *(FUSED_TARGETS if shape.fused_qkv else TARGETS)))
        if not full and not shape.experts
        else ("all-linear",),
        dora=method.get("dora", False),
        quantization=method.get("quantization", "nf4") if method["type"] == "qlora" else None,
        tokens=tokens,
        rows=rows,
        weight_dtype=dtype,
        compute_dtype="float32"
        if dtype == "float32" and not (full and dice.random() < 0.5)
        else "bfloat16",
        attention="eager" if config["model_type"] == "gemma2" else "sdpa",
        packing=dice.random() < 0.3,
        accumulation_steps=dice.choice((1, 2)),
        loss_chunk_tokens=dice.choice((128, 1024)),
        optimizer=dice.choice(FULL_OPTIMIZERS if full else OPTIMIZERS),
        tile_tokens=dice.choice((1024, 4096)),
    )
