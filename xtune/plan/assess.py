"""What `xtune plan` answers about a recipe and a machine: whether it fits, how long, how fast, and what would help."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xtune.hardware import Hardware
from xtune.memory import GIB, ModelShape, Workload
from xtune.plan.advice import STEP_TOKENS, cheapest_change, too_large
from xtune.plan.cards import known_card
from xtune.plan.parts import peak_parts
from xtune.plan.question import longest_tokens
from xtune.plan.resolve import decide
from xtune.plan.speed import tokens_per_second
from xtune.plan.types import Plan
from xtune.recipe import Recipe
from xtune.shown import Shown

LONGEST_TOKENS = 2**22

LEAST_SAID_GIB = 0.05
"""What loading takes of host memory is said from here on: less is rounded to nothing."""

_ELSEWHERE = {"host": "into host memory", "disk": "on the disk"}


@dataclass(frozen=True, kw_only=True)
class Assessment(Shown):
    """The answer, as bytes that were computed and a speed that was estimated; nothing was measured."""

    plan: Plan
    hardware: Hardware
    shape: ModelShape = field(repr=False)
    fits: bool
    peak_bytes: int
    budget_bytes: int
    advice: str
    """The cheapest change with which it would fit; empty if it does."""

    shortage: str
    """What has no room, and where, as a clause; empty if it fits."""

    missing: str | None
    """Which has no room: "device", "host" or "disk"; None if it fits."""

    longest_tokens: int
    """Longest sequence that fits, everything else as asked, to a multiple of `STEP_TOKENS`; 0: none."""

    max_positions: int | None
    """Tokens that the model was made for, by its config.json; None: it does not say."""

    host_bytes: int
    disk_bytes: int
    tokens_per_s: float | None
    """None: the card is not in the table."""

    host_items: Mapping[str, int] = field(default_factory=dict)
    """What of `host_bytes` waits in host memory, and what loading takes beyond that."""

    is_disk_known: bool = False
    """Whether it was looked at what is free on disk."""

    def to_json(self) -> dict[str, Any]:
        """The whole answer as plain JSON values."""
        predicted = self.plan.predicted
        return {
            "fits": self.fits,
            "method": self.plan.recipe.method.type,
            "tokens": self.plan.recipe.data.max_tokens,
            "peak_bytes": self.peak_bytes,
            "budget_bytes": self.budget_bytes,
            "items": dict(peak_parts(predicted)) if predicted else {},
            "choices": {
                name: {"value": choice.value, "reason": choice.reason}
                for name, choice in self.plan.choices().items()
            },
            "longest_tokens": self.longest_tokens,
            "max_positions": self.max_positions,
            "host_bytes": self.host_bytes,
            "host_items": dict(self.host_items),
            "ram_bytes": self.hardware.ram_bytes,
            "disk_bytes": self.disk_bytes,
            "tokens_per_s": self.tokens_per_s,
            "shortage": self.shortage,
            "advice": self.advice,
            "notes": list(self.plan.notes),
        }

    def lines(self) -> Iterator[str]:
        """The answer for people: whether it fits, how long and how fast, where the memory goes, what was chosen and why."""
        recipe = self.plan.recipe
        yield f"{recipe.model.name} by {recipe.method.type}, {step_words(recipe)}"
        peak, budget = self.peak_bytes / GIB, self.budget_bytes / GIB
        verdict = "fits" if self.fits else "DOES NOT FIT"
        if self.missing in _ELSEWHERE:
            verdict += f" {_ELSEWHERE[self.missing]}; on the device"
        yield f"{verdict}: computed peak {peak:.2f} GiB of {budget:.2f} GiB on {self.hardware.name}"
        if self.shortage:
            yield f"What is short: {self.shortage}."
        if self.advice:
            yield self.advice
        yield ""
        yield f"longest sequence  {self.longest_tokens:,} tokens fit (computed){self.beyond()}"
        yield f"host memory       {self.host_bytes / GIB:.1f} of {self.hardware.ram_bytes / GIB:.1f} GiB (computed){self._loading()}"
        yield f"disk              {self.disk_bytes / GIB:.1f} GiB (computed) for {self._on_disk()}"
        yield from self._speed()
        yield ""
        yield from self.plan.lines()

    def _loading(self) -> str:
        """What of the host's memory only loading takes, as a clause."""
        size = self.host_items.get("loading", 0) / GIB
        return f", {size:.1f} of it to load the model" if size >= LEAST_SAID_GIB else ""

    def _on_disk(self) -> str:
        """What the plan puts on disk, and whether somebody looked that there is room."""
        waits = {"layers": self.plan.base, "layers' inputs": self.plan.checkpoints}
        names = [name for name, choice in waits.items() if choice.value == "disk"]
        said = ", ".join(["weights", *names, "checkpoints and result"])
        return said if self.is_disk_known else f"{said}; what is free is not known, --disk says it"

    def beyond(self) -> str:
        """A clause on lengths for which there is memory and which the model was not made for, if there are any."""
        limit = self.max_positions
        if limit is None or self.longest_tokens <= limit:
            return ""
        return f"; the model was made for {limit:,} (`max_position_embeddings`)"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _speed(self) -> Iterator[str]:
        if self.tokens_per_s is None:
            yield "speed             not known for this machine; --gpu NAME estimates it for a card"
            return
        train = self.plan.recipe.train
        hours = 1e6 / self.tokens_per_s / 3600
        yield f"speed             {self.tokens_per_s:,.0f} tokens/s, {hours:.2f} hours a million tokens (estimated)"
        if train.max_steps is not None:
            most = train.max_steps * train.batch_size * self.plan.recipe.data.max_tokens
            yield f"                  at most {most / self.tokens_per_s / 3600:.1f} hours for {train.max_steps} steps"


def step_words(recipe: Recipe) -> str:
    """What a step is, for people: "16 sequences of up to 1,024 tokens a step"."""
    rows, tokens = recipe.train.batch_size, recipe.data.max_tokens
    return f"{rows:,} sequence{'s' if rows > 1 else ''} of up to {tokens:,} tokens a step"


def assess(
    recipe: Recipe, hardware: Hardware, shape: ModelShape, *, name: str = "run"
) -> Assessment:
    """Plan a recipe for a machine, whether it fits or not.

    Raises:
        RecipeError: The recipe asks for what the machine cannot do.
    """
    plan, found, limits = decide(recipe, hardware, shape, recipe_name=name)
    return Assessment(
        plan=plan,
        hardware=hardware,
        shape=shape,
        fits=found.fits,
        peak_bytes=found.predicted.peak_bytes,
        budget_bytes=limits.budget_bytes,
        shortage="" if found.fits else too_large(found, limits),
        missing=None if found.fits else found.missing(limits),
        advice="" if found.fits else cheapest_change(recipe, hardware, shape),
        longest_tokens=longest_tokens(
            recipe, hardware, shape, step=STEP_TOKENS, most=LONGEST_TOKENS
        ),
        max_positions=shape.max_positions,
        host_bytes=found.host_bytes,
        host_items=found.host_items,
        disk_bytes=sum(found.on_disk(limits).values()),
        tokens_per_s=_speed(hardware, shape, found.work),
        is_disk_known=hardware.disks is not None,
    )


@dataclass(frozen=True, kw_only=True)
class AtLength:
    """What is planned for sequences of another length, all else as asked."""

    tokens: int
    plan: Plan
    tokens_per_s: float | None


def at_lengths(answer: Assessment, lengths: Iterable[int]) -> list[AtLength]:
    """The plans of an answer's recipe at other lengths, whether they fit or not."""
    hardware, shape, recipe = answer.hardware, answer.shape, answer.plan.recipe
    found = []
    for tokens in lengths:
        data = recipe.data.model_copy(update={"max_tokens": tokens})
        plan, fit, _ = decide(recipe.model_copy(update={"data": data}), hardware, shape)
        speed = _speed(hardware, shape, fit.work)
        found.append(AtLength(tokens=tokens, plan=plan, tokens_per_s=speed))
    return found


def _speed(hardware: Hardware, shape: ModelShape, work: Workload) -> float | None:
    card = known_card(hardware.name, hardware.vram_bytes) if hardware.device == "cuda" else None
    return tokens_per_second(shape, work, card) if card else None
