"""Opens what a run left behind, or any adapter or model folder, for use: never for training on."""

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xtune.adapter.expanding import keep_weights
from xtune.adapter.narrow import narrow_dora
from xtune.adapter.save import stored_dtype
from xtune.adapter.vocabulary import grow_vocabulary
from xtune.adapter.widen import widen_saved_modules
from xtune.data.ending import end_turns
from xtune.errors import ModelError
from xtune.found import ADAPTER_WEIGHTS, Found, find_result
from xtune.hardware import Hardware, detect
from xtune.kernels.head_slices import hold_head
from xtune.kernels.heads import compute_device, output_layer
from xtune.models.load import Loading, load_base
from xtune.models.quiet import quiet
from xtune.models.source import read_config
from xtune.models.tokenizer import load_tokenizer, open_tokenizer
from xtune.recipe import Recipe
from xtune.recipe.models import Model, QLoRA


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model ready to be asked: in eval mode, on its device."""

    model: nn.Module
    """A `PeftModel` on its base, or a whole transformers model."""

    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    """The run's recipe; for a bare folder one that names the model and no data."""

    folder: Path
    """The folder that was opened."""

    loading: Loading
    """How the base is held."""

    autocast: torch.dtype | None
    """Type of the matrix products if training ran under autocast; None: without."""


def open_run(folder: Path, *, device: str = "auto", base_only: bool = False) -> Opened:
    """The model of a run folder, of a PEFT folder or of a transformers folder, with its tokenizer.

    The base is held as in training where the device allows it (types, quantisation, attention, a head in fewer bits), so
    that the logits are those of training.

    Args:
        folder: RUN, with recipe.yaml and adapter/ or model/; or an adapter's or a model's own folder.
        device: "auto", or a device that `xtune.hardware.detect` knows.
        base_only: Leave the adapter away; for a full fine-tune, open the model it started from.

    Raises:
        RunError: The folder holds no finished run, no adapter and no model.
        ModelError: The base cannot be loaded, or the adapter does not fit it.
    """
    found = find_result(folder)
    hardware = detect(None if device == "auto" else device)
    source = found.recipe.model if base_only else found.weights
    loading = loading_for(found, hardware, source)
    base = load_held(found, loading)
    model: nn.Module = base
    if base_only and found.adapter is None:
        data = found.recipe.data
        tokenizer = load_tokenizer(source, data.template)
        if data.end_token is not None:
            end_turns(tokenizer, data.end_token, data.call_end_token)
    else:
        tokenizer = open_tokenizer(found.tokenizer, source)
    if found.adapter is not None and not base_only:
        model = add_adapter(base, found.adapter, tokenizer)
    autocast = getattr(torch, loading.compute_dtype) if found.decided.get("autocast") else None
    return Opened(
        model=model.eval(),
        tokenizer=tokenizer,
        recipe=found.recipe,
        folder=found.folder,
        loading=loading,
        autocast=autocast,
    )


def head_form(found: Found) -> str:
    """How the head was held when the run was trained: "nf4", "int8", or "device" for a whole one, wherever it was."""
    form = str(found.decided.get("head", "device"))
    return form if form in {"nf4", "int8"} else "device"


def load_held(found: Found, loading: Loading) -> PreTrainedModel:
    """The base of a run, its head in as many bits as in training.

    Raises:
        ModelError: It cannot be loaded.
    """
    base = load_base(loading)
    form, head = head_form(found), output_layer(base)
    if form != "device" and head is not None:
        hold_head(head, form, compute_device(base))
    return base


def loading_for(found: Found, hardware: Hardware, source: Model) -> Loading:
    """How to hold the base: as the run's plan decided, changed only where this device cannot."""
    config = read_config(source)
    method, decided = found.recipe.method, found.decided
    stored = str(stored_dtype(config) or torch.float32).removeprefix("torch.")
    weight = _possible(str(decided.get("weight_dtype", stored)), hardware)
    attention = str(decided.get("attention", "sdpa"))
    if attention.startswith("flash") and (hardware.device != "cuda" or weight == "float32"):
        attention = (
            "sdpa"  # flash attention has no float32, and answers are written without autocast
        )
    if attention == "sdpa" and config.get("model_type") == "gemma2":
        attention = "eager"  # transformers: Gemma 2 caps its attention scores, which sdpa cannot
    return Loading(
        model=source,
        device=hardware.device,
        weight_dtype=weight,
        compute_dtype=_possible(str(decided.get("compute_dtype", weight)), hardware),
        attention=attention,
        quantization=method if isinstance(method, QLoRA) else None,
    )


def add_adapter(
    base: PreTrainedModel | PeftModel,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    widen: bool = True,
    name: str = "default",
) -> PeftModel:
    """The base with a saved adapter, frozen; `widen` holds fully trained modules in float32, as in training.

    A base that has adapters already gets one more, by its own name; which one is active is for the caller to say.

    Raises:
        ModelError: The adapter is damaged, or was trained on another model.
    """
    if not isinstance(base, PeftModel):
        grow_vocabulary(base, len(tokenizer))
    weights = folder / ADAPTER_WEIGHTS
    keep_weights()
    try:
        state = load_file(weights)
        with quiet():
            if isinstance(base, PeftModel):
                model = base
                model.load_adapter(str(folder), name, autocast_adapter_dtype=True)
            else:
                model = PeftModel.from_pretrained(
                    base, str(folder), adapter_name=name, autocast_adapter_dtype=True
                )
            if widen and widen_saved_modules(model):
                set_peft_model_state_dict(model, dict(state), adapter_name=name)
            narrow_dora(model)
    except FileNotFoundError:
        raise ModelError(f"The adapter in {folder} has no {ADAPTER_WEIGHTS}.") from None
    except SafetensorError as error:
        raise ModelError(f"{weights} is damaged: {error}.") from error
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(f"The adapter in {folder} does not fit its base: {reason}") from error
    own = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    strange = sorted(set(own) ^ set(state))
    if strange:
        raise ModelError(
            f"The adapter in {folder} and its base differ in {len(strange)} tensors, {strange[0]} among them.",
            advice="It was trained on another model.",
        )
    model.requires_grad_(False)
    return model


def _possible(dtype: str, hardware: Hardware) -> str:
    """The type, or float32 where this device cannot compute in it at all or at speed."""
    if dtype == "float16" and hardware.device == "cpu":
        return "float32"
    if dtype == "bfloat16" and not hardware.has_bfloat16:
        return "float16" if hardware.device == "cuda" else "float32"
    return dtype
