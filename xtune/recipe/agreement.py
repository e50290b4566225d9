"""Which settings of a recipe exclude each other, and what to do about it.

A rule is a pair: whether it is broken, and its problem, which begins with the setting that is reported as
the culprit. Rules inside one section are validators of that section.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from xtune.recipe.training import SUBSPACE_OPTIMIZERS

if TYPE_CHECKING:
    from xtune.recipe.models import Recipe

Rule = tuple[bool, str]
_AWAY = {"host", "disk"}


def disagreements(recipe: "Recipe") -> Iterator[str]:
    """The problem of every rule that is broken, in the order of the recipe's sections."""
    rules = chain(
        _of_sources(recipe),
        _of_held_out_rows(recipe),
        _of_optimizers(recipe),
        _of_layers_run_again(recipe),
        _of_frozen_parts(recipe),
        _of_steps_in_the_backward_pass(recipe),
    )
    return (problem for broken, problem in rules if broken)


def _of_sources(recipe: "Recipe") -> Iterator[Rule]:
    data, train = recipe.data, recipe.train
    weighted = [source.weight is not None for source in data.train]
    yield (
        any(weighted) and not all(weighted),
        "`data.train` gives some sources a weight and others none; give every source one",
    )
    yield (
        data.call_end_token is not None and data.end_token is None,
        "`data.call_end_token` is set without `data.end_token`; set what ends other answers too",
    )
    if not data.streaming:
        return
    yield (
        train.max_steps is None,
        "`data.streaming` does not know how long an epoch is; set `train.max_steps`",
    )
    yield (
        isinstance(data.evaluate, float) and data.evaluate > 0,
        "`data.streaming` cannot split off a fraction to evaluate on; name files in `data.evaluate`",
    )
    yield (
        train.epochs is not None,
        "`train.epochs` is not known when `data.streaming` is on; remove it, `train.max_steps` says how long",
    )
    yield (
        data.max_rows is not None and len(weighted) > 1,
        "`data.max_rows` cannot span several sources when `data.streaming` is on; give each source its own `max_rows`",
    )


def _of_held_out_rows(recipe: "Recipe") -> Iterator[Rule]:
    train, held_out = recipe.train, recipe.data.evaluate not in {None, 0.0}
    stops_early = train.early_stop_patience is not None
    yield (
        stops_early and not held_out,
        "`train.early_stop_patience` needs held-out rows; set `data.evaluate`",
    )
    yield (
        stops_early and train.evaluate_every is None,
        "`train.early_stop_patience` needs repeated evaluation; set `train.evaluate_every`",
    )
    yield (
        train.finish_with == "best" and not held_out,
        "`train.finish_with: best` needs held-out rows; set `data.evaluate`",
    )


def _of_optimizers(recipe: "Recipe") -> Iterator[Rule]:
    train, adapter = recipe.train, recipe.method.type != "full"
    yield (
        train.matrix_learning_rate is not None and train.optimizer != "muon",
        "`train.matrix_learning_rate` is for `train.optimizer: muon` alone; remove it",
    )
    yield (
        train.optimizer == "muon" and adapter,
        "`train.optimizer: muon` is for `method: full` alone; low-rank factors want `adamw`",
    )
    yield (
        train.optimizer in SUBSPACE_OPTIMIZERS and adapter,
        f"`train.optimizer: {train.optimizer}` is for `method: full` alone; an adapter's states are small already",
    )
    yield (
        train.subspace_rank is not None and train.optimizer not in SUBSPACE_OPTIMIZERS,
        "`train.subspace_rank` is for `train.optimizer: galore_adamw` and `apollo_adamw` alone; remove it",
    )


def _of_layers_run_again(recipe: "Recipe") -> Iterator[Rule]:
    memory = recipe.memory
    kept = memory.gradient_checkpointing is False
    yield (
        memory.frugal_layers is True and kept,
        "`memory.frugal_layers` always computes layers again; remove `memory.gradient_checkpointing: false`",
    )
    yield (
        memory.tile_tokens != "auto" and (memory.frugal_layers is False or kept),
        "`memory.tile_tokens` is for frugal layers, which these settings rule out; remove it",
    )
    yield (
        memory.checkpoints in _AWAY and kept,
        "`memory.checkpoints` is for layers that are computed again; remove `memory.gradient_checkpointing: false`",
    )
    yield (
        memory.base in _AWAY and kept,
        "`memory.base` brings layers in for the backward pass again; remove `memory.gradient_checkpointing: false`",
    )
    yield (
        recipe.train.compile
        and (
            memory.frugal_layers is True
            or memory.tile_tokens != "auto"
            or memory.checkpoints in _AWAY
            or memory.base in _AWAY
        ),
        "`train.compile` compiles whole layers; remove it, or `memory.frugal_layers`, `memory.tile_tokens`, `memory.checkpoints` and "
        "`memory.base`",
    )


def _of_frozen_parts(recipe: "Recipe") -> Iterator[Rule]:
    memory = recipe.memory
    if recipe.method.type != "full":
        return
    yield (
        memory.base == "disk",
        "`memory.base: disk` is for a frozen base; take `host`",
    )
    yield (
        memory.head in {"host", "nf4", "int8"},
        f"`memory.head: {memory.head}` is for a frozen head, and `method: full` trains it; remove it",
    )
    yield (
        memory.embeddings == "host",
        "`memory.embeddings: host` is for a frozen table, and `method: full` trains it; remove it",
    )


def _of_steps_in_the_backward_pass(recipe: "Recipe") -> Iterator[Rule]:
    memory, train = recipe.memory, recipe.train
    full = recipe.method.type == "full"
    layers_on_host = full and memory.base == "host"
    yield (
        memory.fused_step is True and not full,
        "`memory.fused_step` is for `method: full` alone; an adapter's gradients are small",
    )
    yield (
        (memory.fused_step is True or layers_on_host)
        and train.micro_batch_size != "auto"
        and train.micro_batch_size < train.batch_size,
        f"`{'memory.base: host' if layers_on_host else 'memory.fused_step'}` steps in the backward pass, so one pass holds the whole batch; set `train.micro_batch_size` to auto, or `train.batch_size` to the same",
    )
    yield (
        layers_on_host and (memory.fused_step is False or memory.optimizer_states == "device"),
        "`memory.base: host` steps trained layers where they are; remove `memory.fused_step` and `memory.optimizer_states`",
    )
