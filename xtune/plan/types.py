"""The plan: a recipe with nothing left open, each decision with its reason. How it is decided is in the files beside this one."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from xtune.memory import GIB, Prediction
from xtune.plan.parts import part_lines
from xtune.recipe import QLoRA, Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A decided value and why it was decided so."""

    value: T
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe with nothing left open."""

    recipe: Recipe
    device: Choice[str]
    """"cpu", "cuda", "mps" or "xpu"."""

    weight_dtype: Choice[str]
    """dtype in which unquantised base weights are held: "float32", "bfloat16" or "float16"."""

    compute_dtype: Choice[str]
    """dtype of matrix products (autocast, and 4-bit compute)."""

    autocast: Choice[bool]
    """Whether the forward pass runs under autocast to `compute_dtype`."""

    loss_scaling: Choice[bool]
    """Dynamic loss scaling, for float16 compute."""

    attention: Choice[str]
    optimizer: Choice[str]
    alpha: Choice[float]
    """LoRA's alpha; 0.0 for a full fine-tune."""

    packing: Choice[bool]
    over_length: Choice[str]
    micro_batch_size: Choice[int]
    """Sequences per forward pass on one device."""

    accumulation_steps: Choice[int]
    """Micro-batches of one device in an optimizer step."""

    gradient_checkpointing: Choice[bool]
    frugal_layers: Choice[bool]
    tile_tokens: Choice[int]
    """Tokens of a tile of a frugal layer; 0: layers are not cut."""

    checkpoints: Choice[str]
    """Where layers' inputs wait for the backward pass: "device", "host" or "disk"."""

    base: Choice[str]
    """Where the decoder layers are: "device", "host" or "disk"."""

    embeddings: Choice[str]
    """Where the embedding table is: "device" or "host"."""

    head: Choice[str]
    """Where the head is, or how it is quantised: "device", "host", "nf4" or "int8"."""

    optimizer_states: Choice[str]
    """Where the optimizer's states are: "device" or "host"."""

    fused_step: Choice[bool]
    """Whether each parameter is stepped during the backward pass."""

    loss_chunk_tokens: Choice[int]
    folder: Choice[str]
    """The run folder."""

    world_size: int = 1
    """Processes that the accumulation was worked out for."""

    predicted: Prediction | None = None
    """Computed bytes of a training step on one device."""

    notes: tuple[str, ...] = ()
    """What a person should know besides: nothing that stops the run."""

    @property
    def shelves_layers(self) -> bool:
        """Whether whole layers are computed again by `xtune.kernels.shelved` and not by transformers (`Workload.is_shelved`).

        A compiled model's are not.
        """
        method = self.recipe.method
        away = self.checkpoints.value != "device" or self.base.value != "device"
        keeps_aside = isinstance(method, QLoRA) and method.quantization == "int8"
        again = self.gradient_checkpointing.value and not self.frugal_layers.value
        return again and (away or (keeps_aside and not self.recipe.train.compile))

    def choices(self) -> dict[str, Choice[Any]]:
        """Each decided name with its value and reason, in the order above."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Choice)}

    def techniques(self) -> str:
        """What is done about memory, in a few words for people: "layers computed again, base in host memory, adamw_8bit"."""
        rows = self.micro_batch_size.value
        words = [f"{rows} sequences at a time"] if rows > 1 else []
        if self.frugal_layers.value:
            words.append(f"frugal layers, tiles of {self.tile_tokens.value:,}")
        elif self.gradient_checkpointing.value:
            words.append("layers computed again")
        places = {
            "checkpoints": self.checkpoints,
            "base": self.base,
            "embeddings": self.embeddings,
            "head": self.head,
            "states": self.optimizer_states,
        }
        elsewhere = {"host": "in host memory", "disk": "on disk"}
        words += [
            f"{name} {elsewhere.get(choice.value, f'in {choice.value}')}"
            for name, choice in places.items()
            if choice.value != "device"
        ]
        if self.fused_step.value:
            words.append("fused step")
        return ", ".join([*words, self.optimizer.value])

    def summary(self) -> str:
        """One sentence for people: the computed peak and what is done about it."""
        peak = (
            f"computed peak {self.predicted.peak_bytes / GIB:.2f} GiB; " if self.predicted else ""
        )
        return f"Plan: {peak}{self.techniques()}."

    def to_json(self) -> dict[str, Any]:
        """The whole plan as plain JSON values."""
        return {
            "choices": {
                name: {"value": choice.value, "reason": choice.reason}
                for name, choice in self.choices().items()
            },
            "world_size": self.world_size,
            "predicted_bytes": self.predicted.to_json() if self.predicted else None,
            "notes": list(self.notes),
            "recipe": self.recipe.model_dump(mode="json"),
        }

    def lines(self) -> list[str]:
        """The plan for people: the computed memory, each choice with its reason, the notes."""
        width = max(len(name) for name in self.choices())
        choices = [
            f"{name:<{width}}  {as_text(choice.value):<10}  {choice.reason}"
            for name, choice in self.choices().items()
        ]
        memory = []
        if self.predicted:
            memory = ["memory on one device at the peak, GiB:", *part_lines(self.predicted), ""]
        return [*memory, *choices, *(f"note: {note}" for note in self.notes)]


def as_text(value: Any) -> str:
    """A choice's value for people."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
