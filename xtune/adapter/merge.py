"""Merges an adapter into its base: a standalone transformers folder, compared with the adapter before it is trusted."""

import gc
import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xtune.adapter.find import Found, find_result
from xtune.adapter.open import add_adapter, loading_for
from xtune.adapter.save import save_whole
from xtune.errors import ModelError, RunError
from xtune.hardware import detect
from xtune.models.load import Loading, load_base
from xtune.models.quiet import quiet
from xtune.models.tokenizer import open_tokenizer
from xtune.recipe.models import QLoRA
from xtune.run.durable import explained

log = logging.getLogger("xtune")

Base: TypeAlias = Literal["unquantised", "dequantised"]

PROBE = (
    "A probe in several scripts and moods: 17 + 25 = 42. Où est la gare ? Где вокзал? "
    "東京タワーは高い。 def f(x): return {'a': [x, None]}"
)
"""Text on which merged model and adapter are compared; any text will do that touches many tokens."""

PROBE_TOKENS = 128
"""Longest probe: enough for a mean, short enough for a CPU."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A merged model and how far it is from the adapter it was made of."""

    folder: Path
    base: Base
    """What the adapter was added to: the original weights, or what quantisation left of them."""

    was_quantised: bool
    """Whether the adapter was trained on a quantised base, so that `base` makes a difference."""

    max_difference: float
    """Largest difference of a logit from the adapter as it was trained, over the probe."""

    relative_difference: float
    """The same as a fraction of the largest logit's size."""

    def __str__(self) -> str:
        onto = {
            "unquantised": "the original weights of its base",
            "dequantised": "its base as quantisation left it, the weights it was trained on",
        }[self.base]
        lines = [
            f"Merged into {onto}: {self.folder}",
            f"Logits differ from the adapter's by at most {self.max_difference:.3g}, "
            f"{self.relative_difference:.2%} of the largest, on a probe text.",
        ]
        if self.was_quantised and self.base == "unquantised":
            lines.append(
                "The adapter was trained on a quantised base and has learned part of its error away; "
                "to serve what was trained, merge with `dequantised`, or serve the adapter on the quantised base."
            )
        return "\n".join(lines)


def merge(folder: Path, target: Path, *, base: Base = "unquantised", device: str = "cpu") -> Merged:
    """Writes base and adapter as one transformers folder with tokenizer and template.

    The adapter's logits are computed first, on the base as it was trained (quantised, for QLoRA), then
    that model is freed, so that only one model is in memory at a time.

    Args:
        folder: A run with an adapter, or an adapter's folder.
        target: Where the merged model goes; must not exist, or be empty.
        base: "unquantised" adds the adapter to the original weights; "dequantised" to the weights that
            the quantised ones stand for, which keeps the trained loss.
        device: Where to compute.

    Raises:
        RunError: Nothing to merge, `target` is taken, or the disk is too full.
        ModelError: The base cannot be loaded, the adapter does not fit it, or the merged model is broken.
    """
    found = find_result(folder)
    if found.adapter is None:
        raise RunError(
            f"{folder} holds a whole model, which needs no merging.", advice="Use it as it is."
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} exists already.", advice="Name a new folder.")
    quantised = isinstance(found.recipe.method, QLoRA)
    if base == "dequantised" and not quantised:
        raise RunError(
            f"The adapter in {folder} was not trained on a quantised base, as far as its folder says.",
            advice="Merge it with `unquantised`; for a QLoRA run give the run's folder, not the adapter's.",
        )
    tokenizer = open_tokenizer(found.tokenizer, found.weights)
    hardware = detect(None if device == "auto" else device)
    loading = loading_for(found, hardware, found.weights)
    expected = _adapter_logits(loading, found.adapter, tokenizer)
    merged = _merge(loading, found, tokenizer, base)
    actual = _probe_logits(merged, tokenizer)
    _save(merged, tokenizer, target)
    difference = float((actual - expected).abs().max())
    return Merged(
        folder=target,
        base=base,
        was_quantised=quantised,
        max_difference=difference,
        relative_difference=difference / max(float(expected.abs().max()), 1e-12),
    )


def _adapter_logits(
    loading: Loading, adapter: Path, tokenizer: PreTrainedTokenizerBase
) -> torch.Tensor:
    model = add_adapter(load_base(loading), adapter, tokenizer).eval()
    logits = _probe_logits(model, tokenizer)
    del model
    gc.collect()
    if loading.device == "cuda":
        torch.cuda.empty_cache()
    return logits


@torch.no_grad()
def _probe_logits(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Logits of the probe text, (tokens, vocabulary) in float32 on the CPU.

    Raises:
        ModelError: They are not finite.
    """
    ids = tokenizer.encode(PROBE, return_tensors="pt")[:, :PROBE_TOKENS]
    device = next(model.parameters()).device
    logits: torch.Tensor = model(input_ids=ids.to(device), use_cache=False).logits[0]
    if not torch.isfinite(logits).all():
        raise ModelError(
            "The model's logits on a probe text are not finite.", advice="Do not use it."
        )
    return logits[:, : len(tokenizer)].float().cpu()


def _merge(
    loading: Loading, found: Found, tokenizer: PreTrainedTokenizerBase, base: Base
) -> PreTrainedModel:
    """The base with the adapter in its weights, everything in the base's type.

    Raises:
        ModelError: The adapter does not fit the base.
        RunError: There is no adapter.
    """
    if found.adapter is None:
        raise RunError(f"{found.folder} holds no adapter.")
    dtype = getattr(torch, loading.weight_dtype)
    if base == "dequantised":
        plain = _dequantise(load_base(loading), dtype)
    else:
        plain = load_base(replace(loading, quantization=None))
    model: Any = add_adapter(plain, found.adapter, tokenizer, widen=False)
    if not isinstance(model, PeftModel):
        raise ModelError(f"{found.adapter} holds no adapter that can be merged.")
    with quiet():
        merged = model.merge_and_unload()
    if not isinstance(merged, PreTrainedModel):
        raise ModelError(f"Merging made a {type(merged).__name__}, which is no transformers model.")
    for parameter in merged.parameters():
        if parameter.is_floating_point() and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)
    nn.Module.train(merged, mode=False)
    return merged


def _dequantise(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The same model with plain linear layers holding the numbers that the quantised ones stand for.

    Raises:
        ModelError: transformers cannot do it.
    """
    untyped: Any = model
    with quiet():
        plain = untyped.dequantize(dtype=dtype)
    if not isinstance(plain, PreTrainedModel):
        raise ModelError("transformers could not dequantise the base.")
    return plain


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
    """Writes aside first, so that the target is whole or absent.

    Raises:
        RunError: The disk is too full.
    """
    needed = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    with explained(target, kept=lambda: "Nothing was written."):
        target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise RunError(
            f"The merged model takes {needed / 2**30:.2f} GiB; the disk under {target.parent} has {free / 2**30:.2f} GiB free."
        )
    aside = target.with_name(f".{target.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        save_whole(model, tokenizer, aside, dtype=None)
        tokenizer.save_pretrained(aside)
        if target.is_dir():
            target.rmdir()
        aside.replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
