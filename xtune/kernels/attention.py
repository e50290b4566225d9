"""Causal attention of packed rows without a mask of tokens times tokens: document by document, windows in blocks.

transformers' sdpa isolates the samples of a packed row by a mask of a byte for every pair of tokens, and its
softcapped attention (Gemma 2) holds every score of every head. Here each sample is a call of its own, a sliding
window is cut into blocks of queries that see only their own stretch of keys, and capped scores exist a block
at a time. Registered in transformers as the attention implementation `NAME`, so that any of its models that
asks for its attention by name can use it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any
from weakref import ref

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface

NAME = "xtune_blockwise"

SCORE_BYTES = 2**26
"""Scores of a softcapped block that exist at one time, in float32: 64 MiB."""

FEWEST_QUERIES = 128
"""Queries of a block at least, however small the window or large the scores."""

Documents = tuple[tuple[int, int, int], ...]
"""Row, first token and end of every sample of a batch."""


@dataclass(frozen=True)
class AttentionSettings:
    """What a layer asks of its attention besides queries, keys and values."""

    scaling: float | None = None
    """Factor of the scores; None: one over the root of the head size."""

    window: int | None = None
    """Tokens that a query sees, itself included; None: all before it."""

    softcap: float | None = None
    dropout: float = 0.0
    sinks: torch.Tensor | None = None
    """(heads,) A score for each head that takes part in the softmax and stands for no value (gpt-oss)."""

    def of_heads(self, heads: slice) -> "AttentionSettings":
        """The same for some of the query heads."""
        return self if self.sinks is None else replace(self, sinks=self.sinks[heads])


class UnsupportedAttentionError(ValueError):
    """A layer asks for what `attend` does not know; the message names it."""


_IGNORED_OPTIONS = frozenset(["position_ids", "use_cache", "output_attentions", "is_causal"])
"""What transformers' layers hand on that changes nothing for causal training without a cache."""


def settings_of(options: dict[str, Any]) -> AttentionSettings:
    """The settings among the keyword arguments that a transformers layer gives to its attention.

    Raises:
        UnsupportedAttentionError: There is an option that would change the result and is not known here.
    """
    known = {"scaling", "sliding_window", "softcap", "dropout", "s_aux"}
    unknown = sorted(
        name
        for name, value in options.items()
        if name not in known | _IGNORED_OPTIONS and value is not None and value is not False
    )
    if options.get("is_causal") is False:
        unknown.append("is_causal=False")
    if options.get("s_aux") is not None and options.get("softcap") is not None:
        unknown.append("sinks and a soft cap")
    if unknown:
        raise UnsupportedAttentionError(f"attention with {', '.join(unknown)}")
    return AttentionSettings(
        scaling=options.get("scaling"),
        window=options.get("sliding_window"),
        softcap=options.get("softcap"),
        dropout=options.get("dropout") or 0.0,
        sinks=options.get("s_aux"),
    )


class _Last:
    """The positions that were asked about last, and the answer: all layers of a model ask about the same tensor."""

    positions: ref[torch.Tensor] | None = None
    documents: Documents | None = None


def documents_of(position_ids: torch.Tensor) -> Documents | None:
    """Where samples begin and end, from positions (rows, tokens) that restart; None: each row is one sample.

    Reads the positions, which on a GPU waits for them, once for every tensor.
    """
    if _Last.positions is None or _Last.positions() is not position_ids:
        _Last.positions, _Last.documents = ref(position_ids), _find_documents(position_ids)
    return _Last.documents


def _find_documents(position_ids: torch.Tensor) -> Documents | None:
    restarts = (position_ids[:, 1:] != position_ids[:, :-1] + 1).nonzero().tolist()
    if not restarts:
        return None
    rows, tokens = position_ids.shape
    edges: list[list[int]] = [[0] for _ in range(rows)]
    for row, before in restarts:
        edges[row].append(before + 1)
    return tuple(
        (row, start, end)
        for row, starts in enumerate(edges)
        for start, end in pairwise([*starts, tokens])
    )


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    documents: Documents | None,
    settings: AttentionSettings,
) -> torch.Tensor:
    """Causal attention within every sample.

    Args:
        query: (rows, heads, tokens, width).
        key: (rows, key heads, tokens, width); heads is a multiple of key heads.
        value: (rows, key heads, tokens, value width).
        documents: The samples; None: each row is one.
        settings: Scaling, window, soft cap, dropout, sinks.

    Returns:
        (rows, heads, tokens, value width).
    """
    if documents is None:
        return _attend_sample(query, key, value, settings)
    rows: list[list[torch.Tensor]] = [[] for _ in range(query.shape[0])]
    for row, start, end in documents:
        part = (slice(row, row + 1), slice(None), slice(start, end))
        rows[row].append(_attend_sample(query[part], key[part], value[part], settings))
    return torch.cat([torch.cat(parts, dim=2) for parts in rows])


def _attend_sample(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, settings: AttentionSettings
) -> torch.Tensor:
    tokens = query.shape[2]
    windowed = settings.window is not None and settings.window < tokens
    if not windowed and settings.softcap is None:
        return _sdpa(query, key, value, settings, causal=True, mask=None)
    block = _block_size(query, settings)
    parts = []
    for start in range(0, tokens, block):
        end = min(start + block, tokens)
        first = max(0, start - settings.window + 1) if settings.window is not None else 0
        part = (query[:, :, start:end], key[:, :, first:end], value[:, :, first:end])
        mask = _band(end - start, end - first, settings.window, query.device)
        if settings.softcap is None:
            parts.append(_sdpa(*part, settings, causal=False, mask=mask))
        elif torch.is_grad_enabled():
            parts.append(checkpoint(_capped, *part, mask, settings, use_reentrant=False))
        else:
            parts.append(_capped(*part, mask, settings))
    return torch.cat(parts, dim=2)


def _block_size(query: torch.Tensor, settings: AttentionSettings) -> int:
    """Queries of a block: about a window's worth, and of capped scores what `SCORE_BYTES` holds."""
    rows, heads, tokens, _ = query.shape
    keys = tokens if settings.window is None else min(tokens, 2 * settings.window)
    size = keys if settings.window is None else settings.window
    if settings.softcap is not None:
        size = min(size, SCORE_BYTES // (4 * rows * heads * keys))
    return max(FEWEST_QUERIES, size)


@lru_cache(maxsize=8)
def _band(queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Which of `keys` keys each of the last `queries` positions sees: (queries, keys), true where it does."""
    position = torch.arange(keys - queries, keys, device=device)[:, None]
    other = torch.arange(keys, device=device)[None]
    seen = other <= position
    return seen if window is None else seen & (other > position - window)


def _sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    settings: AttentionSettings,
    *,
    causal: bool,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    scale = settings.scaling
    if settings.sinks is not None:
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        query, key, value = _with_sinks(query, key, value, settings.sinks / scale, causal=causal)
        mask = None if mask is None else functional.pad(mask, (1, 0), value=True)
    attended = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=settings.dropout,
        is_causal=causal,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return attended[:, :, 1:] if causal and settings.sinks is not None else attended


def _with_sinks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sinks: torch.Tensor,
    *,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One key more, the first, with each head's sink as its score and nothing as its value; so any kernel has sinks.

    Queries end in their head's sink, this key in 1 and all others in 0. A causal kernel counts from the beginning, so that
    there is one query more as well, whose result is for nobody.
    """
    rows, heads, tokens, _ = query.shape
    score = sinks.to(query.dtype).view(1, heads, 1, 1).expand(rows, heads, tokens, 1)
    query = torch.cat([query, score], dim=-1)  # (rows, heads, tokens, width + 1)
    if causal:
        query = functional.pad(query, (0, 0, 1, 0))
    sink = functional.pad(torch.zeros_like(key[:, :, :1]), (0, 1), value=1.0)
    key = torch.cat([sink, functional.pad(key, (0, 1))], dim=2)  # (rows, key heads, 1 + keys, ...)
    return query, key, functional.pad(value, (0, 0, 1, 0))


def _capped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    settings: AttentionSettings,
) -> torch.Tensor:
    """Attention whose scores are softcap * tanh(score / softcap) before the mask, as Gemma 2 caps them."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(repeats, dim=1) for each in (key, value))
    scaling = query.shape[-1] ** -0.5 if settings.scaling is None else settings.scaling
    scores = (query @ key.transpose(2, 3)) * scaling  # (rows, heads, queries, keys)
    if settings.softcap is not None:
        scores = torch.tanh(scores / settings.softcap) * settings.softcap
    scores = scores.masked_fill(~mask, -torch.inf)
    weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return functional.dropout(weights, p=settings.dropout) @ value


Lifted = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, AttentionSettings], torch.Tensor]
"""What stands in for the attention of a layer while the layer is run in parts."""


class _Stand:
    """Holds what stands in for attention, if anything does."""

    lifted: Lifted | None = None


def stand_in(lifted: Lifted | None) -> Lifted | None:
    """Put something in attention's place, None to put attention back; returns what was there."""
    before, _Stand.lifted = _Stand.lifted, lifted
    return before


def blockwise_attention(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """`attend` as transformers calls an attention implementation; returns (rows, tokens, heads, value width).

    Raises:
        UnsupportedAttentionError: For a mask, a cache, or an option that is not known.
    """
    if attention_mask is not None:
        raise UnsupportedAttentionError("attention with a mask")
    settings = settings_of(options)
    if _Stand.lifted is not None:
        attended = _Stand.lifted(query, key, value, settings)
    else:
        if query.shape[2] != key.shape[2]:
            raise UnsupportedAttentionError("attention with a cache")
        positions = options.get("position_ids")
        documents = None if positions is None else documents_of(positions)
        attended = attend(query, key, value, documents=documents, settings=settings)
    return attended.transpose(1, 2), None


AttentionInterface.register(NAME, blockwise_attention)
