"""What a recipe asks for and a machine or a model lacks: packages, devices, processes. Number formats are checked where they are decided."""

from collections.abc import Iterator

from xtune.errors import Problem
from xtune.hardware import Hardware, Launch
from xtune.memory import ModelShape, Workload
from xtune.recipe import QLoRA, Recipe
from xtune.recipe.method import LowRank
from xtune.recipe.models import SUBSPACE_OPTIMIZERS

WITH_OWN_ATTENTION = frozenset({"bloom", "codegen", "gpt_neo", "gptj", "mpt", "xglm"})
"""Model types whose code has an attention of its own (transformers 5.23), which `xtune.kernels` cannot run in parts."""

BITSANDBYTES_COMMAND = "pip install bitsandbytes"


def check_machine(recipe: Recipe, hardware: Hardware, launch: Launch) -> list[Problem]:
    """Everything that the recipe asks for and this machine cannot do."""
    return [
        *_split_problems(recipe, launch),
        *_bitsandbytes_problems(recipe, hardware),
        *_optimizer_problems(recipe, hardware),
        *_compile_problems(recipe),
        *_extra_problems(recipe, hardware),
    ]


def check_model(recipe: Recipe, shape: ModelShape) -> list[Problem]:
    """Everything that the recipe asks for and a model of this shape cannot be given."""
    method = recipe.method
    if shape.model_type == "falcon" and isinstance(method, QLoRA):
        return [
            Problem(
                what="`method` is qlora, and the model is a `falcon`",
                allowed="its linear layers are of its own making, which transformers 5.23 does not quantise",
                advice="set `method: lora`",
            )
        ]
    problems = []
    if shape.model_type in WITH_OWN_ATTENTION and recipe.memory.frugal_layers is True:
        problems.append(
            Problem(
                what=f"`memory.frugal_layers` is true, and the model is a `{shape.model_type}`",
                allowed="its layers call no attention that could be taken out of them",
                advice="leave it out; `memory.gradient_checkpointing` computes them again as a whole",
            )
        )
    if not isinstance(method, LowRank) or not shape.experts:
        return problems
    advice = "or `method.targets` to [q_proj, k_proj, v_proj, o_proj]"
    if method.dora and "all-linear" in method.targets:
        problems.append(
            Problem(
                what=f"`method.dora` is true with `method.targets` all-linear on a mixture of {shape.experts} experts",
                allowed="PEFT 0.21 has no DoRA for experts, which are parameters and no linear layers",
                advice=f"set `method.dora` to false, {advice}",
            )
        )
    if method.dropout and shape.expert_lora_parameters(method.rank, method.targets):
        problems.append(
            Problem(
                what=f"`method.dropout` is {method.dropout:g} with `method.targets` that reach the {shape.experts} experts of a mixture",
                allowed="PEFT 0.21 has no dropout for experts, which are parameters and no linear layers",
                advice=f"set `method.dropout` to 0, {advice}",
            )
        )
    return problems


def fused_problem(work: Workload, setting: str) -> Problem:
    """Why a step cannot be fused into the backward pass, which a setting wants."""
    if work.world_size > 1:
        return Problem(
            what=f"`{setting} with {work.world_size} processes",
            allowed="a gradient is stepped before the processes could add up theirs",
            advice="start one process, or leave the setting out",
        )
    return Problem(
        what=f"`{setting} with {work.compute_dtype} arithmetic",
        allowed="its gradients are scaled, and whether they overflowed is known only when all are there",
        advice="set `model.dtype` to float32, or leave the setting out",
    )


def end_problems(recipe: Recipe, *, frozen: bool, tied: bool) -> Iterator[Problem]:
    """Why embedding table and head cannot be put aside as the recipe asks.

    Args:
        recipe: What is asked.
        frozen: Whether neither of them is trained.
        tied: Whether they are one matrix.
    """
    asked = {"memory.embeddings": recipe.memory.embeddings, "memory.head": recipe.memory.head}
    aside = {name: place for name, place in asked.items() if place not in {"auto", "device"}}
    what = " and ".join(f"`{name}` is {place}" for name, place in aside.items())
    if aside and not frozen:
        yield Problem(
            what=what,
            allowed="the recipe trains embedding or head (`method.new_tokens`, `method.modules_to_save`, `method.targets`), which "
            "must be frozen for it",
            advice="set both to device, or leave them untrained",
        )
    if tied and len(aside) == 1 and "device" in asked.values():
        yield Problem(
            what=what,
            allowed="embedding and head of this model are one matrix, so that one of them alone saves nothing",
            advice="leave the other one out",
        )


def _split_problems(recipe: Recipe, launch: Launch) -> Iterator[Problem]:
    batch_size = recipe.train.batch_size
    if batch_size < launch.world_size:
        yield Problem(
            what=f"`train.batch_size` is {batch_size} with {launch.world_size} processes",
            allowed="every process needs at least one sequence of each step",
            advice=f"set `train.batch_size` to {launch.world_size} or more, or start fewer processes",
        )


def _bitsandbytes_problems(recipe: Recipe, hardware: Hardware) -> Iterator[Problem]:
    if "bitsandbytes" in hardware.packages:
        return
    optimizer = recipe.train.optimizer
    if isinstance(recipe.method, QLoRA):
        yield Problem(
            what="`method` is qlora, and the package `bitsandbytes` is not installed",
            advice=f"install it: {BITSANDBYTES_COMMAND}",
        )
    if optimizer.endswith("8bit") or optimizer.startswith("paged"):
        yield Problem(
            what=f"`train.optimizer` is {optimizer}, and the package `bitsandbytes` is not installed",
            advice=f"install it: {BITSANDBYTES_COMMAND}, or set `train.optimizer` to adamw",
        )


def _optimizer_problems(recipe: Recipe, hardware: Hardware) -> Iterator[Problem]:
    optimizer = recipe.train.optimizer
    comes_from_bitsandbytes = optimizer.endswith("8bit") or optimizer.startswith("paged")
    if hardware.device == "mps" and comes_from_bitsandbytes:
        yield Problem(
            what=f"`train.optimizer` is {optimizer} on mps",
            allowed="bitsandbytes 0.50 has no optimizers for Metal",
            advice="set `train.optimizer` to auto",
        )
    is_int8 = isinstance(recipe.method, QLoRA) and recipe.method.quantization == "int8"
    if hardware.device == "mps" and is_int8:
        yield Problem(
            what="`method.quantization` is int8 on mps",
            allowed="bitsandbytes 0.50 has 4-bit kernels only for Metal",
            advice="set `method.quantization` to nf4",
        )


def _compile_problems(recipe: Recipe) -> Iterator[Problem]:
    is_int8 = isinstance(recipe.method, QLoRA) and recipe.method.quantization == "int8"
    if recipe.train.compile and is_int8 and recipe.memory.gradient_checkpointing is not False:
        yield Problem(
            what="`train.compile` is true with `method.quantization` int8",
            allowed="bitsandbytes' int8 layers keep what they read, which nothing takes from compiled layers that are computed again",
            advice="set `train.compile` to false, `method.quantization` to nf4, or `memory.gradient_checkpointing` to false",
        )


def _extra_problems(recipe: Recipe, hardware: Hardware) -> Iterator[Problem]:
    wanted: dict[str, str] = {f"`run.trackers` names {name}": name for name in recipe.run.trackers}
    if recipe.model.hub == "modelscope":
        wanted["`model.hub` is modelscope"] = "modelscope"
    if (
        recipe.train.optimizer in SUBSPACE_OPTIMIZERS
        and "pytorch_optimizer" not in hardware.packages
    ):
        extra = recipe.train.optimizer.removesuffix("_adamw")
        yield Problem(
            what=f"`train.optimizer` is {recipe.train.optimizer}, and the package `pytorch-optimizer` is not installed",
            advice=f"install it: pip install 'xtune[{extra}]'",
        )
    for what, package in wanted.items():
        if package not in hardware.packages:
            yield Problem(
                what=f"{what}, and the package `{package}` is not installed",
                advice=f"install it: pip install 'xtune[{package}]'",
            )
