"""A base model in memory as the plan wants it: type, quantisation, attention, device. Attaches no adapter."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from xtune.errors import MissingPackageError, ModelError
from xtune.models.activations import narrow_activations
from xtune.models.architecture import check_architecture
from xtune.models.fused_attention import prefer_fused
from xtune.models.load_layers import OnLayer, Reading, hand_on, layer_by_layer
from xtune.models.norms import narrow_layer_norms
from xtune.models.quiet import quiet
from xtune.models.source import WEIGHTS, WEIGHTS_INDEX, fetch, read_config, read_json_object
from xtune.models.stored import check_stored, stored_quantization
from xtune.models.tokenizer import load_tokenizer, pad_token_id
from xtune.plan import Plan
from xtune.recipe.models import Full, Model, QLoRA

__all__ = [
    "Loading",
    "check_architecture",
    "load_base",
    "load_model",
    "load_tokenizer",
    "pad_token_id",
    "read_config",
]

log = logging.getLogger("xtune")


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How one base model is to be held: the part of a plan that loading depends on."""

    model: Model
    device: str
    weight_dtype: str
    """dtype of everything that is not quantised."""

    compute_dtype: str
    """dtype that quantised weights are expanded to."""

    attention: str
    quantization: QLoRA | None = None
    """Set: the linear layers are quantised as this method says."""

    gradient_checkpointing: bool = False
    random_seed: int | None = None
    """Set: a folder without weights gets random ones, drawn from this seed."""

    host_embeddings: bool = False
    """Whether the embedding matrix is left in host memory."""

    host_head: bool = False
    """Whether the head's matrix is left in host memory."""

    @classmethod
    def of(cls, plan: Plan) -> "Loading":
        """What a plan says about loading."""
        recipe, method = plan.recipe, plan.recipe.method
        from_scratch = recipe.stage == "pretrain" and isinstance(method, Full)
        return cls(
            model=recipe.model,
            device=plan.device.value,
            weight_dtype=plan.weight_dtype.value,
            compute_dtype=plan.compute_dtype.value,
            attention=plan.attention.value,
            quantization=method if isinstance(method, QLoRA) else None,
            gradient_checkpointing=plan.gradient_checkpointing.value
            # of these `xtune.train.techniques` sees to it
            and not (plan.frugal_layers.value or plan.shelves_layers),
            random_seed=recipe.run.seed if from_scratch else None,
            host_embeddings=plan.embeddings.value != "device",
            host_head=plan.head.value != "device",
        )


def load_model(plan: Plan, on_layer: OnLayer | None = None) -> PreTrainedModel:
    """The base model of a plan, in eval mode, on the plan's device, ready for `attach`.

    Nothing is upcast: head, embeddings and norms stay in `plan.weight_dtype`, also beside a quantised
    base. On CUDA the model goes to the current device, which the caller has set to its local rank.
    Call the model with `use_cache=False` in training: its default would let packed rows see each other.

    A quantised model is read, quantised and placed a decoder layer at a time; so is any other if somebody wants
    to be told of each layer, or if a part of it stays in host memory.

    Args:
        plan: Says how.
        on_layer: Called with index and layer when a decoder layer is on the device, before the next one is read.

    Raises:
        ModelError: The model cannot be found, is not a causal language model that this transformers
            knows, or its files are missing, damaged or of a kind that is not loaded.
        MissingPackageError: bitsandbytes or an attention implementation is not installed.
    """
    return load_base(Loading.of(plan), on_layer)


def load_base(loading: Loading, on_layer: OnLayer | None = None) -> PreTrainedModel:
    """The same for any purpose: see `load_model`.

    Raises:
        ModelError: As in `load_model`.
        MissingPackageError: As in `load_model`.
    """
    name = loading.model.name
    folder = fetch(loading.model, weights=True)
    config = read_config(loading.model)
    check_architecture(config, loading.model)
    stored = stored_quantization(config, name)
    if stored is not None:
        check_stored(stored, name, loading.quantization)
    prefer_fused(loading.device, loading.compute_dtype)
    if has_weights(folder, loading.model):
        model = _from_weights(folder, loading, config, on_layer)
    elif loading.random_seed is not None:
        model = _from_scratch(folder, loading, loading.random_seed)
    else:
        raise ModelError(
            f"{name} has a config.json but no weights ({WEIGHTS}, or {WEIGHTS_INDEX} with its shards).",
            advice="Random weights are made only for `stage: pretrain` with `method: full`.",
        )
    _cure_cpu_repacking(model)
    if stored is not None:
        _compute_in(model, getattr(torch, loading.compute_dtype))
    narrow_layer_norms(model)
    narrow_activations(model)
    if loading.gradient_checkpointing:
        _enable_gradient_checkpointing(model, name)
    return model


def has_weights(folder: Path, model: Model) -> bool:
    """Whether a folder holds safetensors weights, all of them.

    Raises:
        ModelError: There are only pickled weights, or shards are missing.
    """
    if (folder / WEIGHTS_INDEX).is_file():
        named = set(read_json_object(folder / WEIGHTS_INDEX).get("weight_map", {}).values())
        missing = sorted(name for name in named if not (folder / name).is_file())
        if missing:
            raise ModelError(
                f"{model.name} lacks {len(missing)} of its {len(named)} weight files, {missing[0]} among them.",
                advice="Finish the download.",
            )
        return bool(named)
    if (folder / WEIGHTS).is_file():
        return True
    pickled = sorted(
        path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)
    )
    if pickled:
        raise ModelError(
            f"{model.name} has pickled weights only ({pickled[0]}), which can run code when opened; "
            "xtune loads safetensors.",
            advice="If you trust the file: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder).",
        )
    return False


def _quantization_config(loading: Loading) -> Any:
    method = loading.quantization
    make: Any = BitsAndBytesConfig  # transformers leaves it untyped
    if method is None:
        return None
    if method.quantization == "int8":
        # on CUDA it says of every product that bfloat16 becomes float16 on the way to int8
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return make(load_in_8bit=True)
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type=method.quantization,
        bnb_4bit_use_double_quant=method.double_quantization is not False,
        bnb_4bit_compute_dtype=getattr(torch, loading.compute_dtype),
    )


def _from_weights(
    folder: Path, loading: Loading, config: dict[str, Any], on_layer: OnLayer | None
) -> PreTrainedModel:
    options: dict[str, Any] = {}
    quantization = _quantization_config(loading)
    if quantization is not None and not config.get("quantization_config"):
        options["quantization_config"] = quantization
    place = place_of(loading.device)
    if place != "cpu" or quantization is not None:
        options["device_map"] = {"": place}
    reading = Reading(
        on_layer=on_layer,
        host_embeddings=loading.host_embeddings,
        host_head=loading.host_head,
    )
    in_layers = quantization is not None or reading != Reading()
    by_layer = layer_by_layer(reading) if in_layers else nullcontext(False)
    with _explained(loading), quiet(), by_layer as hands_on:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, loading.weight_dtype),
            attn_implementation=loading.attention,
            trust_remote_code=loading.model.trust_remote_code,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below, all of them and in words
            output_loading_info=True,
            **options,
        )
    model, info = loaded
    _check_loaded(info, loading.model)
    checked = _checked(model)
    if on_layer is not None and not hands_on:
        hand_on(checked, on_layer)
    return checked


def _from_scratch(folder: Path, loading: Loading, seed: int) -> PreTrainedModel:
    """A model with random weights, drawn without touching the global generator."""
    name, trust = loading.model.name, loading.model.trust_remote_code
    log.warning("%s has no weights: starting from random ones (seed %d).", name, seed)
    with _explained(loading), quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        build: Any = AutoModelForCausalLM.from_config  # untyped
        model = build(
            config,
            dtype=getattr(torch, loading.weight_dtype),
            attn_implementation=loading.attention,
            trust_remote_code=trust,
        )
    checked = _checked(model)
    move: Any = checked.to  # transformers wraps it in an untyped function
    move(place_of(loading.device))
    return checked


def place_of(device: str) -> str:
    """A kind of device as torch names this process's one: "cuda" is "cuda:1" for the second of several."""
    return f"cuda:{torch.cuda.current_device()}" if device == "cuda" else device


def _checked(model: object) -> PreTrainedModel:
    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            f"The model's own code made a {type(model).__name__}, which is no transformers model."
        )
    torch.nn.Module.train(model, mode=False)
    return model


def _check_loaded(info: dict[str, Any], model: Model) -> None:
    # A tensor that the files lack would be random; better no model than such a one.
    for key, what in (("missing_keys", "lacks"), ("mismatched_keys", "has in another shape")):
        names = sorted(str(name) for name in info.get(key, ()))
        if names:
            raise ModelError(
                f"{model.name} {what} {len(names)} of the model's tensors, {names[0]} among them.",
                advice="Its config.json and its weights do not belong together, or a download is incomplete.",
            )
    unexpected = sorted(info.get("unexpected_keys", ()))
    if unexpected:
        log.warning(
            "%s holds %d tensors that its architecture does not use, %s among them.",
            model.name,
            len(unexpected),
            unexpected[0],
        )


@contextmanager
def _explained(loading: Loading) -> Iterator[None]:
    # Turns what transformers raises over a model's files or options into one sentence.
    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"A weight file of {loading.model.name} is damaged: {error}.", advice="Fetch it again."
        ) from error
    except ImportError as error:
        raise _missing_package(loading, error) from error
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        StrictDataclassError,
    ) as error:
        raise _load_problem(loading, error) from error


def _missing_package(loading: Loading, error: ImportError) -> MissingPackageError:
    if loading.quantization is not None and "bitsandbytes" in str(error):
        return MissingPackageError(
            "bitsandbytes", purpose="`method: qlora`", command="pip install bitsandbytes"
        )
    if loading.attention.startswith("flash"):
        return MissingPackageError(
            "flash-attn",
            purpose=f"`model.attention: {loading.attention}`",
            command="pip install flash-attn --no-build-isolation",
        )
    name = error.name or str(error).strip().split("\n", maxsplit=1)[0]
    return MissingPackageError(name, purpose=loading.model.name, command=f"pip install {name}")


def _load_problem(loading: Loading, error: Exception) -> ModelError:
    text = str(error).strip().split("\n", maxsplit=1)[0]
    name = loading.model.name
    if "attention" in text.lower() or "attn" in text.lower():
        return ModelError(
            f"{name} cannot use `model.attention: {loading.attention}`: {text}",
            advice="Set `model.attention: eager`.",
        )
    return ModelError(
        f"transformers {transformers.__version__} could not load {name}: {type(error).__name__}: {text}"
    )


def _cure_cpu_repacking(model: torch.nn.Module) -> None:
    """Keeps bitsandbytes from repacking 4-bit weights in place on CPUs with avx512_bf16.

    One forward pass in eval mode would do it, and from then on dequantising gives noise: wrong
    gradients and a destroyed merge, in silence (bitsandbytes 0.50.2, measured November 2026).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - mypy reads an attribute as a tensor


def _compute_in(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Expand stored 4-bit weights to a type for their products: the config that they come with often names float32, twice as much."""
    for module in model.modules():
        if hasattr(module, "compute_type_is_set"):
            module.compute_dtype = dtype  # type: ignore[assignment]


def _enable_gradient_checkpointing(model: PreTrainedModel, name: str) -> None:
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"{name} ({type(model).__name__}) has no gradient checkpointing.",
            advice="Set `memory.gradient_checkpointing: false`.",
        )
    # Non-reentrant: works with frozen inputs, so the embeddings need no artificial gradient.
    untyped: Any = model
    with quiet():
        untyped.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
