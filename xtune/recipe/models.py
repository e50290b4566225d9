"""What a person may ask for: the recipe, as frozen models with each field's meaning under the field.

A recipe says what is wanted; what is decided from it (batch split, dtypes, memory techniques) is a
`Plan`. Nothing here imports torch. Reading YAML and reporting mistakes is in `xtune.recipe.read`;
which settings exclude each other, in `xtune.recipe.agreement`.
"""

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, NonNegativeInt, PositiveInt, WithJsonSchema, model_validator
from typing_extensions import Self

from xtune.recipe.agreement import disagreements
from xtune.recipe.data import Data, RowFormat, Source
from xtune.recipe.method import Full, LoRA, LowRank, Method, QLoRA
from xtune.recipe.spec import DTypeName, Spec, Text, one_or_many
from xtune.recipe.training import SUBSPACE_OPTIMIZERS, OptimizerName, Train

__all__ = [
    "SUBSPACE_OPTIMIZERS",
    "TRACKERS",
    "DTypeName",
    "Data",
    "Full",
    "LoRA",
    "LowRank",
    "Memory",
    "Method",
    "Model",
    "OptimizerName",
    "QLoRA",
    "Recipe",
    "RowFormat",
    "Run",
    "Source",
    "Spec",
    "TrackerName",
    "Train",
]

TrackerName: TypeAlias = Literal["wandb", "swanlab", "mlflow"]
TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)
Trackers: TypeAlias = Annotated[
    tuple[TrackerName, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(TRACKERS)},
                {"type": "array", "items": {"enum": list(TRACKERS)}},
            ]
        }
    ),
]


class Model(Spec):
    """Which base model, from where, and how it is held."""

    name: Text
    """A folder, a Hugging Face id, a ModelScope id (with `hub: modelscope`), or `bundled:demo`."""

    hub: Literal["huggingface", "modelscope"] = "huggingface"
    """Where an id is looked up. `modelscope` needs the extra `xtune[modelscope]`."""

    revision: Text | None = None
    """Branch, tag or commit on the hub; the default branch when left out."""

    dtype: DTypeName = "auto"
    """Type of the weights that are not quantised; `auto` lets the plan choose for this machine."""

    attention: Literal[
        "auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"
    ] = "auto"
    """Attention implementation of transformers; `auto` is sdpa, or flash attention when installed."""

    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off unless you have read that code."""


class Memory(Spec):
    """Techniques that trade time for memory; `auto` lets the plan decide."""

    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Keep only each layer's input and compute the rest again in the backward pass."""

    frugal_layers: bool | Literal["auto"] = "auto"
    """Run layers a tile of tokens and a group of heads at a time: the least memory for long sequences."""

    tile_tokens: PositiveInt | Literal["auto"] = "auto"
    """Tokens of a tile of a frugal layer."""

    checkpoints: Literal["auto", "device", "host", "disk"] = "auto"
    """Where layers' inputs wait for the backward pass: on the device, in host memory, or in the run's folder."""

    loss_chunk_tokens: PositiveInt | Literal["auto"] = "auto"
    """Tokens whose logits exist at one time in the loss."""

    base: Literal["auto", "device", "host", "disk"] = "auto"
    """Where the decoder layers are; from host memory or disk each comes to the device a layer ahead of its use."""

    embeddings: Literal["auto", "device", "host"] = "auto"
    """Where the embedding table is; from host memory only the rows in use come to the device."""

    head: Literal["auto", "device", "host", "nf4", "int8"] = "auto"
    """Where the frozen head is, or how it is quantised there; from host memory it comes in slices of the vocabulary."""

    optimizer_states: Literal["auto", "device", "host"] = "auto"
    """Where the optimizer's states are."""

    fused_step: bool | Literal["auto"] = "auto"
    """Step each parameter of a full fine-tune as soon as it has its gradient, which is then let go."""


class Run(Spec):
    """Where the run lives, its seed, and who else is told."""

    folder: Text | None = None
    """The run's folder; default: `runs/` and the recipe's name."""

    seed: NonNegativeInt = 0
    """Seed of everything random: order of rows, adapter initialisation, dropout, noise."""

    trackers: Trackers = ()
    """Besides metrics.jsonl, loss.png and TensorBoard: `wandb`, `swanlab`, `mlflow`."""


def _expand_memory(value: object) -> object:
    return {} if value == "auto" else value


class Recipe(Spec):
    """One fine-tune, complete in one file."""

    stage: Literal["sft", "pretrain"] = "sft"
    """`sft` trains on answers of conversations; `pretrain` on whole texts (of conversations, on what `data.train_on` says)."""

    model: Model
    """The base model."""

    method: Method
    """`full`, `lora` or `qlora`, alone or with its options: `{type: lora, rank: 8}`."""

    data: Data
    """The rows."""

    train: Train
    """The training itself."""

    memory: Annotated[Memory, BeforeValidator(_expand_memory)] = Memory()
    """Memory techniques; `auto` leaves all of them to the plan."""

    run: Run = Run()
    """The run folder."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        # One problem a line; each begins with the setting that is reported as the culprit.
        found = list(disagreements(self))
        if found:
            raise ValueError("\n".join(found))
        return self
