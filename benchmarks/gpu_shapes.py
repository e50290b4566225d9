"""The sizes of the benchmark's models, and the recipe and plan of a cell on the machine that runs it. Loads nothing."""

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.goals import CARD_BYTES, MORE_CONFIGS
from benchmarks.gpu_cells import Cell
from benchmarks.simulation import CONFIGS
from xtune.hardware import Hardware, installed_packages
from xtune.memory import ModelShape, Prediction
from xtune.plan import Plan
from xtune.plan.cards import machine
from xtune.plan.further import MEMORY_CHOICES
from xtune.plan.resolve import decide
from xtune.recipe import Recipe

TINY: dict[str, int] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
"""Sizes at which every cell runs anywhere in a second; the model's kind stays what it is."""

TINY_TOKENS = 48
TINY_TILE = 16

LEARNING_RATES = {"full": 2e-4, "lora": 2e-3, "qlora": 2e-3}
"""High, so that one step on a repeated sequence tells."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A cell as it is run here: at its own sizes, at fewer layers, or tiny."""

    cell: Cell
    device: str
    """"cuda" or "cpu"."""

    tiny: bool

    @property
    def tokens(self) -> int:
        """Of the sequence."""
        return min(self.cell.tokens, TINY_TOKENS) if self.tiny else self.cell.tokens

    def fields(self, *, whole: bool = False) -> dict[str, Any]:
        """The config.json of the model that is run; `whole`: of the published one."""
        name = self.cell.model
        found = dict(MORE_CONFIGS.get(name) or CONFIGS[name])
        if whole:
            return found
        if self.cell.layers is not None:
            found["num_hidden_layers"] = self.cell.layers
        return {**found, **TINY} if self.tiny else found

    def method(self) -> dict[str, Any]:
        """As in a recipe."""
        cell = self.cell
        if not cell.rank:
            return {"type": "full"}
        return {
            "type": "qlora" if cell.quantized else "lora",
            "rank": 4 if self.tiny else cell.rank,
        }


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What xtune decided for a cell."""

    plan: Plan
    """Of what is run."""

    predicted: Prediction
    """The same; computed bytes."""

    whole: Prediction
    """Computed for the published depth."""


def planned(task: Task, *, vram_bytes: int) -> Planned:
    """Plan a cell for its card at the published sizes, and what is run with the same techniques.

    Args:
        task: The cell, and how it is run.
        vram_bytes: Of the device that runs it, for cells without a limit.
    """
    card = machine(
        card=None,
        vram_bytes=CARD_BYTES if task.cell.capped else vram_bytes,
        ram_bytes=task.cell.host_bytes,
        cpu_count=8,
    )
    asked = _recipe(task, task.cell.memory, whole=True)
    whole, found, _ = decide(asked, card, ModelShape.from_config(task.fields(whole=True)))
    memory = {name: whole.choices()[name].value for name in MEMORY_CHOICES}
    memory["tile_tokens"] = memory["tile_tokens"] or "auto"
    if task.tiny:
        memory["loss_chunk_tokens"] = TINY_TILE
        memory["tile_tokens"] = TINY_TILE if memory["tile_tokens"] != "auto" else "auto"
    recipe = _recipe(task, memory, whole=False)
    train = recipe.train.model_copy(update={"optimizer": whole.optimizer.value})
    # a full fine-tune whose float32 weights do not fit has them in 16 bits; so has its shallow twin
    dtype = whole.weight_dtype.value if task.cell.rank == 0 else recipe.model.dtype
    model = recipe.model.model_copy(update={"dtype": dtype})
    recipe = recipe.model_copy(update={"train": train, "model": model})
    here = card if task.device == "cuda" else _this_cpu(card)
    shape = ModelShape.from_config(task.fields())
    plan, run, _ = decide(recipe, here, shape, narrower=False)
    return Planned(plan=plan, predicted=run.predicted, whole=found.predicted)


def _this_cpu(card: Hardware) -> Hardware:
    """A processor with bfloat16, so that types are those of a GPU."""
    return replace(
        card,
        device="cpu",
        vram_bytes=0,
        compute_capability=None,
        packages=installed_packages(),
    )


def _recipe(task: Task, memory: Any, *, whole: bool) -> Recipe:
    cell, method = task.cell, task.method()
    tokens = cell.tokens if whole else task.tokens
    if whole and cell.rank:
        method["rank"] = cell.rank
    return Recipe.model_validate(
        {
            "model": {"name": cell.model},
            "method": method,
            "data": {"train": "rows.jsonl", "max_tokens": tokens},
            "train": {
                "learning_rate": LEARNING_RATES[method["type"]],
                "batch_size": 1,
                **_train(task, whole=whole),
            },
            "memory": dict(memory),
        }
    )


def _train(task: Task, *, whole: bool) -> dict[str, Any]:
    settings = dict(task.cell.train)
    subspace = settings.get("optimizer") in {"galore_adamw", "apollo_adamw"}
    if subspace and task.tiny and not whole:
        settings["subspace_rank"] = 4
    return settings
