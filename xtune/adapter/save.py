"""Writes what a run ends with: a standard PEFT or transformers folder with its tokenizer. Writing aside is the caller's part."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from xtune.adapter.attach import initial_factors
from xtune.data.stops import model_stops, stop_token_ids
from xtune.errors import ModelError
from xtune.found import ADAPTER_WEIGHTS
from xtune.models.quiet import quiet
from xtune.models.source import local_folder, read_config
from xtune.models.tokenizer import pad_token_id, save_tokenizer
from xtune.plan import Plan
from xtune.recipe.models import Model

log = logging.getLogger("xtune")


def save_final(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path, plan: Plan
) -> None:
    """Writes the adapter, or the whole model of a full fine-tune, for use without xtune.

    A full model is written in the type that its base's files have, which rounds float32 master weights;
    one trained from random weights, in the type that its config.json names. An adapter stays float32.

    Either folder has the tokenizer with the chat template of training, and a generation_config that stops
    where training ended turns.

    Raises:
        ModelError: The model is neither a PEFT model nor a transformers model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        _save_adapter(model, folder, plan.recipe.model)
        base: Any = model.get_base_model()
        generation_config(base, tokenizer).save_pretrained(folder)
    elif isinstance(model, PreTrainedModel):
        save_whole(model, tokenizer, folder, dtype=stored_dtype(read_config(plan.recipe.model)))
    else:
        raise ModelError(f"A {type(model).__name__} cannot be saved.")
    save_tokenizer(tokenizer, folder)


def save_whole(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    dtype: torch.dtype | None,
) -> None:
    """Writes a transformers folder whose generation_config stops at the template's end of turn.

    Args:
        model: The model; it is left as it is.
        tokenizer: Gives the stop tokens; the caller saves it.
        folder: An existing folder.
        dtype: Type of the floating-point tensors on disk; None: as in memory.
    """
    held = model.generation_config
    untyped: Any = model
    untyped.generation_config = generation_config(model, tokenizer)
    try:
        with quiet():
            model.save_pretrained(folder, state_dict=_cast(model.state_dict(), dtype))
    finally:
        untyped.generation_config = held
    if dtype is not None:
        _write_dtype(folder / "config.json", dtype)


def stored_dtype(config: dict[str, Any]) -> torch.dtype | None:
    """The type that a config.json says its weights have; None where it says nothing."""
    nested = config.get("text_config") or {}
    names = (source.get(key) for source in (config, nested) for key in ("dtype", "torch_dtype"))
    name = next((name for name in names if isinstance(name, str)), "")
    dtype = getattr(torch, name.removeprefix("torch."), None)
    return dtype if isinstance(dtype, torch.dtype) else None


def _save_adapter(model: PeftModel, folder: Path, source: Model) -> None:
    config = copy.deepcopy(model.peft_config["default"])
    if not isinstance(config, LoraConfig):
        raise ModelError(f"An adapter of type {type(config).__name__} cannot be saved.")
    # rows of a grown embedding come with `trainable_token_indices`; the rest of it belongs to the base
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    first = initial_factors(model)
    if first is not None:
        state = _to_plain_lora(state, {_plain_name(name): factor for name, factor in first.items()})
        _double(config)
    config.init_lora_weights = (
        True  # how the factors began is past; PEFT would compute it again at every loading
    )
    config.base_model_name_or_path = base_name(source)
    config.revision = source.revision
    config.inference_mode = True
    save_file(_own_memory(state), folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(str(folder))


def base_name(source: Model) -> str:
    """What an adapter says about its base: a hub's id and `bundled:` names as they are, a folder in full, as PEFT does."""
    if source.name.startswith("bundled:"):
        return source.name
    folder = local_folder(source.name)
    return source.name if folder is None else str(folder.resolve())


def _to_plain_lora(
    state: dict[str, torch.Tensor], first: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """An adapter of twice the rank that gives the same sum on the base as it was before PiSSA or OLoRA.

    Training saw W - s B0 A0 + s B A, with B0 and A0 the factors at the start (arXiv 2404.02948, section 3).
    Stacked as [B, -B0] and [A; A0] the same change is one LoRA on W, exact up to the rounding of
    W - s B0 A0 to the base's type.
    """
    plain = dict(state)
    for name, factor in first.items():
        if ".lora_A." in name:
            plain[name] = torch.cat([state[name], factor.to(state[name].dtype)], dim=0)
        else:
            plain[name] = torch.cat([state[name], -factor.to(state[name].dtype)], dim=1)
    return plain


def _double(config: LoraConfig) -> None:
    """Twice the rank with the same scale: alpha / r, or alpha / sqrt(r)."""
    untyped: Any = config
    config.r *= 2
    untyped.lora_alpha *= 2**0.5 if config.use_rslora else 2


def _plain_name(name: str) -> str:
    return name.replace(".default.", ".")


def _own_memory(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, none sharing memory with another: safetensors refuses that."""
    seen: set[int] = set()
    result: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return result


def _cast(state: dict[str, torch.Tensor], dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """The state in another type, in host memory, as the device may have no room left; tied weights stay one."""
    if dtype is None:
        return state
    done: dict[tuple[int, torch.Size], torch.Tensor] = {}
    for tensor in state.values():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in done:
            done[key] = tensor.to("cpu", dtype) if tensor.is_floating_point() else tensor.cpu()
    return {name: done[tensor.data_ptr(), tensor.shape] for name, tensor in state.items()}


def _write_dtype(path: Path, dtype: torch.dtype) -> None:
    """Names the type that is on disk; transformers names the one that was in memory."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def generation_config(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> GenerationConfig:
    """The model's own, except that it stops where a turn ends; a contradictory one is replaced."""
    empty: Any = GenerationConfig  # untyped
    held: Any = model.generation_config
    config: GenerationConfig = empty() if held is None else copy.deepcopy(held)
    try:
        config.validate(strict=True)
    except ValueError as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        log.warning("The base's generation_config contradicts itself and is not kept: %s", reason)
        config = empty()
    stops = stop_token_ids(tokenizer, model)
    added = [token for token in stops if token not in model_stops(model)]
    if added and model_stops(model):
        names: Any = tokenizer.convert_ids_to_tokens(added)
        log.info(
            "generation_config.json: also stops at %s, which training ends turns with; the base's did not.",
            ", ".join(names),
        )
    if stops:
        config.eos_token_id = stops if len(stops) > 1 else stops[0]
    config.pad_token_id = pad_token_id(tokenizer)
    return config
