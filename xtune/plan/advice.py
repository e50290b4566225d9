"""What to say of a plan that does not fit: how large it is, and the cheapest change with which it would fit."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from xtune.errors import HardwareError, RecipeError
from xtune.hardware import Hardware, Launch
from xtune.memory import GIB, ModelShape
from xtune.plan.fit import Fit, Limits, has_room_for_process, host_budget_bytes
from xtune.plan.parts import peak_parts
from xtune.plan.question import ONE_PROCESS, longest_tokens, planned
from xtune.plan.room import asked_of, kept_checkpoints, on_disk, too_much
from xtune.recipe import Recipe
from xtune.shown import size_text

STEP_TOKENS = 64
"""Longest contexts are searched to a multiple of so many tokens."""

SHORTEST_ADVISED_TOKENS = 256
"""Advice goes no lower with `data.max_tokens`."""

HOST_SIZES = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048)
"""GiB of host memory that machines have."""

NO_CHANGE = "No single change of the recipe makes it fit; take a smaller model or a larger device."


def require_fit(
    recipe: Recipe,
    hardware: Hardware,
    shape: ModelShape,
    launch: Launch,
    planned: tuple[Fit, Limits],
) -> None:
    """Nothing, if it fits.

    Raises:
        HardwareError: It does not; the message gives the computed bytes and the cheapest way out.
    """
    found, limits = planned
    if not found.fits:
        advice = cheapest_change(recipe, hardware, shape, launch)
        raise HardwareError(
            f"The plan does not fit: {too_large(found, limits)}. Nothing was loaded.", advice=advice
        )


def too_large(smallest: Fit, limits: Limits) -> str:
    """What of a plan has no room, and where, as a clause."""
    predicted, hardware, missing = smallest.predicted, limits.hardware, smallest.missing(limits)
    if missing == "disk" and hardware.disks is not None:
        return too_much(smallest.on_disk(limits), hardware.disks)
    if missing == "host":
        room = host_budget_bytes(smallest.work, limits)
        return (
            f"it needs {smallest.host_bytes / GIB:.2f} GiB of host memory (computed{_while_loading(smallest)}), and "
            f"{room / GIB:.2f} GiB are there for it, nine tenths of {hardware.ram_bytes / GIB:.2f}"
        )
    largest = sorted(peak_parts(predicted).items(), key=lambda item: -item[1])[:3]
    parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in largest)
    place = "memory" if hardware.device == "cpu" else f"{hardware.device} memory"
    return (
        f"computed peak {predicted.peak_bytes / GIB:.2f} GiB ({predicted.peak_bytes:,} bytes), of it "
        f"{parts} GiB, and {limits.budget_bytes / GIB:.2f} GiB of {place} are there for it on {hardware.name}"
    )


def _while_loading(found: Fit) -> str:
    size = found.host_items.get("loading", 0)
    return f"; {size / GIB:.2f} of it only while the model is loaded" if size >= 2**20 else ""


def cheapest_change(
    recipe: Recipe, hardware: Hardware, shape: ModelShape, launch: Launch = ONE_PROCESS
) -> str:
    """The first change, cheapest first, with which the recipe would be planned to fit: each is planned.

    What takes nothing from the result; rows up to half as long; another method; another method with shorter rows.
    """
    asked = _Asked(recipe=recipe, hardware=hardware, shape=shape, launch=launch)
    if not has_room_for_process(hardware, launch.world_size):
        return asked.more_host_memory() or NO_CHANGE
    for change in _changes(recipe, launch):
        if asked.fits_with(change):
            return asked.way_out(change)
    if more_disk := asked.more_disk():
        return more_disk
    most = recipe.data.max_tokens
    lengths: list[tuple[int, Mapping[str, Any]]] = [(asked.longest_with({}), {})]
    if max(SHORTEST_ADVISED_TOKENS, most / 2) <= lengths[0][0] < most:
        return asked.way_out({"data.max_tokens": lengths[0][0]})
    for change in _methods(recipe):
        if asked.fits_with(change):
            return asked.way_out(change)
        lengths.append((asked.longest_with(change), change))
    tokens, method = max(lengths, key=lambda each: each[0])  # the first of equals
    if SHORTEST_ADVISED_TOKENS <= tokens < most:
        return asked.way_out({**method, "data.max_tokens": tokens})
    return asked.more_host_memory() or NO_CHANGE


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value["type"])
    return str(value).lower() if isinstance(value, bool) else str(value)


def _changes(recipe: Recipe, launch: Launch) -> Iterator[dict[str, Any]]:
    """What takes nothing from the result: first one sequence at a time, then what the recipe forbids the plan to choose."""
    rows, memory = recipe.train.micro_batch_size, recipe.memory
    if rows != "auto" and rows > 1:
        yield {"train.micro_batch_size": 1}
    for name in ("gradient_checkpointing", "frugal_layers"):
        if getattr(memory, name) is False:
            yield {f"memory.{name}": True}
    for name in ("checkpoints", "embeddings", "head", "optimizer_states", "base"):
        if getattr(memory, name) != "auto":
            yield {f"memory.{name}": "auto"}
    if recipe.train.keep_checkpoints > 1:
        yield {"train.keep_checkpoints": 1}
    if memory.loss_chunk_tokens != "auto":
        yield {"memory.loss_chunk_tokens": "auto"}
    if recipe.train.optimizer not in {"auto", "adamw_8bit", "paged_adamw_8bit"}:
        yield {"train.optimizer": "auto"}
    if recipe.method.type == "full" and recipe.train.batch_size > launch.world_size:
        yield {"train.batch_size": launch.world_size}


def _methods(recipe: Recipe) -> Iterator[dict[str, Any]]:
    if recipe.method.type == "full":
        yield {"method": {"type": "lora"}}
    if recipe.method.type != "qlora":
        yield {"method": {"type": "qlora"}}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    recipe: Recipe
    hardware: Hardware
    shape: ModelShape
    launch: Launch

    def planned_with(self, change: Mapping[str, Any]) -> Fit | None:
        """What is planned for the recipe with this change; None: it would be no recipe."""
        changed = _changed(self.recipe, change)
        if changed is None:
            return None
        try:
            return planned(changed, self.hardware, self.shape, self.launch)
        except RecipeError:
            return None

    def fits_with(self, change: Mapping[str, Any]) -> bool:
        """Whether the recipe with this change is one, and fits."""
        found = self.planned_with(change)
        return found is not None and found.fits

    def way_out(self, change: Mapping[str, Any]) -> str:
        """A change with which it fits as the command line has it, and what it takes then."""
        words = " ".join(f"{name}={_word(value)}" for name, value in change.items())
        found = self.planned_with(change)
        then = (
            f", with a computed peak of {found.predicted.peak_bytes / GIB:.2f} GiB" if found else ""
        )
        return f"Cheapest way out: `{words}`{then}."

    def longest_with(self, change: Mapping[str, Any]) -> int:
        """Tokens that fit with this change; 0: none."""
        changed = _changed(self.recipe, change)
        if changed is None:
            return 0
        given, most = (self.hardware, self.shape, self.launch), self.recipe.data.max_tokens
        try:
            return longest_tokens(changed, *given, step=STEP_TOKENS, most=most)
        except RecipeError:
            return 0

    def more_disk(self) -> str:
        """How much room on disk would do, if that is all that is missing; else nothing."""
        disks = self.hardware.disks
        if disks is None:
            return ""
        unjudged = replace(self.hardware, disks=None)
        found = planned(self.recipe, unjudged, self.shape, self.launch)
        if not found.fits:
            return ""
        items = on_disk(self.shape, found.work, kept_checkpoints(self.recipe.train))
        size = size_text(sum(asked_of(items, disks)))
        return f"Cheapest way out: {size} free on disk for it (XTUNE_CACHE names the folder for layers, `run.folder` the run's)."

    def more_host_memory(self) -> str:
        """The usual size of host memory that would do, if that is all that is missing; else nothing."""
        if self.hardware.device == "cpu":
            return ""
        larger = [size for size in HOST_SIZES if size * GIB > self.hardware.ram_bytes]
        if not larger or not self._fits_in(larger[-1]):
            return ""
        size = larger[bisect_left(larger, True, hi=len(larger) - 1, key=self._fits_in)]
        return f"Cheapest way out: a machine with {size} GiB of host memory."

    def _fits_in(self, host_gib: int) -> bool:
        machine = replace(self.hardware, ram_bytes=host_gib * GIB)
        return planned(self.recipe, machine, self.shape, self.launch).fits


def _changed(recipe: Recipe, change: Mapping[str, Any]) -> Recipe | None:
    """The recipe with settings changed; None: that is no recipe."""
    fields = recipe.model_dump()
    for name, value in change.items():
        group, _, key = name.partition(".")
        if key:
            fields[group][key] = value
        else:
            fields[group] = value
    try:
        return Recipe.model_validate(fields)
    except ValidationError:
        return None
