"""New tokens: rows added to tokenizer and model, started at the mean of the old ones. PEFT trains and saves them."""

import logging
from typing import Any

import torch
from tokenizers import AddedToken
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xtune.adapter.targets import is_tied, name_of
from xtune.kernels.heads import output_layer

log = logging.getLogger("xtune")

MEAN_ENTRIES = 2**24
"""Numbers of a table that are averaged at one time: 64 MiB in float32."""


def add_new_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, names: tuple[str, ...]
) -> dict[str, list[int]] | None:
    """Adds tokens to tokenizer and model; a token that exists already keeps its row, which will be trained.

    Returns:
        What PEFT calls `trainable_token_indices`: the trained rows by layer; None without new tokens.
    """
    if not names:
        return None
    known = len(tokenizer)
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
    vocabulary = tokenizer.get_vocab()
    ids = [vocabulary[name] for name in names]
    fresh = [index for index in ids if index >= known]
    grow_vocabulary(model, len(tokenizer))
    layers: list[nn.Module] = [model.get_input_embeddings()]
    head = output_layer(model)
    if head is not None and not is_tied(model):
        layers.append(head)
    for layer in layers:
        _start_at_mean(layer, fresh, known)
    log.info(
        "New tokens: %s (%d rows of the vocabulary are new, %d are trained).",
        ", ".join(names),
        len(fresh),
        len(ids),
    )
    return {name: ids for layer in layers if (name := name_of(model, layer)) is not None}


def grow_vocabulary(model: PreTrainedModel, size: int) -> None:
    """Makes room for `size` tokens in the embedding and the head; never takes rows away."""
    embedding: Any = model.get_input_embeddings()
    if size > embedding.weight.shape[0]:
        frozen = not embedding.weight.requires_grad
        # the new rows are set by the caller or come with an adapter; transformers' random ones are not seeded
        model.resize_token_embeddings(size, mean_resizing=False)
        if frozen:
            model.requires_grad_(False)


@torch.no_grad()
def _start_at_mean(layer: nn.Module, fresh: list[int], known: int) -> None:
    for name, parameter in layer.named_parameters(recurse=False):
        if fresh and name in {"weight", "bias"}:
            # some columns at a time: a float32 copy of a whole table is more than a step may take
            columns = max(1, MEAN_ENTRIES // known)
            parts = (
                torch.split(parameter[:known], columns, dim=1)
                if parameter.ndim > 1
                else [parameter]
            )
            means = [part[:known].float().mean(0) for part in parts]
            mean = torch.cat(means) if parameter.ndim > 1 else means[0]
            parameter[fresh] = mean.to(parameter.dtype)
