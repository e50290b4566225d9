"""One block of causal attention: some queries of a sample and the keys that they see, in a sliding window, capped, with sinks.

Which blocks there are is for `xtune.kernels.attention`, as it is for how long their results are kept.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from xtune.memory.blocks import (
    Block,
    aligned,
    capped_blocks,
    keys_before,
    window_block,
    window_blocks,
)


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


def blocks_of(query: torch.Tensor, settings: AttentionSettings) -> list[Block]:
    """The blocks of samples whose queries are (rows, heads, tokens, width): of one sample in each row."""
    rows, heads, tokens, _ = query.shape
    if settings.softcap is not None:
        return capped_blocks(tokens, settings.window, rows * heads)
    if settings.window is not None and settings.window < tokens:
        return window_blocks(tokens, settings.window)
    return [Block(0, 0, tokens)]


def attend_block(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    settings: AttentionSettings,
    block: Block,
) -> torch.Tensor:
    """What a block's queries see.

    Args:
        query: (rows, heads, block's queries, width).
        key: (rows, key heads, block's keys, width); heads is a multiple of key heads.
        value: (rows, key heads, block's keys, value width).
        settings: Scaling, window, soft cap, dropout, sinks.
        block: Where in their sample they are.

    Returns:
        (rows, heads, block's queries, value width).
    """
    query, key, value = (as_computed(each) for each in (query, key, value))
    if settings.softcap is not None:
        return _capped(query, key, value, settings)
    window, own = settings.window, block.end - block.start
    if window is None or (block.first == block.start and own <= window):
        return _sdpa(query, key, value, settings, causal=True, mask=None)
    before = keys_before(window)
    mask = _window_mask(window_block(window), window, query)
    shown = mask[:own, block.first - block.start + before : own + before]
    return _sdpa(query, key, value, settings, causal=False, mask=shown)


def as_computed(tensor: torch.Tensor) -> torch.Tensor:
    """In the type to which autocast would cast it: which kernels take it, and what a mask must be, hangs on that."""
    kind = tensor.device.type
    if not torch.is_autocast_enabled(kind) or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(kind))


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
    before = keys_before(window)
    with torch.inference_mode(False):
        position = torch.arange(before, before + block, device=device)[:, None]
        other = torch.arange(before + block, device=device)[None]
        hidden = (other > position).logical_or_(other <= position - window)
        mask = torch.zeros(hidden.shape, dtype=query.dtype, device=device)
        mask.masked_fill_(hidden, -torch.inf)
    _LastMask.asked, _LastMask.mask = asked, mask
    return mask


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
    whole = aligned(max(width + 1, value.shape[-1]))
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
