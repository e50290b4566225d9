"""What a person may ask for: the recipe, as frozen models with each field's meaning under the field.

A recipe says what is wanted; what is decided from it (batch split, dtypes, memory techniques) is a
`Plan`. Nothing here imports torch. Reading YAML and reporting mistakes is in `xtune.recipe.read`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import Self


class Spec(BaseModel):
    """Base of all recipe models: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=False,
    )


def _one_or_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Text: TypeAlias = Annotated[str, Field(min_length=1)]
TextTuple: TypeAlias = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_or_many),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}},
            ]
        }
    ),
]
TrackerName: TypeAlias = Literal["wandb", "swanlab", "mlflow"]
TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)
Trackers: TypeAlias = Annotated[
    tuple[TrackerName, ...],
    BeforeValidator(_one_or_many),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(TRACKERS)},
                {"type": "array", "items": {"enum": list(TRACKERS)}},
            ]
        }
    ),
]
InitName: TypeAlias = Annotated[
    str,
    Field(pattern=r"^(default|gaussian|orthogonal|pissa|pissa_niter_[1-9][0-9]?|olora|mica)$"),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["default", "gaussian", "orthogonal", "pissa", "olora", "mica"]},
                {
                    "type": "string",
                    "pattern": "^pissa_niter_[1-9][0-9]?$",
                    "description": "`pissa_niter_N` (N from 1 to 99)",
                },
            ]
        }
    ),
]
Fraction: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
DTypeName: TypeAlias = Literal["auto", "bfloat16", "float16", "float32"]


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


class Full(Spec):
    """Train every weight."""

    type: Literal["full"] = "full"
    """The tag of this method."""


class LowRank(Spec):
    """What LoRA and QLoRA share: the adapter itself."""

    rank: PositiveInt = 16
    """Rank r of the update matrices."""

    alpha: PositiveFloat | None = None
    """The update is scaled by alpha / rank (alpha / sqrt(rank) with `rslora`); default: twice the rank."""

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout on the input of the adapters."""

    targets: TextTuple = ("all-linear",)
    """`all-linear`, or names (or name endings) of the linear layers that get an adapter."""

    init: InitName = "default"
    """How the factors begin: default, gaussian, orthogonal, pissa (arXiv 2404.02948), pissa_niter_N (faster, N = 1 to
    99), olora (arXiv 2406.01775) or mica (arXiv 2604.01694: B holds each weight's weakest directions and stays)."""

    rslora: bool = False
    """Rank-stabilised scaling, alpha / sqrt(rank) (arXiv 2312.03732)."""

    dora: bool = False
    """Weight-decomposed adapters (arXiv 2402.09353); about a third slower."""

    lora_plus_ratio: Annotated[float, Field(ge=1.0)] | None = None
    """LoRA+: learning rate of B over that of A (arXiv 2402.12354); 16 is the paper's advice."""

    new_tokens: TextTuple = ()
    """Tokens added to the vocabulary, whose embeddings alone are trained and saved with the adapter."""

    modules_to_save: TextTuple = ()
    """Modules trained in full beside the adapters and saved with them, `lm_head` say."""

    @model_validator(mode="after")
    def _start_fits(self) -> Self:
        if self.init == "orthogonal" and self.rank % 2:
            raise ValueError(f"`rank` is {self.rank} with `init: orthogonal`; it must be even")
        if self.init == "mica" and self.dora:
            raise ValueError("`dora` is true with `init: mica`; PEFT has no such combination")
        if self.init == "mica" and self.lora_plus_ratio is not None:
            raise ValueError(
                "`lora_plus_ratio` is set with `init: mica`; it is the learning rate of B, which mica does not train"
            )
        return self


class LoRA(LowRank):
    """Low-rank adapters on a base in 16 or 32 bits (Hu et al., arXiv 2106.09685)."""

    type: Literal["lora"] = "lora"
    """The tag of this method."""


class QLoRA(LowRank):
    """LoRA on a quantised, frozen base (Dettmers et al., arXiv 2305.14314)."""

    type: Literal["qlora"] = "qlora"
    """The tag of this method."""

    quantization: Literal["nf4", "fp4", "int8"] = "nf4"
    """Storage of the base's linear layers."""

    double_quantization: bool | None = None
    """Quantise the 4-bit block scales as well (0.4 bits a weight saved); default: on for nf4 and fp4."""

    compute_dtype: DTypeName = "auto"
    """Type that quantised weights are expanded to in a matrix product."""

    @model_validator(mode="after")
    def _start_needs_no_weights(self) -> Self:
        if self.init.startswith(("pissa", "olora", "mica")):
            raise ValueError(
                f"`init` is {self.init} with qlora; it starts from the base's own weights, which are quantised: use `method: lora`"
            )
        return self

    @model_validator(mode="after")
    def _double_quantization_is_for_four_bits(self) -> Self:
        if self.quantization == "int8" and self.double_quantization:
            raise ValueError(
                "`double_quantization` exists for nf4 and fp4 only; remove it or choose one of those"
            )
        return self


def _expand_method(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Method: TypeAlias = Annotated[
    Annotated[Full | LoRA | QLoRA, Field(discriminator="type")],
    BeforeValidator(_expand_method),
]


RowFormat: TypeAlias = Literal[
    "auto",
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "query_response",
    "oasst",
    "text",
]


def _from_and_to(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (float(value), float(value))
    return tuple(value) if isinstance(value, list) else value


Weight: TypeAlias = Annotated[
    tuple[NonNegativeFloat, NonNegativeFloat],
    BeforeValidator(_from_and_to),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {
                    "type": "array",
                    "items": {"type": "number", "minimum": 0},
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        }
    ),
]


class Source(Spec):
    """One source of rows that needs more said than its name."""

    source: Text
    """File, folder, glob, `bundled:orders/train.jsonl`, `hf:owner/name`, `modelscope:owner/name` or `set:name`."""

    weight: Weight | None = None
    """Share of the rows trained on, relative to the other sources'; `[0.7, 0.4]`: from the first step to the last."""

    max_rows: PositiveInt | None = None
    """Use only the first N rows of this source."""

    format: RowFormat | None = None
    """Shape of the rows; default: as `data.format` says."""

    columns: Mapping[str, str] | None = None
    """Our name of a column to the source's; default: as `data.columns` says."""

    split: Text = "train"
    """Split of a hub's data set."""

    subset: Text | None = None
    """Subset (configuration) of a hub's data set."""

    revision: Text | None = None
    """Branch, tag or commit of a hub's data set."""


def _sources(value: Any) -> Any:
    many = value if isinstance(value, list | tuple) else [value]
    return tuple({"source": item} if isinstance(item, str) else item for item in many)


class _OneOrManySources:
    """The JSON Schema of sources: a text, an object, or a list of either."""

    @staticmethod
    def __get_pydantic_json_schema__(schema: Any, handler: Any) -> dict[str, Any]:
        many = handler(schema)
        text = {"type": "string", "minLength": 1}
        one = [text, many["items"]]
        return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}, "minItems": 1}]}


Sources: TypeAlias = Annotated[
    tuple[Source, ...], BeforeValidator(_sources), Field(min_length=1), _OneOrManySources
]


class Data(Spec):
    """What is trained on, how rows are read, and which tokens count in the loss."""

    train: Sources
    """Files, folders, globs, `hf:` and `modelscope:` ids, `set:` names; one or a list, each a text or with `source`, `weight` ..."""

    evaluate: Sources | Fraction | None = None
    """Held-out files; or a fraction of the training rows, split off by seed; or nothing."""

    format: RowFormat = "auto"
    """Shape of the rows; `auto` detects it from each file's columns and says what it found."""

    columns: Mapping[str, str] = {}
    """Our name of a column to the file's name: `{instruction: question, output: answer}`."""

    template: Text | None = None
    """A Jinja chat template file; default: the one that comes with the tokenizer."""

    end_token: Text | None = None
    """Special token put, and trained on, behind the last answer, for chat templates that write none there (GLM: `<|user|>`)."""

    call_end_token: Text | None = None
    """The same behind an answer that ends in tool calls (GLM: `<|observation|>`); default: `end_token`."""

    unmaskable: Literal["refuse", "drop"] = "refuse"
    """What happens to rows that the chat template rejects or whose mask cannot be proven; dropped ones count in `max_dropped`."""

    train_on: Literal["assistant", "last", "all"] = "assistant"
    """Messages in the loss: every assistant message, the last one, or every token."""

    prompt_loss_weight: Fraction = 0.0
    """Weight in the loss of the tokens that are not trained on (0: no part in it; 1: like the rest)."""

    max_tokens: Annotated[int, Field(ge=8)] = 2048
    """Longest sequence, in tokens: a row, or a pack of rows."""

    over_length: Literal["auto", "refuse", "drop", "truncate", "split"] = "auto"
    """What happens to rows above `max_tokens`; `auto`: split texts, drop (and count) conversations."""

    packing: bool | Literal["auto"] = "auto"
    """Put several short rows into one sequence, isolated from one another; `auto`: on for pretraining."""

    max_rows: PositiveInt | None = None
    """Use only the first N rows of the training data, after the seeded split."""

    max_dropped: Fraction = 0.1
    """Part of the rows that may be lost (empty, nothing to train on, too long unless `over_length` is `drop`) before the run is refused."""

    streaming: bool = False
    """Read and encode while training, window by window, and keep nothing on disk; needs `train.max_steps`."""

    cache: bool = True
    """Keep encoded rows on disk, so that a second start trains within seconds; what shaped them is in the key."""

    workers: PositiveInt | None = None
    """Processes that render and tokenise; default: one for each core, for large data."""

    tokenizer_backend: Literal["auto", "fastokens", "tokenizers"] = "auto"
    """Library that tokenises; `auto`: the faster fastokens for large data, where it is installed and gives the very same tokens."""


OptimizerName: TypeAlias = Literal[
    "auto",
    "adamw",
    "adamw_8bit",
    "paged_adamw",
    "paged_adamw_8bit",
    "lion_8bit",
    "paged_lion_8bit",
    "adafactor",
    "muon",
    "galore_adamw",
    "apollo_adamw",
]
SUBSPACE_OPTIMIZERS = ("galore_adamw", "apollo_adamw")
"""Optimizers whose states for matrices are in a subspace of few dimensions."""


class Train(Spec):
    """How long, how fast, with which optimizer; evaluation, checkpoints and stopping."""

    learning_rate: PositiveFloat
    """Peak learning rate."""

    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Shape after the warm-up; `wsd` holds the peak, then decays linearly over `decay_fraction`."""

    warmup_steps: NonNegativeInt | None = None
    """Steps of linear warm-up; given, it replaces `warmup_fraction`."""

    warmup_fraction: Fraction = 0.03
    """Warm-up as a fraction of all steps."""

    decay_fraction: Fraction = 0.2
    """Part of all steps in which `wsd` decays."""

    final_learning_rate_fraction: Fraction = 0.0
    """Learning rate that the decay ends at, just after the last step, as a fraction of the peak."""

    epochs: PositiveFloat | None = None
    """Passes over the data; 1 when neither this nor `max_steps` is given."""

    max_steps: PositiveInt | None = None
    """Optimizer steps; the data is repeated as often as needed. With `epochs` too, the first to come stops."""

    max_minutes: PositiveFloat | None = None
    """Stop, save and finish cleanly after this many minutes of training, over all resumes together."""

    batch_size: PositiveInt = 8
    """Sequences per optimizer step, over all devices: rows, or packs of rows."""

    micro_batch_size: PositiveInt | Literal["auto"] = "auto"
    """Sequences per forward pass on one device; `auto` takes the largest that fits."""

    optimizer: OptimizerName = "auto"
    """`auto`: AdamW with 8-bit states where they run and pay; `muon` is Muon for matrices, AdamW for the rest;
    `galore_adamw` and `apollo_adamw` (extras of those names) keep AdamW's states of matrices in few dimensions."""

    matrix_learning_rate: PositiveFloat | None = None
    """Peak learning rate of the matrices under `muon`; default: `learning_rate`, matched to AdamW's update size."""

    subspace_rank: PositiveInt | None = None
    """Dimensions in which `galore_adamw` and `apollo_adamw` keep states; default: 128 and 256."""

    subspace_steps: PositiveInt = 200
    """Steps after which those dimensions are chosen anew."""

    beta1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Decay of the first moment."""

    beta2: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Decay of the second moment."""

    epsilon: PositiveFloat = 1e-8
    """Added to the denominator of Adam's update."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay on matrices (not on norms and biases)."""

    max_grad_norm: PositiveFloat | None = 1.0
    """Gradients are clipped to this norm; null: not clipped."""

    neftune_alpha: PositiveFloat | None = None
    """NEFTune: uniform noise on the embeddings of training rows (arXiv 2310.05914); 5 is usual."""

    compile: bool = False
    """torch.compile the model; pays after some hundred steps."""

    evaluate_every: PositiveInt | None = None
    """Steps between evaluations on `data.evaluate`; default: at the end only."""

    save_every: PositiveInt | None = None
    """Steps between checkpoints; default: a tenth of the run."""

    keep_checkpoints: PositiveInt = 2
    """How many of the newest checkpoints stay on disk; the best one stays besides."""

    early_stop_patience: PositiveInt | None = None
    """Stop after this many evaluations without a better loss."""

    finish_with: Literal["last", "best"] = "last"
    """Which weights the run ends with; `best` is by evaluation loss."""


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

    memory: Memory = Memory()
    """Memory techniques."""

    run: Run = Run()
    """The run folder."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        # One problem a line; each begins with the setting that is reported as the culprit.
        found = [problem for wrong, problem in self._agreements() if wrong]
        if found:
            raise ValueError("\n".join(found))
        return self

    def _agreements(self) -> tuple[tuple[bool, str], ...]:
        train, held_out = self.train, self.data.evaluate not in {None, 0.0}
        memory = self.memory
        weighted = [source.weight is not None for source in self.data.train]
        stops_early = train.early_stop_patience is not None
        trained_on_host = self.method.type == "full" and memory.base == "host"
        return (
            (
                any(weighted) and not all(weighted),
                "`data.train` gives some sources a weight and others none; give every source one",
            ),
            (
                self.data.call_end_token is not None and self.data.end_token is None,
                "`data.call_end_token` is set without `data.end_token`; set what ends other answers too",
            ),
            (
                self.data.streaming and train.max_steps is None,
                "`data.streaming` does not know how long an epoch is; set `train.max_steps`",
            ),
            (
                self.data.streaming and isinstance(self.data.evaluate, float) and held_out,
                "`data.streaming` cannot split off a fraction to evaluate on; name files in `data.evaluate`",
            ),
            (
                self.data.streaming and train.epochs is not None,
                "`train.epochs` is not known when `data.streaming` is on; remove it, `train.max_steps` says how long",
            ),
            (
                self.data.streaming and self.data.max_rows is not None and len(weighted) > 1,
                "`data.max_rows` cannot span several sources when `data.streaming` is on; give each source its own `max_rows`",
            ),
            (
                stops_early and not held_out,
                "`train.early_stop_patience` needs held-out rows; set `data.evaluate`",
            ),
            (
                stops_early and train.evaluate_every is None,
                "`train.early_stop_patience` needs repeated evaluation; set `train.evaluate_every`",
            ),
            (
                train.finish_with == "best" and not held_out,
                "`train.finish_with: best` needs held-out rows; set `data.evaluate`",
            ),
            (
                train.matrix_learning_rate is not None and train.optimizer != "muon",
                "`train.matrix_learning_rate` is for `train.optimizer: muon` alone; remove it",
            ),
            (
                memory.frugal_layers is True and memory.gradient_checkpointing is False,
                "`memory.frugal_layers` always computes layers again; remove `memory.gradient_checkpointing: false`",
            ),
            (
                memory.checkpoints in {"host", "disk"} and memory.gradient_checkpointing is False,
                "`memory.checkpoints` is for layers that are computed again; remove `memory.gradient_checkpointing: false`",
            ),
            (
                train.compile
                and (
                    memory.frugal_layers is True
                    or memory.checkpoints in {"host", "disk"}
                    or memory.base in {"host", "disk"}
                ),
                "`train.compile` compiles whole layers; remove it, or `memory.frugal_layers`, `memory.checkpoints` and `memory.base`",
            ),
            (
                memory.base in {"host", "disk"} and memory.gradient_checkpointing is False,
                "`memory.base` brings layers in for the backward pass again; remove `memory.gradient_checkpointing: false`",
            ),
            (
                memory.base == "disk" and self.method.type == "full",
                "`memory.base: disk` is for a frozen base; take `host`",
            ),
            (
                memory.head in {"host", "nf4", "int8"} and self.method.type == "full",
                f"`memory.head: {memory.head}` is for a frozen head, and `method: full` trains it; remove it",
            ),
            (
                memory.embeddings == "host" and self.method.type == "full",
                "`memory.embeddings: host` is for a frozen table, and `method: full` trains it; remove it",
            ),
            (
                memory.fused_step is True and self.method.type != "full",
                "`memory.fused_step` is for `method: full` alone; an adapter's gradients are small",
            ),
            (
                train.optimizer == "muon" and self.method.type != "full",
                "`train.optimizer: muon` is for `method: full` alone; low-rank factors want `adamw`",
            ),
            (
                train.optimizer in SUBSPACE_OPTIMIZERS and self.method.type != "full",
                f"`train.optimizer: {train.optimizer}` is for `method: full` alone; an adapter's states are small already",
            ),
            (
                train.subspace_rank is not None and train.optimizer not in SUBSPACE_OPTIMIZERS,
                "`train.subspace_rank` is for `train.optimizer: galore_adamw` and `apollo_adamw` alone; remove it",
            ),
            (
                (memory.fused_step is True or trained_on_host)
                and train.micro_batch_size != "auto"
                and train.micro_batch_size < train.batch_size,
                f"`{'memory.base: host' if trained_on_host else 'memory.fused_step'}` steps in the backward pass, so one pass holds the whole batch; set `train.micro_batch_size` to auto, or `train.batch_size` to the same",
            ),
            (
                trained_on_host
                and (memory.fused_step is False or memory.optimizer_states == "device"),
                "`memory.base: host` steps trained layers where they are; remove `memory.fused_step` and `memory.optimizer_states`",
            ),
        )
