"""What to do when memory ran out in spite of a plan: the next plan that needs less, all else as it was."""

from dataclasses import replace
from typing import Any

from xtune.errors import HardwareError
from xtune.hardware import Hardware, Launch
from xtune.memory import GIB, ModelShape
from xtune.plan.advice import cheapest_change
from xtune.plan.fit import budget_bytes
from xtune.plan.question import planned
from xtune.plan.resolve import decide
from xtune.plan.types import Plan, as_text
from xtune.recipe import Recipe

LESS = 0.9
"""The next plan's computed peak is at most this part of the one that did not hold; ours. Less where the allocator was seen
to hold more than it could use."""

MEMORY_CHOICES = (
    "gradient_checkpointing",
    "frugal_layers",
    "tile_tokens",
    "checkpoints",
    "base",
    "embeddings",
    "head",
    "optimizer_states",
    "fused_step",
    "loss_chunk_tokens",
)
"""Choices that are settings of `memory` in a recipe, too."""

STEP_CHOICES = ("micro_batch_size", "accumulation_steps", *MEMORY_CHOICES)
"""Choices that may be made anew in the middle of a run: the weights and the optimizer's states stay what they are."""


def further_down(
    plan: Plan, hardware: Hardware, shape: ModelShape, launch: Launch, *, usable: float = 1.0
) -> Plan:
    """The fastest plan that needs at least a tenth less than this one.

    Args:
        plan: The plan with which memory ran out.
        hardware: The machine, as when the run began.
        shape: The model.
        launch: The processes.
        usable: Part of the memory that the allocator held at most which was in use: the rest was lost between blocks.

    Raises:
        HardwareError: Nothing that the recipe leaves open takes so much less.
    """
    _, running, _ = decide(_fixed(plan), hardware, shape, launch=launch, narrower=False)
    peak = running.predicted.peak_bytes
    budget = int(min(LESS, usable) * min(peak, budget_bytes(hardware, launch.world_size)))
    train = plan.recipe.train.model_copy(update={"optimizer": plan.optimizer.value})
    recipe = plan.recipe.model_copy(update={"train": train})
    less = _with_memory(hardware, budget, launch)
    smaller, found, _ = decide(recipe, less, shape, launch=launch, narrower=False)
    if not found.fits:
        raise HardwareError(
            f"Memory ran out with a computed peak of {peak / GIB:.2f} GiB, and nothing that the recipe leaves open takes "
            "a tenth less.",
            advice=_way_out(plan, recipe, less, shape, launch),
        )
    chosen: dict[str, Any] = {name: getattr(smaller, name) for name in STEP_CHOICES}
    return replace(plan, predicted=smaller.predicted, **chosen)


def _way_out(plan: Plan, recipe: Recipe, less: Hardware, shape: ModelShape, launch: Launch) -> str:
    """The cheapest change with which a new run would need as little: of what this one may not decide anew, first.

    Args:
        plan: The plan with which memory ran out.
        recipe: Its recipe, with the optimizer of the plan.
        less: The machine with the memory that may be used.
        shape: The model.
        launch: The processes.
    """
    anew = planned(plan.recipe, less, shape, launch)
    if anew.fits and anew.work.optimizer != plan.optimizer.value:
        return f"Start a new run with `train.optimizer={anew.work.optimizer}`."
    if anew.fits and anew.work.weight_dtype != plan.weight_dtype.value:
        return f"Start a new run with `model.dtype={anew.work.weight_dtype}`."
    return cheapest_change(recipe, less, shape, launch)


def changes(before: Plan, after: Plan) -> list[str]:
    """What is done otherwise, for people: "gradient_checkpointing on"."""
    old, new = before.choices(), after.choices()
    return [
        f"{name} {as_text(new[name].value)}"
        for name in STEP_CHOICES
        if old[name].value != new[name].value
    ]


def _fixed(plan: Plan) -> Recipe:
    """The recipe with everything asked for that the plan decided about memory."""
    memory: dict[str, Any] = {name: getattr(plan, name).value for name in MEMORY_CHOICES}
    memory["tile_tokens"] = memory["tile_tokens"] or "auto"
    recipe = plan.recipe
    train = {"optimizer": plan.optimizer.value, "micro_batch_size": plan.micro_batch_size.value}
    return recipe.model_copy(
        update={
            "memory": recipe.memory.model_copy(update=memory),
            "train": recipe.train.model_copy(update=train),
        }
    )


def _with_memory(hardware: Hardware, budget: int, launch: Launch) -> Hardware:
    """The machine with so much memory for a process."""
    if hardware.device == "cpu":
        return replace(hardware, ram_bytes=budget * launch.world_size)
    return replace(hardware, vram_bytes=budget, vram_free_bytes=None)
