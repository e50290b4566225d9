"""How likely a model finds each token of a given text; nothing is chosen here."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from xtune.generate.row import Logprob
from xtune.kernels.heads import find_head, hidden_states

CHUNK_TOKENS = 256
"""Tokens whose logits exist at one time: 131 MB with 128,000 entries in float32."""


def score_text(
    model: Any, ids: Sequence[int], *, vocabulary: int | None, count: int
) -> tuple[list[Logprob], torch.Tensor]:
    """Log probabilities of every token but the first, with one pass over the text by itself.

    Args:
        model: A transformers model, not a `PeftModel` around one.
        ids: The text's tokens, at least one.
        vocabulary: Only the first so many tokens are possible; None: all.
        count: Likeliest tokens in each place.

    Returns:
        The log probabilities, and the logits of what follows the text, (1, vocabulary) as the model gives them.
    """
    input_ids = torch.tensor([list(ids)], device=model.device)  # (1, tokens)
    states, logits_of = _states(model, input_ids)
    found: list[Logprob] = []
    parts = torch.split(states[:-1], CHUNK_TOKENS)
    targets = torch.split(input_ids[0, 1:], CHUNK_TOKENS)
    for part, chosen in zip(parts, targets, strict=True):
        if len(chosen):
            found += _scored(logits_of(part).float()[:, :vocabulary], chosen, count)
    # one place, as a pass for this token alone has it: the same shape rounds in the same way
    return found, logits_of(states[-1:])


def _states(
    model: Any, input_ids: torch.Tensor
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """Something of every place, (tokens, size), and what makes logits of it, (tokens, vocabulary)."""
    head = find_head(model)
    if head is None:
        return model(input_ids=input_ids, use_cache=False).logits[0], lambda part: part
    layer, transform = head.layer, head.transform
    hidden = hidden_states(head.backbone, input_ids, use_cache=False)[0]
    return hidden, lambda part: transform(layer(part[None]))[0]


def _scored(logits: torch.Tensor, chosen: torch.Tensor, count: int) -> list[Logprob]:
    """Of the chosen token in each place; `logits` is (tokens, vocabulary) float32."""
    logprobs = logits.log_softmax(-1)
    own = logprobs.gather(-1, chosen[:, None])[:, 0].tolist()
    likeliest = logprobs.topk(min(count, logprobs.shape[-1]), dim=-1)
    return [
        (one, list(zip(tokens, values, strict=True)))
        for one, tokens, values in zip(
            own, likeliest.indices.tolist(), likeliest.values.tolist(), strict=True
        )
    ]
