"""Random models, methods, lengths and techniques, each with its computed and its simulated bytes; chooses nothing that is shipped.

    python -m benchmarks.random_cases [--seeds 0-40] [--apart 0.03] [--whole] [--wide] [--long]

A case follows from its seed: a family's config.json with odd sizes, full width and two to four layers; a method; a length
and a batch; and techniques, which the planner chose for a random budget or which were drawn. Computed and simulated bytes are
those of `xtune.memory` and `benchmarks.simulation`, without context and reserve.
"""

import argparse
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import lcm
from typing import Any

from benchmarks.simulation import Samples, simulate
from xtune.memory import GIB, ModelShape, Workload, predict
from xtune.plan.cards import machine
from xtune.plan.resolve import decide
from xtune.plan.techniques import Techniques, can_be_fused, has_frozen_tables
from xtune.recipe import Recipe

FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "phi3", "granite", "olmo2", "smollm3",
    "internlm3",
    "mixtral", "qwen3_moe",
)  # fmt: skip

WITHOUT_HEAD_DIM = {"qwen2", "phi3", "olmo2", "smollm3"}
WITH_HEAD_DIM = {"qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text", "mixtral"}

METHODS: Mapping[str, Mapping[str, Any]] = {
    "qlora nf4": {"type": "qlora"},
    "qlora int8": {"type": "qlora", "quantization": "int8"},
    "qlora dora": {"type": "qlora", "dora": True},
    "lora": {"type": "lora"},
    "lora dora": {"type": "lora", "dora": True},
    "full": {"type": "full"},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, and what is done with it."""

    config: Mapping[str, Any]
    work: Workload
    chosen: str
    """Who chose the techniques: "planned" or "drawn"."""

    samples: Samples | None = None
    """What is packed into its rows; None: a sample in each."""

    @property
    def label(self) -> str:
        """For people: the family, its sizes, the method, and what differs from a plain step."""
        fields, work = self.config, self.work
        sizes = "/".join(
            str(fields.get(name, "-"))
            for name in ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size")
        )  # fmt: skip
        names = (
            "quantization", "dora", "weight_dtype", "compute_dtype", "optimizer", "accumulation_steps", "gradient_checkpointing",
            "frugal", "tile_tokens", "checkpoint_place", "base_place", "embeddings_place", "head_form", "states_place",
            "fused_step", "clipped", "loss_chunk_tokens", "attention", "sliding_window", "targets", "saved", "new_tokens",
        )  # fmt: skip
        plain = Workload(method="full", tokens=1)
        said = [
            f"{name}={getattr(work, name)}"
            for name in names
            if hasattr(work, name) and getattr(work, name) != getattr(plain, name)
        ]
        return (
            f"{fields['model_type']} {fields['num_hidden_layers']}x {sizes} vocab {fields['vocab_size']} "
            f"window {fields.get('sliding_window')} tied {fields.get('tie_word_embeddings')}: "
            f"{work.method} r={work.rank} {work.rows}x{work.tokens} {self.chosen} {' '.join(said)}"
        )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Bytes of a case's step, without context and reserve."""

    computed: int
    simulated: int
    items: Mapping[str, int]
    peak_at: str
    largest: Mapping[str, int]

    @property
    def apart(self) -> float:
        """By how much of the simulated bytes the computed ones are above (or below) them."""
        return self.computed / self.simulated - 1


def draw(seed: int) -> Case:
    """The case that follows from a seed."""
    dice = random.Random(seed)
    config = draw_config(dice)
    shape = ModelShape.from_config(config)
    # PEFT has no DoRA for experts
    names = [name for name in METHODS if not (shape.experts and "dora" in name)]
    method = dict(METHODS[dice.choice(names)])
    if method["type"] != "full":
        method["rank"] = dice.choice((4, 8, 16, 32, 64, 128))
    if dice.random() < 0.6:
        return _planned(dice, config, shape, method)
    return _drawn(dice, config, shape, method)


def draw_config(dice: random.Random) -> dict[str, Any]:
    """A config.json of a family that has its sizes from chance."""
    family = dice.choice(FAMILIES)
    wide = family in {"mixtral", "qwen3_moe"}
    own = family not in WITHOUT_HEAD_DIM and (family in WITH_HEAD_DIM or dice.random() < 0.3)
    head_dim, kv_heads, heads = _heads(dice)
    hidden = heads * head_dim
    if own and family != "internlm3" and dice.random() < 0.6:
        hidden = lcm(64, heads) * dice.randint(2, max(2, 6144 // lcm(64, heads)))
    layers = dice.choice((2, 3, 3, 4))
    config: dict[str, Any] = {
        "model_type": family,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": 64 * round(hidden * dice.uniform(1.0, 6.0) / 64),
        "num_hidden_layers": layers,
        "vocab_size": dice.choice((8192, 32000, 32064, 50304, 92544, 128256, 151936, 262208)),
        "tie_word_embeddings": dice.random() < 0.4,
        "max_position_embeddings": 131072,
        "pad_token_id": 0,
    }
    if own or family == "internlm3":
        config["head_dim"] = head_dim
    if family in {"llama", "granite", "smollm3", "qwen3"} and dice.random() < 0.3:
        config["attention_bias"] = True
    if family in {"mistral", "gemma2", "gemma3_text", "phi3", "mixtral"}:
        config["sliding_window"] = dice.choice((512, 1024, 4096)) if dice.random() < 0.6 else None
        if family.startswith("gemma"):
            config["sliding_window"] = dice.choice((512, 1024, 4096))
    if family == "granite":
        config |= {"logits_scaling": 8.0, "residual_multiplier": 0.22}
    if wide:
        experts = {"num_experts_per_tok": dice.choice((1, 2, 4))}
        config["intermediate_size"] = 64 * dice.randint(8, 48)
        if family == "mixtral":
            experts["num_local_experts"] = dice.choice((4, 8))
        else:
            experts |= {
                "num_experts": dice.choice((8, 16, 32)),
                "moe_intermediate_size": 64 * dice.randint(6, 24),
            }
        config |= {"hidden_size": lcm(64, heads) * dice.randint(2, max(2, 3072 // lcm(64, heads)))}
        config["head_dim"] = head_dim
        config |= experts
    return config


def _heads(dice: random.Random) -> tuple[int, int, int]:
    """Width of a head, key heads and query heads, all together as wide as hidden states are."""
    while True:
        head_dim = dice.choice((64, 80, 96, 128, 128, 128, 256))
        kv_heads = dice.choice((1, 2, 4, 8))
        heads = kv_heads * dice.choice((1, 2, 4, 5, 7, 8) if kv_heads < 8 else (1, 2, 4, 5))
        if 768 <= heads * head_dim <= 8192:
            return head_dim, kv_heads, heads


def _length(dice: random.Random) -> tuple[int, int]:
    tokens = dice.choice((512, 1000, 2048, 4096, 6000, 8192))
    return tokens, dice.choice((1, 1, 1, 2, 4)) if tokens <= 4096 else 1


def _planned(
    dice: random.Random, config: dict[str, Any], shape: ModelShape, method: dict[str, Any]
) -> Case:
    """What the planner chooses for a budget, from what everything takes without techniques down to an eighth of it."""
    tokens, batch = _length(dice)
    dtype = dice.choice(("auto", "auto", "bfloat16", "float32"))
    if shape.experts:  # torch has the shapes of products by group for bfloat16 alone
        dtype = "bfloat16"
    recipe = Recipe.model_validate(
        {
            "model": {"name": "drawn", "dtype": "auto" if method["type"] == "qlora" else dtype},
            "method": method,
            "data": {"train": "rows.jsonl", "max_tokens": tokens},
            "train": {
                "learning_rate": 1e-4,
                "batch_size": batch,
                "max_grad_norm": dice.choice((None, 1.0)),
            },
        }
    )
    most = decide(recipe, _card(10_000 * GIB), shape)[1].predicted.peak_bytes
    least = decide(recipe, _card(1), shape)[1].predicted.peak_bytes
    budget = least + round((most - least) * dice.random() ** 2)
    return Case(
        config=config,
        work=_simulable(decide(recipe, _card(budget), shape)[1].work),
        chosen="planned",
    )


def _drawn(
    dice: random.Random, config: dict[str, Any], shape: ModelShape, method: dict[str, Any]
) -> Case:
    tokens, rows = _length(dice)
    full = method["type"] == "full"
    quantization = method.get("quantization", "nf4") if method["type"] == "qlora" else None
    work = Workload(
        method=method["type"],
        rank=method.get("rank", 0),
        dora=method.get("dora", False),
        quantization=quantization,
        tokens=tokens,
        rows=rows,
        weight_dtype=dice.choice(("float32", "bfloat16"))
        if full and not shape.experts
        else "bfloat16",
        attention="eager" if config["model_type"] == "gemma2" else "sdpa",
        accumulation_steps=dice.choice((1, 2)),
        loss_chunk_tokens=dice.choice((256, 512, 2048)),
        optimizer=dice.choice(("adamw", "adamw_8bit", "paged_adamw_8bit")),
        tile_tokens=dice.choice((1024, 2048, 4096)),
    )  # fmt: skip
    each, work = draw_techniques(dice, shape, work)
    return Case(config=config, work=_simulable(each.applied(work)), chosen="drawn")


def draw_techniques(
    dice: random.Random, shape: ModelShape, work: Workload
) -> tuple[Techniques, Workload]:
    """Techniques that a recipe may ask for, and the work with as many micro-batches as they allow."""
    while True:
        each = Techniques(
            gradient_checkpointing=dice.random() < 0.8,
            frugal=dice.random() < 0.6,
            checkpoint_place=dice.choice(("device", "host")),
            base_place=dice.choice(("device", "host")),
            embeddings_place=dice.choice(("device", "host")),
            head_form=dice.choice(("device", "host")),
            states_place=dice.choice(("device", "host")),
            fused_step=work.is_full and dice.random() < 0.4,
        )
        if _is_sound(each, shape, work):
            break
    return each, replace(work, accumulation_steps=1) if each.fused_step else work


def _is_sound(each: Techniques, shape: ModelShape, work: Workload) -> bool:
    """Whether a set of techniques is one that a recipe may ask for."""
    ends = each.embeddings_place == "host", each.head_form == "host"
    if any(ends) and not has_frozen_tables(work):
        return False
    if shape.tied and ends[0] != ends[1]:
        return False
    if each.base_place == "host" and shape.experts:
        return False
    if work.method == "full" and each.base_place == "host":
        return (
            each.fused_step
            and each.states_place == "host"
            and each.is_possible
            and can_be_fused(work)
        )
    return each.is_possible


def _simulable(work: Workload) -> Workload:
    """The same where files are host memory."""
    if work.checkpoint_place == "disk":
        work = replace(work, checkpoint_place="host")
    return replace(work, base_place="host") if work.base_place == "disk" else work


def _card(budget: int) -> Any:
    return machine(card=None, vram_bytes=budget, ram_bytes=1000 * GIB, cpu_count=8)


def is_whole(case: Case) -> bool:
    """Whether its layers are computed for all tokens at one time and hold no experts."""
    return not case.work.frugal and not ModelShape.from_config(case.config).experts


def compare(case: Case) -> Compared:
    """Compute and simulate a case."""
    from transformers import AutoConfig

    predicted = predict(ModelShape.from_config(case.config), case.work)
    found = simulate(AutoConfig.for_model(**case.config), case.work, samples=case.samples)
    items = predicted.items
    return Compared(
        computed=predicted.tensor_bytes,
        simulated=found.peak,
        items={**items, "step": predicted.step_bytes, "simulated resident": found.resident},
        peak_at=found.peak_at,
        largest=found.largest,
    )


def _seeds(text: str) -> list[int]:
    """The seeds that a text such as `3,7-9` names, in its order."""
    ends = [list(map(int, part.split("-"))) for part in text.split(",")]
    return [seed for each in ends for seed in range(each[0], each[-1] + 1)]


def main() -> None:
    """Print a line for each seed; of those that are further apart than asked what made them so."""
    from benchmarks.dense_cases import draw_dense
    from benchmarks.long_cases import draw_long
    from benchmarks.mixed_cases import draw_mixed
    from benchmarks.wide_cases import draw_wide

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_cases")
    parser.add_argument("--seeds", default="0-20", help="such as 3,7-9: both ends are in")
    parser.add_argument("--apart", type=float, default=0.03, help="explain what is further apart")
    parser.add_argument("--whole", action="store_true", help="whole layers without experts alone")
    parser.add_argument("--wide", action="store_true", help="edges (`benchmarks.wide_cases`)")
    parser.add_argument(
        "--mixed", action="store_true", help="mixtures, heads, tables (`benchmarks.mixed_cases`)"
    )
    parser.add_argument(
        "--dense",
        action="store_true",
        help="blocks without a gate, LayerNorm (`benchmarks.dense_cases`)",
    )
    parser.add_argument("--long", action="store_true", help="long rows (`benchmarks.long_cases`)")
    options = parser.parse_args()
    switches = {"mixed": draw_mixed, "wide": draw_wide, "dense": draw_dense, "long": draw_long}
    draw_one = next((each for name, each in switches.items() if getattr(options, name)), draw)
    for seed in _seeds(options.seeds):
        case = draw_one(seed)
        if options.whole and not is_whole(case):
            continue
        found = compare(case)
        print(
            f"{seed:4} {found.apart:+6.1%} simulated {found.simulated / GIB:6.3f} GiB  {case.label}",
            flush=True,
        )
        if abs(found.apart) > options.apart:
            print(
                "     computed:",
                {name: f"{size / 2**20:.0f}" for name, size in found.items.items() if size},
            )
            print("     peak at", found.peak_at)
            for name, size in list(found.largest.items())[:14]:
                print(f"       {size / 2**20:9.1f} {name}")


if __name__ == "__main__":
    main()
