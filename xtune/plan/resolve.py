"""`resolve`: every question that a recipe leaves open is answered, with a reason; nothing is loaded or run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from xtune.hardware import Hardware, Launch
from xtune.memory import GIB, ModelShape, checkpoint_bytes
from xtune.plan.advice import require_fit
from xtune.plan.fit import SMALL_TILE_TOKENS, Fit, Limits
from xtune.plan.precision import follow
from xtune.plan.question import ASKED, ONE_PROCESS, SETTINGS, searched
from xtune.plan.types import Choice, Plan
from xtune.recipe import LowRank, QLoRA, Recipe

NEAREST = "as in the plan that comes nearest to fitting"


def resolve(
    recipe: Recipe,
    hardware: Hardware,
    shape: ModelShape,
    *,
    launch: Launch = ONE_PROCESS,
    recipe_name: str = "run",
) -> Plan:
    """Decide everything that the recipe leaves open for this machine and this model.

    Raises:
        RecipeError: The recipe asks for what this machine cannot do; all problems together.
        HardwareError: The computed memory exceeds the device's; with the cheapest way out.
    """
    plan, found, limits = decide(recipe, hardware, shape, launch=launch, recipe_name=recipe_name)
    require_fit(recipe, hardware, shape, launch, (found, limits))
    return plan


def decide(
    recipe: Recipe,
    hardware: Hardware,
    shape: ModelShape,
    *,
    launch: Launch = ONE_PROCESS,
    recipe_name: str = "run",
    narrower: bool = True,
) -> tuple[Plan, Fit, Limits]:
    """The same, whether it fits or not: the plan, what it was decided by, and the limits it was held to.

    Without `narrower` the weights of a full fine-tune are not held in 16 bits where 32 do not fit.

    Raises:
        RecipeError: As in `resolve`.
    """
    question, found = searched(recipe, hardware, shape, launch, narrower=narrower)
    formats, attention, packing = question.formats, question.attention, question.packing
    limits = question.limits
    if found.work.weight_dtype != formats.weight.value:
        held = Choice(found.work.weight_dtype, "float32 master weights do not fit here")
        formats = follow(recipe, held, formats.compute)
    plan = Plan(
        recipe=recipe,
        device=Choice(hardware.device, hardware.name),
        weight_dtype=formats.weight,
        compute_dtype=formats.compute,
        autocast=formats.autocast,
        loss_scaling=formats.loss_scaling,
        attention=attention,
        optimizer=_optimizer(recipe, found.work.optimizer, hardware),
        alpha=_alpha(recipe),
        packing=packing,
        over_length=_over_length(recipe),
        micro_batch_size=_micro_batch_size(recipe, found, limits),
        accumulation_steps=_accumulation_steps(recipe, found, launch),
        gradient_checkpointing=_gradient_checkpointing(recipe, found, limits),
        frugal_layers=_frugal_layers(recipe, found, limits),
        tile_tokens=_tile_tokens(recipe, found),
        checkpoints=_checkpoints(recipe, found, shape),
        base=_place(recipe, found, "base_place", _BASE),
        embeddings=_place(recipe, found, "embeddings_place", _EMBEDDINGS),
        head=_place(recipe, found, "head_form", _HEAD),
        optimizer_states=_place(recipe, found, "states_place", _STATES),
        fused_step=_fused_step(recipe, found),
        loss_chunk_tokens=_loss_chunk_tokens(recipe, found, shape),
        folder=run_folder(recipe, recipe_name),
        world_size=launch.world_size,
        predicted=found.predicted,
        notes=tuple(_notes(recipe, hardware, shape)),
    )
    return plan if found.fits else _as_nearest(plan), found, limits


def _as_nearest(plan: Plan) -> Plan:
    """A plan that does not fit, with that as the reason of what memory decided: there is no room of which to speak."""
    decided: dict[str, Any] = {
        name: Choice(choice.value, NEAREST)
        for name, choice in plan.choices().items()
        if name in SETTINGS.values() and not choice.reason.startswith(ASKED)
    }
    return replace(plan, **decided)


def _optimizer(recipe: Recipe, name: str, hardware: Hardware) -> Choice[str]:
    if recipe.train.optimizer != "auto":
        paged = name.startswith("paged") and hardware.device == "cpu"
        return Choice(name, ASKED + ("; on a CPU nothing is paged" if paged else ""))
    if recipe.method.type != "full" and name == "adamw":
        return Choice(name, "an adapter's states are small, so 32 bits cost little")
    if name == "adamw":
        return Choice(name, f"8-bit states are not used on {hardware.device}")
    if name == "paged_adamw_8bit":
        return Choice(name, "8-bit states, in host memory while the device is full")
    return Choice(name, "states in 8 bits take a quarter of the memory")


def _alpha(recipe: Recipe) -> Choice[float]:
    method = recipe.method
    if not isinstance(method, LowRank):
        return Choice(0.0, "a full fine-tune has no adapter")
    if method.alpha is not None:
        return Choice(method.alpha, ASKED)
    return Choice(2.0 * method.rank, f"twice the rank, {method.rank}")


def _over_length(recipe: Recipe) -> Choice[str]:
    if recipe.data.over_length != "auto":
        return Choice(recipe.data.over_length, ASKED)
    limit = f"`data.max_tokens`, {recipe.data.max_tokens}"
    if recipe.stage == "pretrain":
        return Choice("split", f"texts above {limit}, go on in the next sequence")
    return Choice("drop", f"conversations above {limit}, are left out and counted, never cut")


def _micro_batch_size(recipe: Recipe, found: Fit, limits: Limits) -> Choice[int]:
    rows, asked = found.work.rows, recipe.train.micro_batch_size
    if asked == rows:
        return Choice(rows, ASKED)
    if asked != "auto" and asked > limits.share:
        return Choice(rows, f"{asked} asked for, but a device has {limits.share} of each step")
    if asked != "auto":
        return Choice(rows, f"{asked} asked for; evened out over the passes of a step")
    peak, budget = found.predicted.peak_bytes / GIB, limits.budget_bytes / GIB
    if limits.hardware.device == "cpu":
        return Choice(rows, f"{found.work.positions} tokens at once; a CPU gains nothing from more")
    return Choice(rows, f"computed peak {peak:.2f} of {budget:.2f} GiB")


def _accumulation_steps(recipe: Recipe, found: Fit, launch: Launch) -> Choice[int]:
    passes, rows = found.work.accumulation_steps, found.work.rows
    devices = f" on {launch.world_size} devices" if launch.world_size > 1 else ""
    many = f"{recipe.train.batch_size} sequence{'s' if recipe.train.batch_size > 1 else ''}"
    reason = f"{many} a step{devices}, at most {rows} at a time"
    return Choice(passes, reason)


def _gradient_checkpointing(recipe: Recipe, found: Fit, limits: Limits) -> Choice[bool]:
    on = found.work.gradient_checkpointing
    if recipe.memory.gradient_checkpointing != "auto":
        return Choice(on, ASKED)
    budget = f"{limits.budget_bytes / GIB:.2f} GiB"
    if on:
        return Choice(on, f"without it too little fits into {budget}")
    return Choice(on, f"all activations fit into {budget}, and recomputing costs a third more time")


def _frugal_layers(recipe: Recipe, found: Fit, limits: Limits) -> Choice[bool]:
    on = found.work.frugal
    if recipe.memory.frugal_layers != "auto":
        return Choice(on, ASKED)
    if on:
        return Choice(on, f"whole layers do not fit into {limits.budget_bytes / GIB:.2f} GiB")
    return Choice(on, "whole layers fit, and are faster")


def _tile_tokens(recipe: Recipe, found: Fit) -> Choice[int]:
    asked = recipe.memory.tile_tokens != "auto"
    if not found.work.frugal:
        more = "; the recipe's would be for `memory.frugal_layers`" if asked else ""
        return Choice(0, f"layers are not cut{more}")
    reason = "so many keep the device busy"
    if found.work.device != "cpu" and found.work.tile_tokens <= SMALL_TILE_TOKENS:
        reason = "nothing fits with larger tiles"
    return Choice(found.work.tile_tokens, ASKED if asked else reason)


def _checkpoints(recipe: Recipe, found: Fit, shape: ModelShape) -> Choice[str]:
    place = found.work.checkpoint_place
    if recipe.memory.checkpoints != "auto":
        return Choice(place, ASKED)
    if not found.work.gradient_checkpointing:
        return Choice(place, "nothing is computed again, so nothing waits")
    if place == "device":
        return Choice(place, "there is room for them")
    size = checkpoint_bytes(shape, found.work) / GIB
    return Choice(place, f"{size:.2f} GiB of layers' inputs do not fit on the device")


_BASE = {
    "device": "all layers stay where they are used",
    "host": "the layers do not fit on the device; each comes from host memory a layer ahead",
    "disk": "the layers fit neither on the device nor in host memory; each is read from disk a layer ahead",
}
_EMBEDDINGS = {
    "device": "there is room for the table",
    "host": "only the rows in use come to the device",
}
_HEAD = {
    "device": "there is room for it",
    "host": "it comes to the device in slices of the vocabulary",
    "nf4": "in 4 bits, which changes its numbers; nothing else fits",
    "int8": "in 8 bits, which changes its numbers",
}
_STATES = {"device": "they are where the step is", "host": "they do not fit on the device"}


def _place(recipe: Recipe, found: Fit, name: str, reasons: Mapping[str, str]) -> Choice[str]:
    value = getattr(found.work, name)
    asked = getattr(recipe.memory, SETTINGS[name]) != "auto"
    return Choice(value, ASKED if asked else reasons[value])


def _fused_step(recipe: Recipe, found: Fit) -> Choice[bool]:
    on = found.work.fused_step
    reason = "gradients do not fit beside one another" if on else "gradients fit"
    if recipe.memory.fused_step != "auto":
        reason = ASKED
    if on and found.work.clipped:
        reason += (
            "; computed twice, as `train.max_grad_norm` needs the norm of all first (null: once)"
        )
    return Choice(on, reason)


def _loss_chunk_tokens(recipe: Recipe, found: Fit, shape: ModelShape) -> Choice[int]:
    chunk = found.work.loss_chunk_tokens
    if recipe.memory.loss_chunk_tokens != "auto":
        return Choice(chunk, ASKED)
    size = 4 * shape.vocab * chunk / 2**20
    return Choice(chunk, f"{size:.0f} MiB of float32 logits at one time, for {shape.vocab} tokens")


def run_folder(recipe: Recipe, recipe_name: str) -> Choice[str]:
    """Where the run goes: as asked, or `runs/` and the recipe's name."""
    if recipe.run.folder is not None:
        return Choice(recipe.run.folder, ASKED)
    return Choice(f"runs/{recipe_name}", "named after the recipe")


def _notes(recipe: Recipe, hardware: Hardware, shape: ModelShape) -> Iterator[str]:
    if recipe.train.evaluate_every is not None and recipe.data.evaluate is None:
        yield "`train.evaluate_every` does nothing without held-out rows; set `data.evaluate`, unless a folder in `data.train` has a split of them."
    limit = shape.max_positions
    if limit is not None and recipe.data.max_tokens > limit:
        yield (
            f"`data.max_tokens` is {recipe.data.max_tokens:,}, beyond the {limit:,} positions that this model was made for "
            "(`max_position_embeddings`): longer rows teach it little unless its config.json scales RoPE (`rope_parameters`, "
            "in older files `rope_scaling`)."
        )
    if shape.remote:
        yield (
            f"The code of a `{shape.model_type}` comes with its weights, so no test of xtune has run it: its sizes and names are known, what its "
            "layers keep is computed as for a Llama; try a short run first."
        )
    elif not shape.known:
        kind = (
            f"model type `{shape.model_type}`"
            if shape.model_type
            else "config.json without `model_type`"
        )
        yield f"The {kind} is new to xtune; its memory is computed as for a Llama."
    if shape.recurrent_width:
        yield (
            "The model has recurrent layers, which no formula here follows: what they keep is set high, by a simulation of Qwen3-Next's "
            "without a package of kernels, and is no promise; try a short run first."
        )
    if not shape.ends_plainly:
        size = 12 * shape.vocab * recipe.data.max_tokens / GIB  # as `xtune.memory.loss` counts
        yield (
            f"How a `{shape.model_type}` ends is new to xtune, so its loss is computed from the logits of all tokens at one time: "
            f"about {size:.1f} GiB a row of {recipe.data.max_tokens:,} tokens."
        )
    if shape.expert_layers and isinstance(recipe.method, QLoRA):
        size = shape.expert_parameters / 1e9
        yield f"The experts of this mixture, {size:.1f} billion parameters, are held unquantised."
    if isinstance(recipe.method, QLoRA) and hardware.device in {"mps", "xpu"}:
        yield f"QLoRA was never tried by us on {hardware.device}; `xtune doctor` tries it here."
