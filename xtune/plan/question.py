"""What a recipe asks of a machine before memory is looked at: formats, limits, and the workloads that it allows, best first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil
from typing import Any

from xtune.errors import Problem, RecipeError
from xtune.hardware import Hardware, Launch
from xtune.memory import ModelShape, Workload
from xtune.memory.families import HEADS
from xtune.plan.checks import check_machine, check_model, end_problems, fused_problem
from xtune.plan.fit import Fit, Limits, budget_bytes, fit, longest
from xtune.plan.names import name_problems
from xtune.plan.precision import Precision, decide_attention, decide_precision, has_flash
from xtune.plan.room import kept_checkpoints
from xtune.plan.techniques import can_be_fused, has_frozen_tables
from xtune.plan.types import Choice
from xtune.recipe import LowRank, QLoRA, Recipe

ASKED = "asked for in the recipe"

ONE_PROCESS = Launch()


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is decided without looking at memory, and what memory is to decide."""

    formats: Precision
    attention: Choice[str]
    packing: Choice[bool]
    works: tuple[Workload, ...]
    """Those that the recipe allows, best first."""

    limits: Limits


def ask(
    recipe: Recipe,
    hardware: Hardware,
    shape: ModelShape,
    launch: Launch = ONE_PROCESS,
    *,
    narrower: bool = True,
) -> Question:
    """Look at everything but memory.

    Without `narrower` the weights of a full fine-tune are not held in 16 bits where 32 do not fit.

    Raises:
        RecipeError: The recipe asks for what the machine cannot do; all problems together.
    """
    problems: list[Problem] = []
    formats = decide_precision(recipe, hardware, problems)
    attention = decide_attention(recipe, hardware, shape, formats.compute.value, problems)
    problems += [*check_machine(recipe, hardware, launch), *check_model(recipe, shape)]
    problems += name_problems(recipe, shape)
    if problems:
        raise RecipeError(problems)
    packing = _packing(recipe)
    work = replace(
        _method_workload(recipe, shape),
        tokens=recipe.data.max_tokens,
        weight_dtype=formats.weight.value,
        compute_dtype=formats.compute.value,
        packing=packing.value,
        attention=attention.value,
        flash=has_flash(hardware, shape, formats.compute.value),
        device=hardware.device,
        world_size=launch.world_size,
        subspace_rank=recipe.train.subspace_rank,
        clipped=recipe.train.max_grad_norm is not None,
    )
    apart = list(end_problems(recipe, frozen=has_frozen_tables(work), tied=shape.tied))
    if apart and recipe.method.type != "full":  # a full fine-tune's recipe says it itself
        raise RecipeError(apart)
    setting = "memory.base` is host" if _trains_on_host(recipe) else "memory.fused_step` is on"
    fused = recipe.memory.fused_step is True or _trains_on_host(recipe)
    if fused and not can_be_fused(work):
        raise RecipeError([fused_problem(work, setting)])
    return Question(
        formats=formats,
        attention=attention,
        packing=packing,
        works=tuple(_candidates(recipe, hardware, work, narrower=narrower)),
        limits=_limits(recipe, hardware, launch),
    )


@dataclass(frozen=True)
class _Written:
    """A recipe as a key: by its text, for a recipe cannot be hashed."""

    text: str
    recipe: Recipe = field(compare=False)


def planned(recipe: Recipe, hardware: Hardware, shape: ModelShape, launch: Launch) -> Fit:
    """What is planned, whether it fits or not.

    Raises:
        RecipeError: As in `ask`.
    """
    return searched(recipe, hardware, shape, launch)[1]


def searched(
    recipe: Recipe,
    hardware: Hardware,
    shape: ModelShape,
    launch: Launch = ONE_PROCESS,
    *,
    narrower: bool = True,
) -> tuple[Question, Fit]:
    """The question and what is planned, whether it fits or not; remembered, for advice on one method is the plan of another.

    Raises:
        RecipeError: As in `ask`.
    """
    written = _Written(recipe.model_dump_json(), recipe)
    return _searched(written, hardware, shape, launch, narrower)


@lru_cache(maxsize=64)
def _searched(
    written: _Written, hardware: Hardware, shape: ModelShape, launch: Launch, narrower: bool
) -> tuple[Question, Fit]:
    question = ask(written.recipe, hardware, shape, launch, narrower=narrower)
    return question, fit(shape, question.works, question.limits)


def longest_tokens(
    recipe: Recipe,
    hardware: Hardware,
    shape: ModelShape,
    launch: Launch = ONE_PROCESS,
    *,
    step: int,
    most: int,
) -> int:
    """The longest sequence, a multiple of `step` up to `most`, at which the recipe fits, all else as asked; 0: none.

    Raises:
        RecipeError: As in `ask`.
    """
    written = _Written(recipe.model_dump_json(), recipe)
    return _longest(written, hardware, shape, launch, (step, most))


@lru_cache(maxsize=64)
def _longest(
    written: _Written,
    hardware: Hardware,
    shape: ModelShape,
    launch: Launch,
    within: tuple[int, int],
) -> int:
    asked = ask(written.recipe, hardware, shape, launch)
    return longest(shape, asked.works, asked.limits, step=within[0], most=within[1])


def _method_workload(recipe: Recipe, shape: ModelShape) -> Workload:
    method = recipe.method
    work = Workload(method=method.type, tokens=recipe.data.max_tokens)
    if not isinstance(method, LowRank):
        return work
    work = replace(
        work,
        rank=method.rank,
        targets=_targets(method, shape),
        dora=method.dora,
        dropout=method.dropout > 0,
        init=method.init,
        saved=method.modules_to_save,
        new_tokens=len(method.new_tokens),
    )
    if isinstance(method, QLoRA):
        double = method.double_quantization is not False and method.quantization != "int8"
        work = replace(work, quantization=method.quantization, double_quantization=double)
    return work


def _targets(method: LowRank, shape: ModelShape) -> tuple[str, ...]:
    """What adapters are counted beside: of a type whose names are not known every linear layer, where a target is none of Llama's."""
    known = {each.name for _, each in shape.linears} | HEADS
    names = {target.rpartition(".")[2] for target in method.targets}
    if shape.is_counted or shape.experts or names <= known:
        return method.targets
    return ("all-linear",)


def _limits(recipe: Recipe, hardware: Hardware, launch: Launch) -> Limits:
    share = ceil(recipe.train.batch_size / launch.world_size)
    rows, memory = recipe.train.micro_batch_size, recipe.memory
    return Limits(
        hardware=hardware,
        budget_bytes=budget_bytes(hardware, launch.world_size),
        share=share,
        rows=None if rows == "auto" else min(rows, share),
        asked=_asked(recipe),
        tile_tokens=None if memory.tile_tokens == "auto" else memory.tile_tokens,
        loss_chunk_tokens=None if memory.loss_chunk_tokens == "auto" else memory.loss_chunk_tokens,
        keep_checkpoints=kept_checkpoints(recipe.train),
    )


SETTINGS: Mapping[str, str] = {
    "gradient_checkpointing": "gradient_checkpointing",
    "frugal": "frugal_layers",
    "checkpoint_place": "checkpoints",
    "base_place": "base",
    "embeddings_place": "embeddings",
    "head_form": "head",
    "states_place": "optimizer_states",
    "fused_step": "fused_step",
}
"""Techniques and what they are called under `memory` in a recipe."""


def _asked(recipe: Recipe) -> dict[str, Any]:
    """The techniques that the recipe fixes; a compiled model's layers are left whole and where they are."""
    wanted = {name: getattr(recipe.memory, setting) for name, setting in SETTINGS.items()}
    if recipe.train.compile:
        whole = {"frugal": False, "checkpoint_place": "device", "base_place": "device"}
        wanted.update({name: value for name, value in whole.items() if wanted[name] == "auto"})
    if _trains_on_host(recipe):
        wanted.update(fused_step=True, states_place="host", gradient_checkpointing=True)
    return {name: value for name, value in wanted.items() if value != "auto"}


def _trains_on_host(recipe: Recipe) -> bool:
    """Whether layers shall be trained where they rest, which takes more with it."""
    return recipe.method.type == "full" and recipe.memory.base == "host"


def _candidates(
    recipe: Recipe, hardware: Hardware, work: Workload, *, narrower: bool
) -> Iterator[Workload]:
    """Weight dtypes and optimizers that the recipe allows, best first."""
    dtypes = [work.weight_dtype]
    is_auto_full = recipe.method.type == "full" and recipe.model.dtype == "auto"
    if narrower and is_auto_full and work.compute_dtype == "bfloat16":
        dtypes.append("bfloat16")
    optimizers = [recipe.train.optimizer]
    if recipe.train.optimizer == "auto":
        eight_bits = hardware.device == "cuda" and "bitsandbytes" in hardware.packages
        optimizers = ["adamw_8bit", "paged_adamw_8bit"] if eight_bits else ["adamw"]
        if recipe.method.type != "full" and eight_bits:
            optimizers.insert(0, "adamw")
    for dtype in dtypes:
        for optimizer in optimizers:
            yield replace(work, weight_dtype=dtype, optimizer=optimizer)


def _packing(recipe: Recipe) -> Choice[bool]:
    if recipe.data.packing != "auto":
        return Choice(recipe.data.packing, ASKED)
    if recipe.stage == "pretrain":
        return Choice(True, "texts fill whole sequences, isolated from one another")
    return Choice(False, "a step then holds as many conversations as `train.batch_size` says")
