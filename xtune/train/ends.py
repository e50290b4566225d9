"""Puts what lies before and behind the decoder layers, embedding and head, where the plan wants them. Trains neither."""

import logging
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from xtune.adapter.targets import ends_with, is_tied, name_of, saves_embeddings
from xtune.errors import ModelError
from xtune.kernels.embedding import keep_embedding_on_host
from xtune.kernels.head_slices import HeadMatrix, HostMatrix, Int8Matrix, Nf4Matrix, slice_head
from xtune.kernels.heads import compute_device, output_layer
from xtune.kernels.shelf import pinned
from xtune.plan import Plan
from xtune.recipe.models import Full

log = logging.getLogger("xtune")


def place_ends(model: PreTrainedModel, plan: Plan) -> None:
    """Keep embedding and head of a loaded model, before it gets an adapter, as `memory.embeddings` and `memory.head` say.

    Raises:
        ModelError: One of them is trained, or cannot be kept so.
    """
    place, form = plan.embeddings.value, plan.head.value
    if (place, form) == ("device", "device"):
        return
    head = output_layer(model)
    tied = is_tied(model)
    _check(model, plan, head, tied=tied)
    untyped: Any = model
    embedding: nn.Module = untyped.get_input_embeddings()
    device = compute_device(model)
    table = None
    if form != "device" and head is not None:
        table = _keep_head(head, form, device)
    if place == "host":
        shared = tied and form == "host" and table is not None
        keep_embedding_on_host(
            embedding, table if shared and table is not None else _host(embedding), device
        )


def _keep_head(head: nn.Module, form: str, device: torch.device) -> torch.Tensor:
    """Slice the head; returns what its `weight` is from now on."""
    weight = _host(head)
    matrix: HeadMatrix
    if form == "host":
        kept = pinned(weight.shape, weight.dtype, device).copy_(weight)
        matrix = HostMatrix(kept, device)
    else:
        matrix = (Nf4Matrix if form == "nf4" else Int8Matrix)(weight, device)
        kept = weight.new_empty((0, weight.shape[1]), device=device)
        log.info("The head is held in %s: logits and losses are not those of the whole one.", form)
    slice_head(head, matrix, kept)
    return kept


def _host(module: nn.Module) -> torch.Tensor:
    weight = module.weight
    if not isinstance(weight, torch.Tensor):
        raise ModelError(f"A {type(module).__name__} has no weight that could be in host memory.")
    return weight.detach().cpu()


def _check(model: PreTrainedModel, plan: Plan, head: nn.Module | None, *, tied: bool) -> None:
    place, form, method = plan.embeddings.value, plan.head.value, plan.recipe.method
    settings = [f"`memory.embeddings: {place}`"] if place != "device" else []
    settings += [f"`memory.head: {form}`"] if form != "device" else []
    asked = " and ".join(settings)
    if isinstance(method, Full):
        raise ModelError(
            f"{asked}: embedding and head must be frozen for it, and `method: full` trains them.",
            advice="Set both to `device`.",
        )
    name = name_of(model, head)
    trained = {
        "method.new_tokens": bool(method.new_tokens),
        "method.modules_to_save": saves_embeddings(model, method),
        "method.targets": name is not None
        and any(ends_with(name, target) for target in method.targets),
    }
    for setting, trains in trained.items():
        if trains:
            raise ModelError(
                f"{asked}: embedding and head must be frozen for it, and `{setting}` trains of them.",
                advice="Set both to `device`, or leave them untrained.",
            )
    if head is None and form != "device":
        raise ModelError(
            f"{asked}: this model has no head of its own.", advice="Set it to `device`."
        )
    if tied and (place == "device") != (form == "device"):
        raise ModelError(
            f"{asked}: embedding and head of this model are one matrix, so that one of them alone saves nothing.",
            advice="Set `memory.embeddings: host` together with `memory.head: host`, `nf4` or `int8`.",
        )
