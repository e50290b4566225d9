"""Machines and model sizes written by hand, and recipes made from few words, for the tests of the plan."""

from typing import Any

from xtune.hardware import Hardware
from xtune.memory import GIB, ModelShape
from xtune.plan import Plan
from xtune.recipe import Recipe

LLAMA_7B_CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
LLAMA_7B = ModelShape.from_config(LLAMA_7B_CONFIG)
LLAMA_8B = ModelShape.from_config(
    {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    }
)
DEMO = ModelShape.from_config(
    {
        "model_type": "qwen3",
        "hidden_size": 256,
        "intermediate_size": 640,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 2048,
        "tie_word_embeddings": True,
    }
)
CPU = Hardware(
    device="cpu",
    name="test CPU",
    vram_bytes=0,
    ram_bytes=24 * GIB,
    cpu_count=2,
    packages=frozenset({"bitsandbytes"}),
)
OLD_CPU = Hardware(
    device="cpu",
    name="old CPU",
    vram_bytes=0,
    ram_bytes=8 * GIB,
    cpu_count=2,
    has_bfloat16=False,
    packages=frozenset({"bitsandbytes"}),
)


def gpu(gib: float, capability: tuple[int, int] = (8, 6), *packages: str) -> Hardware:
    return Hardware(
        device="cuda",
        name="test GPU",
        vram_bytes=int(gib * GIB),
        ram_bytes=32 * GIB,
        cpu_count=8,
        compute_capability=capability,
        has_bfloat16=capability >= (8, 0),
        packages=frozenset(packages or ("bitsandbytes",)),
    )


TURING = gpu(16, (7, 5))
MAC = Hardware(
    device="mps",
    name="test Mac",
    vram_bytes=16 * GIB,
    ram_bytes=24 * GIB,
    cpu_count=8,
    packages=frozenset({"bitsandbytes"}),
)


def make_recipe(method: Any = "lora", **parts: Any) -> Recipe:
    """A recipe with the few fields it must have, and `section__field=value` on top."""
    fields: dict[str, Any] = {
        "model": {"name": "some/model"},
        "method": method,
        "data": {"train": "rows.jsonl"},
        "train": {"learning_rate": 1e-4},
    }
    for name, value in parts.items():
        section, _, field = name.partition("__")
        if field:
            fields.setdefault(section, {})[field] = value
        else:
            fields[section] = value
    return Recipe.model_validate(fields)


def values(plan: Plan) -> dict[str, Any]:
    return {name: choice.value for name, choice in plan.choices().items()}
