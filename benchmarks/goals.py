"""What fits in 8 GB: the planner's own plan for each model and length, its computed bytes, and those of a simulated step.

    python -m benchmarks.goals [--only llama-3.1-8b]

Each row is planned for a card of 8 GiB with the host memory beside it, one sequence a step, and then simulated with what the
plan chose (`benchmarks.simulation`). A row holds if the simulated bytes leave 0.8 GiB for context and reserve. Nothing here
is measured.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xtune.memory import GIB, ModelShape
from xtune.plan.cards import machine
from xtune.plan.resolve import decide
from xtune.recipe import Recipe

CARD_BYTES = 8 * GIB
LEFT_BYTES = round(0.8 * GIB)
"""For the CUDA context and what the allocator holds without using it."""

MORE_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "qwen2.5-32b": {
        "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 5120, "intermediate_size": 27648,
        "num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads": 8, "tie_word_embeddings": False,
    },
    "llama-3.3-70b": {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    },
    "llama-3.2-1b": {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": True,
    },
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A model, a length, and what is there for it."""

    model: str
    tokens: int
    ram_bytes: int
    rank: int = 0
    """0: everything is trained."""

    base: str = "auto"

    @property
    def label(self) -> str:
        """For people."""
        how = f"QLoRA r={self.rank}" if self.rank else "full"
        where = {"auto": "", "device": ", base resident"}[self.base]
        return (
            f"{self.model} {how}{where}, {self.tokens:,} tokens, {self.ram_bytes / 1e9:.0f} GB host"
        )

    def config(self) -> dict[str, Any]:
        """The model's config.json."""
        if self.model in MORE_CONFIGS:
            return dict(MORE_CONFIGS[self.model])
        # with torch behind it, which `benchmarks.gpu` keeps out of its own process
        from benchmarks.simulation import CONFIGS

        return dict(CONFIGS[self.model])

    def recipe(self) -> Recipe:
        """What would be asked of xtune."""
        method = {"type": "qlora", "rank": self.rank} if self.rank else {"type": "full"}
        return Recipe.model_validate(
            {
                "model": {"name": self.model},
                "method": method,
                "data": {"train": "rows.jsonl", "max_tokens": self.tokens},
                "train": {"learning_rate": 1e-4, "batch_size": 1},
                "memory": {"base": self.base},
            }
        )


GOALS = (
    Goal(model="llama-2-7b", rank=16, tokens=65536, ram_bytes=32 * 10**9, base="device"),
    Goal(model="llama-3.1-8b", rank=32, tokens=65536, ram_bytes=32 * 10**9, base="device"),
    Goal(model="llama-3.1-8b", rank=32, tokens=131072, ram_bytes=64 * 10**9),
    Goal(model="qwen3-8b", rank=32, tokens=65536, ram_bytes=32 * 10**9, base="device"),
    Goal(model="qwen2.5-32b", rank=16, tokens=32768, ram_bytes=64 * 10**9),
    Goal(model="llama-3.3-70b", rank=16, tokens=32768, ram_bytes=96 * 10**9),
    Goal(model="llama-3.3-70b", rank=16, tokens=4096, ram_bytes=32 * 10**9),
    Goal(model="llama-3.2-1b", tokens=8192, ram_bytes=32 * 10**9),
    Goal(model="llama-3.1-8b", tokens=4096, ram_bytes=64 * 10**9),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the planner and the simulation say; bytes."""

    fits: bool
    techniques: Mapping[str, Any]
    computed: int
    """Without context and reserve."""

    host: int
    simulated: int | None
    """None: not simulated."""

    @property
    def holds(self) -> bool:
        """Whether the plan fits, and its simulated step too."""
        return self.fits and (self.simulated or self.computed) + LEFT_BYTES <= CARD_BYTES


def judge(goal: Goal, *, simulate: bool = True) -> Outcome:
    """Plan a goal, and simulate what was planned."""
    from transformers import AutoConfig

    fields = goal.config()
    shape = ModelShape.from_config(fields)
    card = machine(card=None, vram_bytes=CARD_BYTES, ram_bytes=goal.ram_bytes, cpu_count=8)
    plan, found, _ = decide(goal.recipe(), card, shape)
    simulated = None
    if simulate:
        from benchmarks.simulation import at_depth

        simulated = at_depth(AutoConfig.for_model(**fields), found.work, shape.layers)
    names = (
        "frugal_layers",
        "checkpoints",
        "base",
        "embeddings",
        "head",
        "optimizer_states",
        "optimizer",
    )
    choices = plan.choices()
    return Outcome(
        fits=found.fits,
        techniques={name: choices[name].value for name in names},
        computed=found.predicted.tensor_bytes,
        host=found.host_bytes,
        simulated=simulated,
    )


def _lines(goal: Goal, outcome: Outcome) -> Iterator[str]:
    simulated = "not simulated"
    if outcome.simulated is not None:
        apart = outcome.computed / outcome.simulated - 1
        simulated = f"simulated {outcome.simulated / GIB:.2f} GiB ({apart:+.1%})"
    yield (
        f"{'holds' if outcome.holds else 'FAILS'}  {goal.label}: computed {outcome.computed / GIB:.2f} GiB, {simulated}, "
        f"host {outcome.host / GIB:.1f} GiB"
    )
    yield "       " + ", ".join(f"{name} {value}" for name, value in outcome.techniques.items())


def main() -> None:
    """Print a row for each goal."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.goals")
    parser.add_argument("--only", default="", help="models whose name begins so")
    options = parser.parse_args()
    for goal in GOALS:
        if goal.model.startswith(options.only):
            print(*_lines(goal, judge(goal)), sep="\n", flush=True)


if __name__ == "__main__":
    main()
