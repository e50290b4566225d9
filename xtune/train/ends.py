"""Puts what lies before and behind the decoder layers, embedding and head, where the plan wants them. Trains neither."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from xtune.adapter.targets import ends_with, is_tied, name_of, saves_embeddings
from xtune.errors import ModelError
from xtune.kernels.embedding import keep_embedding_on_host
from xtune.kernels.head_slices import HostMatrix, hold_head, slice_head
from xtune.kernels.heads import output_layer
from xtune.kernels.stream_rest import host_memory
from xtune.models.load import place_of
from xtune.plan import Plan
from xtune.recipe.models import Full
from xtune.shown import size_text


def place_ends(model: PreTrainedModel, plan: Plan) -> str | None:
    """Keep embedding and head of a loaded model, before it gets an adapter, as `memory.embeddings` and `memory.head` say.

    Returns:
        A sentence about what was done, for people; None where both stay on the device as they are.

    Raises:
        ModelError: One of them is trained, or cannot be kept so.
    """
    place, form = plan.embeddings.value, plan.head.value
    if (place, form) == ("device", "device"):
        return None
    head = output_layer(model)
    tied = is_tied(model)
    _check(model, plan, head, tied=tied)
    untyped: Any = model
    embedding: nn.Module = untyped.get_input_embeddings()
    device = torch.device(place_of(plan.device.value))
    said = []
    shared = None
    if form != "device" and head is not None:
        kept, sentence = _keep_head(head, form, device)
        said.append(sentence)
        shared = kept if tied and form == "host" else None
    if shared is not None:
        said = [
            f"Embedding and head, one matrix of {size_text(shared.nbytes)}, stay in host memory."
        ]
    if place == "host":
        table = _host(embedding) if shared is None else shared
        keep_embedding_on_host(embedding, table, device)
        if shared is None:
            said.append(f"The embedding, {size_text(table.nbytes)}, stays in host memory.")
    return " ".join(said)


def _keep_head(head: nn.Module, form: str, device: torch.device) -> tuple[torch.Tensor, str]:
    """Slice the head; returns what its `weight` is from now on, and what to say."""
    if form != "host":
        hold_head(head, form, device)
        return (
            _host(head),
            f"The head is held in {form}: logits and losses are not quite those of the whole head.",
        )
    weight = _host(head)
    kept = host_memory(device)(weight.nbytes).view(weight.dtype).view(weight.shape)
    slice_head(head, HostMatrix(kept.copy_(weight), device), kept)
    return kept, f"The head, {size_text(weight.nbytes)}, stays in host memory."


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
