"""The memory techniques: which may go together, and in which order they are tried for one workload.

Nothing that costs time comes first. Then every other set that may be chosen, by the estimated seconds of a pass on the card
(`xtune.plan.speed`), so that the first that fits is the fastest that fits. A head in fewer bits changes numbers, and comes
after everything that does not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from xtune.hardware import Hardware
from xtune.memory import ModelShape, Workload
from xtune.memory.families import EMBEDDINGS, HEADS
from xtune.plan.cards import Card, find_card, known_card
from xtune.plan.speed import seconds

USUAL_CARD = "RTX 3060"
"""Techniques are put in order as for this card where the machine's own is not in the table."""


@dataclass(frozen=True, kw_only=True)
class Techniques:
    """One set of them; the fields are those of `Workload`."""

    gradient_checkpointing: bool = False
    frugal: bool = False
    checkpoint_place: str = "device"
    base_place: str = "device"
    embeddings_place: str = "device"
    head_form: str = "device"
    states_place: str = "device"
    fused_step: bool = False

    def applied(self, work: Workload) -> Workload:
        """The workload with these techniques."""
        return replace(work, **vars(self))

    @property
    def is_possible(self) -> bool:
        """Whether they go together: whatever runs layers again or brings them in again needs checkpoints."""
        away = self.checkpoint_place != "device" or self.base_place != "device"
        return self.gradient_checkpointing or not (self.frugal or away)

    @property
    def changes_numbers(self) -> bool:
        """Whether the result is another than without them, by more than rounding."""
        return self.head_form in {"nf4", "int8"}

    @property
    def count(self) -> int:
        """How many are used; what is on disk counts twice."""
        values = [getattr(self, field.name) for field in fields(self)]
        return sum(value not in {False, "device"} for value in values) + values.count("disk")


def ladder(
    shape: ModelShape, work: Workload, hardware: Hardware, asked: Mapping[str, Any]
) -> Iterator[tuple[Techniques, ...]]:
    """The sets that may be chosen for a workload: those that cost nothing together, then one by one what costs more.

    Args:
        shape: The model.
        work: Its length and method; the techniques in it are not looked at.
        hardware: The machine.
        asked: What the person fixed, by the names of `Techniques`.
    """
    options = _options(shape, work, hardware)
    if shape.tied:  # one matrix, which leaves the device whole
        if asked.get("embeddings_place") == "host":
            options["head_form"] = ("host", "nf4")
        if asked.get("head_form", "device") != "device":
            options["embeddings_place"] = ("host",)
    free = [name for name in options if name not in asked]
    offered = [(asked[name],) if name in asked else values for name, values in options.items()]
    every = [Techniques(**dict(zip(options, values, strict=True))) for values in product(*offered)]
    possible = [
        each
        for each in every
        if each.is_possible and _is_sensible(each, shape, free) and _can_train(each, work)
    ]
    quick = tuple(each for each in possible if _costs_nothing(each, free))
    if quick:
        yield quick
    slower = [each for each in possible if not _costs_nothing(each, free)]
    yield from ((each,) for each in _by_time(slower, shape, work, _card(hardware)))


def _options(shape: ModelShape, work: Workload, hardware: Hardware) -> dict[str, tuple[Any, ...]]:
    """What may be chosen unasked, by name.

    Layers are cut only for model types that were tried, and nothing is moved to the memory of a CPU's own host. Several
    processes would each hold a base of their own there.
    """
    options: dict[str, tuple[Any, ...]] = {
        field.name: (field.default,) for field in fields(Techniques)
    }
    options["gradient_checkpointing"] = (False, True)
    if not shape.known:
        return options
    trains_sinks = work.method == "full" and shape.has_sinks
    options["frugal"] = (False,) if trains_sinks else (False, True)
    if can_be_fused(work):
        options["fused_step"] = (False, True)
    if hardware.device == "cpu":
        return options
    options["checkpoint_place"] = ("device", "host", "disk")
    options["states_place"] = ("device", "host")
    if can_be_fused(work) and not shape.experts:
        options["base_place"] = ("device", "host")
    if work.method != "full" and work.world_size == 1 and not shape.experts:
        options["base_place"] = ("device", "host", "disk")
    if has_frozen_tables(work):
        options["embeddings_place"] = ("device", "host")
        options["head_form"] = ("device", "host", "nf4")
    return options


def has_frozen_tables(work: Workload) -> bool:
    """Whether neither embedding nor head is trained."""
    tables = HEADS | EMBEDDINGS
    adapted = any(target.rpartition(".")[2] in tables for target in work.targets)
    saved = any(name.rpartition(".")[2] in tables for name in work.saved)
    return work.method != "full" and not (saved or work.new_tokens or adapted)


def can_be_fused(work: Workload) -> bool:
    """Whether a step may fall into the backward pass: gradients are neither shared by processes nor scaled."""
    alone = work.world_size == 1 and work.compute_dtype != "float16"
    return work.is_full and alone


def _can_train(each: Techniques, work: Workload) -> bool:
    """Whether trained layers that come from elsewhere are stepped where they are, as soon as they have their gradients."""
    resident = work.method != "full" or each.base_place == "device"
    return resident or (each.fused_step and each.states_place == "host")


def _is_sensible(each: Techniques, shape: ModelShape, free: Iterable[str]) -> bool:
    """Whether a free choice gains anything: a head leaves the device after the table, with which it may be one matrix."""
    names = set(free)
    together = shape.tied or each.head_form != "device"
    apart = (each.embeddings_place == "host") != (each.head_form != "device")
    return not (together and apart and {"embeddings_place", "head_form"} <= names)


def _costs_nothing(each: Techniques, free: Iterable[str]) -> bool:
    defaults = Techniques()
    return all(
        getattr(each, name) == getattr(defaults, name)
        for name in free
        if name != "gradient_checkpointing"
    )


def _by_time(
    sets: list[Techniques], shape: ModelShape, work: Workload, card: Card
) -> list[Techniques]:
    def order(each: Techniques) -> tuple[bool, float, int]:
        took = seconds(shape, each.applied(work), card)
        return each.changes_numbers, took, each.count

    return sorted(sets, key=order)


def step_seconds(shape: ModelShape, work: Workload, hardware: Hardware) -> float:
    """Estimated seconds of an optimizer step, all its passes."""
    return work.accumulation_steps * seconds(shape, work, _card(hardware))


def _card(hardware: Hardware) -> Card:
    return known_card(hardware.name, hardware.vram_bytes) or find_card(USUAL_CARD)
