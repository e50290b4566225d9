"""Random cases of one long row: 64k to 200k tokens of plain families, narrow and two layers deep; runs nothing.

`python -m benchmarks.random_cases --long --seeds 0-9` compares them, a few seconds of processor time each.
"""

import random
from dataclasses import replace
from typing import Any

from benchmarks.random_cases import Case
from xtune.memory import Workload
from xtune.memory.workload import MethodName

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {}),
    ("qwen2", {}),
    ("qwen3", {"head_dim": 128}),
    ("mistral", {"sliding_window": 4096}),
    ("mistral", {"sliding_window": None}),
    ("gemma", {"head_dim": 256}),
    ("gemma2", {"head_dim": 256, "sliding_window": 4096}),
    ("gemma3_text", {"head_dim": 256, "sliding_window": 1024}),
    ("phi3", {"sliding_window": 2047}),
    ("phi3", {"sliding_window": None}),
)
"""Model types in turn, and what is their own."""

METHODS: tuple[MethodName, ...] = ("qlora", "lora", "full")
LENGTHS = (65_536, 100_000, 131_072, 200_000)


def draw_long(seed: int) -> Case:
    """The case that follows from a seed; every tenth is of the same model type."""
    dice = random.Random(f"long {seed}")
    kind, own = KINDS[seed % len(KINDS)]
    kv_heads = dice.choice((1, 2, 4))
    heads = kv_heads * dice.choice((1, 2, 4))
    apart = "head_dim" in own
    hidden = 128 * (dice.randint(3, 16) if apart else heads)
    config = {
        "model_type": kind,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": 64 * round(hidden * dice.uniform(1.5, 4.0) / 64),
        "num_hidden_layers": 2,
        "vocab_size": dice.choice((32_000, 128_256)),
        "tie_word_embeddings": kind.startswith("gemma"),
        "max_position_embeddings": 262_144,
        "pad_token_id": 0,
        **own,
    }
    return Case(config=config, work=_work(dice, config), chosen="long")


def _work(dice: random.Random, config: dict[str, Any]) -> Workload:
    """Layers that would need masks, or every score, are cut; the others are cut or whole."""
    method = dice.choice(METHODS)
    frugal = bool(config.get("sliding_window")) or dice.random() < 0.5
    again = frugal or dice.random() < 0.8
    work = Workload(
        method=method,
        rank=0 if method == "full" else dice.choice((8, 64)),
        quantization=dice.choice(("nf4", "int8")) if method == "qlora" else None,
        tokens=dice.choice(LENGTHS),
        attention="eager" if config["model_type"] == "gemma2" else "sdpa",
        optimizer=dice.choice(("adamw", "adamw_8bit")),
        loss_chunk_tokens=dice.choice((256, 1024)),
        tile_tokens=dice.choice((1024, 4096)),
        frugal=frugal,
        gradient_checkpointing=again,
        checkpoint_place=dice.choice(("device", "host")) if again else "device",
    )
    if again and dice.random() < 0.5:
        work = replace(work, base_place="host")
        if work.is_full:
            work = replace(work, fused_step=True, states_place="host")
    if not work.is_full and dice.random() < 0.4:
        work = replace(work, embeddings_place="host", head_form="host")
    return work
