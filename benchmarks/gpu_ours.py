"""xtune's own training step on a model with random weights: a plan carried out as `xtune.train.setup` does. No timing here.

The weights are drawn a decoder layer at a time, quantised, and handed on before the next is drawn, as the loader hands on
what it reads; what follows (ends, adapter, techniques, loss, update) is the code that trains.
"""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from benchmarks.gpu_shapes import Planned
from benchmarks.gpu_stacks import Stack, materialise, quantise_layer
from xtune.adapter.attach import attach
from xtune.kernels.heads import decoder_layers
from xtune.kernels.loss import LossModule
from xtune.models.fused_attention import prefer_fused
from xtune.models.load import Loading
from xtune.plan import Plan
from xtune.train.ends import place_ends
from xtune.train.streaming import base_streaming
from xtune.train.techniques import apply_techniques
from xtune.train.update import Update, make_update


def build_ours(
    fields: dict[str, Any], planned: Planned, device: torch.device, folder: Path
) -> Stack:
    """A model of these sizes, ready to be stepped as the plan says.

    Args:
        fields: Its config.json.
        planned: The plan.
        device: Where it computes.
        folder: Stands for the run's folder: checkpoints on disk are there.
    """
    plan = planned.plan
    streaming = base_streaming(plan)
    base = random_model(fields, plan, device, None if streaming is None else streaming.shelve)
    place_ends(base, plan)
    if streaming is not None:
        streaming.start(base)
    no_tokenizer: Any = None  # no token is added
    model = attach(base, plan, no_tokenizer)
    if streaming is not None:
        streaming.settle()
    tile_tokens = apply_techniques(model, plan, folder)
    module = LossModule(model, plan.loss_chunk_tokens.value, tile_tokens).train()
    gc.collect()
    step = _Step(module, make_update(model, plan, device), plan)
    return Stack(model=model, step=step, loss=step.loss, loss_kind="xtune.kernels")


def random_model(
    fields: dict[str, Any],
    plan: Plan,
    device: torch.device,
    on_layer: Callable[[int, nn.Module], None] | None,
) -> PreTrainedModel:
    """A base with random weights, where and as `load_model` would leave one from files."""
    loading = Loading.of(plan)
    prefer_fused(loading.device, loading.compute_dtype)
    torch.manual_seed(0)
    dtype = getattr(torch, loading.weight_dtype)
    config = AutoConfig.for_model(**fields)
    build: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = build.from_config(config, dtype=dtype, attn_implementation=loading.attention)
    model.eval().requires_grad_(plan.recipe.method.type == "full")
    for index, layer in enumerate(decoder_layers(model)):
        if loading.quantization is not None:
            quantise_layer(layer, device)
        for module in layer.modules():
            materialise(module, device, dtype)
        if on_layer is not None:
            on_layer(index, layer)
    _fill_ends(model, loading, device, dtype)
    if loading.quantization is not None:
        model.is_loaded_in_4bit = model.is_quantized = True  # what PEFT looks at
    if loading.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    checked: PreTrainedModel = model
    return checked


def _fill_ends(model: Any, loading: Loading, device: torch.device, dtype: torch.dtype) -> None:
    """Embedding and head where the loader would leave them, then everything else that has no numbers yet."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight
    host = torch.device("cpu")
    place = host if loading.host_embeddings else device
    materialise(embedding, place, dtype, drawn_on=device)
    if tied:
        head.weight = embedding.weight
    else:
        materialise(head, host if loading.host_head else device, dtype, drawn_on=device)
    for module in model.modules():
        materialise(module, device, dtype)
    rotary = model.base_model.rotary_emb
    with torch.device(device):
        model.base_model.rotary_emb = type(rotary)(config=model.config)


class _Step:
    """One step as `xtune.train.loop` takes it, without its books."""

    def __init__(self, module: nn.Module, update: Update, plan: Plan) -> None:
        self._module, self._update, self._plan = module, update, plan
        self.norm = 0.0

    def __call__(self, ids: torch.Tensor) -> float:
        """Forward, backward, clip, update; returns the mean loss before the update."""
        losses = []
        for _ in self._update.passes():
            loss = self.loss(ids)
            self._update.scaler.scale(loss).backward()
            losses.append(loss.detach())
            del loss
        found = float(losses[-1])
        self.norm = self._update.clip()
        self._update.step()
        return found

    def loss(self, ids: torch.Tensor) -> torch.Tensor:
        """The mean loss over ids (1, tokens)."""
        dtype = getattr(torch, self._plan.compute_dtype.value)
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        weights = torch.ones(ids.shape, device=ids.device)
        with torch.autocast(ids.device.type, dtype=dtype, enabled=self._plan.autocast.value):
            total: torch.Tensor = self._module(ids, ids, weights, positions)
        return total / (ids.shape[1] - 1)
