"""Causal attention of packed rows without a mask of tokens times tokens: document by document, windows in blocks.

transformers' sdpa isolates the samples of a packed row by a mask of a byte for every pair of tokens, and its
softcapped attention (Gemma 2) holds every score of every head. Here each sample is a call of its own, a sliding
window is cut into blocks of queries that see only their own stretch of keys, and capped scores exist a block
at a time. Registered in transformers as the attention implementation `NAME`, so that any of its models that
asks for its attention by name can use it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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

FEWEST_QUERIES, MOST_QUERIES = 128, 4096
"""Queries of a block, however small or large the window and the scores."""

ALIGNED = 16
"""CUDA's fused kernels read masks and heads in pieces of 8 numbers of 16 bits; masks are cut at multiples of twice that."""

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
    query, key, value = (_as_computed(each) for each in (query, key, value))
    if documents is None:
        return _attend_sample(query, key, value, settings)
    rows: list[list[torch.Tensor]] = [[] for _ in range(query.shape[0])]
    for row, start, end in documents:
        part = (slice(row, row + 1), slice(None), slice(start, end))
        rows[row].append(_attend_sample(query[part], key[part], value[part], settings))
    return torch.cat([torch.cat(parts, dim=2) for parts in rows])


def _as_computed(tensor: torch.Tensor) -> torch.Tensor:
    """In the type to which autocast would cast it: which kernels take it, and what a mask must be, hangs on that."""
    kind = tensor.device.type
    if not torch.is_autocast_enabled(kind) or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(kind))


def _attend_sample(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, settings: AttentionSettings
) -> torch.Tensor:
    window, tokens = settings.window, query.shape[2]
    if settings.softcap is not None:
        return _attend_capped(query, key, value, settings)
    if window is not None and window < tokens:
        return _attend_window(query, key, value, settings, window)
    return _sdpa(query, key, value, settings, causal=True, mask=None)


def _attend_window(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    settings: AttentionSettings,
    window: int,
) -> torch.Tensor:
    """Blocks of queries, each with the stretch of keys that it sees; all masks are cut from one."""
    size = window_block(window)
    before = _aligned(window - 1)  # keys before a block's own
    mask = _window_mask(size, window, query)
    parts = []
    for start in range(0, query.shape[2], size):
        end = min(start + size, query.shape[2])
        first = max(0, start - before)
        seen = mask[: end - start, first - start + before : end - start + before]
        part = (query[:, :, start:end], key[:, :, first:end], value[:, :, first:end])
        parts.append(_sdpa(*part, settings, causal=False, mask=seen))
    return torch.cat(parts, dim=2)


def window_block(window: int) -> int:
    """Queries of a block: about a window's worth."""
    return _aligned(min(MOST_QUERIES, max(FEWEST_QUERIES, window)))


def _aligned(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED


class _LastMask:
    """The mask that was asked for last, and for what: all windowed layers of a model ask for the same."""

    asked: tuple[object, ...] = ()
    mask: torch.Tensor | None = None


def forget_masks() -> None:
    """Free what is kept from one call of `attend` to the next."""
    _LastMask.asked, _LastMask.mask = (), None


def _window_mask(block: int, window: int, query: torch.Tensor) -> torch.Tensor:
    """(block, keys) What is added to the scores of a block's queries: 0 where they see, else -inf; the last keys are their own.

    Numbers rather than booleans, of which torch would make such numbers for each block anew, and keep them for the backward
    pass. Rows begin at a multiple of `ALIGNED`.
    """
    device = query.device
    # tensors without numbers are of one simulation only
    asked = (block, window, query.dtype, device, getattr(query, "fake_mode", None))
    if _LastMask.mask is not None and _LastMask.asked == asked:
        return _LastMask.mask
    before = _aligned(window - 1)
    with torch.inference_mode(False):
        position = torch.arange(before, before + block, device=device)[:, None]
        other = torch.arange(before + block, device=device)[None]
        hidden = (other > position).logical_or_(other <= position - window)
        mask = torch.zeros(hidden.shape, dtype=query.dtype, device=device)
        mask.masked_fill_(hidden, -torch.inf)
    _LastMask.asked, _LastMask.mask = asked, mask
    return mask


def _attend_capped(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, settings: AttentionSettings
) -> torch.Tensor:
    window, (rows, heads, tokens, _) = settings.window, query.shape
    keys = tokens if window is None else min(tokens, 2 * window)
    room = SCORE_BYTES // (4 * rows * heads * keys)
    size = max(FEWEST_QUERIES, min(tokens if window is None else window, room))
    parts = []
    for start in range(0, tokens, size):
        end = min(start + size, tokens)
        first = 0 if window is None else max(0, start - window + 1)
        part = (query[:, :, start:end], key[:, :, first:end], value[:, :, first:end])
        if torch.is_grad_enabled():
            parts.append(checkpoint(_capped, *part, settings, use_reentrant=False))
        else:
            parts.append(_capped(*part, settings))
    return torch.cat(parts, dim=2)


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
    scale, width = settings.scaling, value.shape[-1]
    if settings.sinks is not None:
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        query, key, value = _with_sinks(query, key, value, settings.sinks / scale, causal=causal)
        mask = None if mask is None else functional.pad(mask, (1, 0))
    heads = query.shape[1]
    if heads != key.shape[1] and not _shares_key_heads(query, key, value, settings, causal, mask):
        key, value = (for_every_head(each, heads) for each in (key, value))
    attended = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=settings.dropout,
        is_causal=causal,
        scale=scale,
        enable_gqa=heads != key.shape[1],
    )[..., :width]
    return attended[:, :, 1:] if causal and settings.sinks is not None else attended


def _shares_key_heads(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    settings: AttentionSettings,
    causal: bool,
    mask: torch.Tensor | None,
) -> bool:
    """Whether torch's kernel for these lets query heads share a key head.

    Of CUDA's fused kernels only flash attention does (torch 2.13); what it does not take would fall to arithmetic written out,
    with every score of every head in float32.
    """
    if query.device.type != "cuda":
        return True
    asked = torch.backends.cuda.SDPAParams(query, key, value, mask, settings.dropout, causal, True)
    return torch.backends.cuda.can_use_flash_attention(asked)


def for_every_head(each: torch.Tensor, heads: int) -> torch.Tensor:
    """Keys or values (rows, key heads, tokens, width) for every query head; of one key head no copy is made."""
    rows, own, tokens, width = each.shape
    shared = each[:, :, None].expand(rows, own, heads // own, tokens, width)
    return shared.flatten(1, 2)


def _with_sinks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sinks: torch.Tensor,
    *,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One key more, the first, with each head's sink as its score and nothing as its value; so any kernel has sinks.

    All are filled up to one width that flash attention takes.

    Queries end in their head's sink, this key in 1 and all others in 0. A causal kernel counts from the beginning, so that
    there is one query more as well, whose result is for nobody.
    """
    rows, heads, tokens, width = query.shape
    whole = _aligned(max(width + 1, value.shape[-1]))
    score = sinks.to(query.dtype).view(1, heads, 1, 1).expand(rows, heads, tokens, 1)
    query = torch.cat([query, score], dim=-1)
    query = functional.pad(query, (0, whole - width - 1, 1 if causal else 0, 0))
    sink = key.new_zeros(rows, key.shape[1], 1, whole)
    sink[..., width] = 1.0
    key = torch.cat([sink, functional.pad(key, (0, whole - width))], dim=2)
    value = functional.pad(value, (0, whole - value.shape[-1], 1, 0))
    return query, key, value  # (rows, heads, 1 + tokens, whole), or as many queries as before


def _capped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    settings: AttentionSettings,
) -> torch.Tensor:
    """Attention of a block whose scores are softcap * tanh(score / softcap) before the mask, as Gemma 2 caps them."""
    seen = _band(query.shape[2], key.shape[2], settings.window, query.device)
    repeats = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(repeats, dim=1) for each in (key, value))
    scaling = query.shape[-1] ** -0.5 if settings.scaling is None else settings.scaling
    scores = (query @ key.transpose(2, 3)) * scaling  # (rows, heads, queries, keys)
    if settings.softcap is not None:
        scores = torch.tanh(scores / settings.softcap) * settings.softcap
    scores = scores.masked_fill(~seen, -torch.inf)
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
