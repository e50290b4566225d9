"""Finds out by running whether packed rows are isolated in a model. It packs nothing."""

import inspect

import torch
from torch import nn

from xtune.kernels.heads import base_model, compute_device, hidden_states

SAMPLE_TOKENS = 8
"""Length of each of the two probe samples: longer than the kernels of short convolutions (3 or 4)."""

TOLERANCE = 1e-3
"""Of the largest hidden state; a leak changes them by their own size, isolation by nothing at all
(measured over 120 architectures of transformers 5.23, November 2026)."""


@torch.no_grad()
def isolates_packed_rows(model: nn.Module) -> bool:
    """Whether a sample in a packed row is blind to the sample before it.

    Most attention models are, when called with restarting `position_ids`, no mask and no cache; models
    with recurrent or convolutional layers, with absolute mask handling, or without `position_ids` are
    not, and nothing says so. Costs two forward passes of 16 tokens.
    """
    base = base_model(model)
    backbone = base.base_model
    if "position_ids" not in inspect.signature(backbone.forward).parameters:
        return False
    device = compute_device(base)
    ids = torch.arange(2 * SAMPLE_TOKENS, device=device)[None]  # (1, tokens)
    other = ids.clone()
    other[0, :SAMPLE_TOKENS] = ids[0, :SAMPLE_TOKENS].flip(0)
    positions = torch.arange(SAMPLE_TOKENS, device=device).repeat(2)[None]
    training = [module for module in base.modules() if module.training]
    for module in training:
        module.training = False
    try:
        first, second = (
            hidden_states(backbone, tokens, position_ids=positions, use_cache=False)[
                0, SAMPLE_TOKENS:
            ].float()
            for tokens in (ids, other)
        )
    finally:
        for module in training:
            module.training = True
    return bool((first - second).abs().max() <= TOLERANCE * first.abs().max())
