"""Random cases of families whose layers are put together otherwise than Llama's: blocks without a gate, LayerNorm, parallel blocks; runs nothing.

`python -m benchmarks.random_cases --dense --seeds 0-40` compares them. They have a list of families of their own, so that what other
switches draw from a seed stays what it was.
"""

import random
from dataclasses import replace
from typing import Any

from benchmarks.random_cases import METHODS, Case, draw_techniques
from xtune.memory import ModelShape, Workload

DENSE = ("phi", "starcoder2")

LENGTHS = ((64, 1), (64, 8), (500, 3), (2048, 1), (4096, 1), (4096, 2), (16384, 1), (65536, 1))
"""Tokens of a row, and rows."""

TYPES = (
    ("bfloat16", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("float32", "float32"),
)
"""Types of weights and of products beside which adapters are trained."""

FULL_TYPES = (("bfloat16", "bfloat16"), ("float32", "bfloat16"), ("float32", "float32"))


def draw_dense(seed: int) -> Case:
    """The case that follows from a seed."""
    dice = random.Random(f"dense {seed}")
    config = _config(dice)
    shape = ModelShape.from_config(config)
    method = dict(METHODS[dice.choice(list(METHODS))])
    work = _work(dice, shape, method)
    while True:
        each, chosen = draw_techniques(dice, shape, work)
        if each.frugal or work.tokens <= 4096:
            break
    return Case(config=config, work=each.applied(chosen), chosen="dense")


def _config(dice: random.Random) -> dict[str, Any]:
    """A config.json of a family, with heads that share keys or do not, and with or without the switches that families have."""
    family = dice.choice(DENSE)
    head_dim = dice.choice((64, 80, 128))
    kv_heads = dice.choice((1, 2, 4, 8))
    heads = kv_heads * dice.choice((1, 2, 4, 8))
    while not 512 <= heads * head_dim <= 4096:
        heads = heads * 2 if heads * head_dim < 512 else heads // 2
    kv_heads = min(kv_heads, heads)
    hidden = heads * head_dim
    config: dict[str, Any] = {
        "model_type": family,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": dice.choice((2, 3)),
        "intermediate_size": 64 * round(hidden * dice.choice((1.5, 3, 4, 4, 6)) / 64),
        "vocab_size": dice.choice((1000, 32000, 50304)),
        "tie_word_embeddings": dice.random() < 0.4,
        "max_position_embeddings": 131072,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if family == "starcoder2":
        config["use_bias"] = dice.random() < 0.8
        config["sliding_window"] = dice.choice((None, None, 512, 4096))
    return config


def _work(dice: random.Random, shape: ModelShape, method: dict[str, Any]) -> Workload:
    full = method["type"] == "full"
    tokens, rows = dice.choice(LENGTHS)
    weights, products = dice.choice(FULL_TYPES if full else TYPES)
    work = Workload(
        method=method["type"],
        quantization=method.get("quantization", "nf4") if method["type"] == "qlora" else None,
        dora=method.get("dora", False),
        rank=0 if full else dice.choice((4, 16, 64)),
        dropout=not full and dice.random() < 0.2,
        tokens=tokens,
        rows=rows,
        weight_dtype=weights,
        compute_dtype=products,
        packing=dice.random() < 0.2,
        accumulation_steps=dice.choice((1, 2)),
        loss_chunk_tokens=dice.choice((128, 512)),
        optimizer=dice.choice(("adamw", "adamw_8bit", "paged_adamw_8bit")),
        tile_tokens=dice.choice((1024, 4096)),
    )
    if full or dice.random() < 0.6:
        return work
    names = [linear.name for _, linear in shape.linears]
    return replace(work, targets=tuple(dice.sample(names, dice.randint(1, len(names)))))
