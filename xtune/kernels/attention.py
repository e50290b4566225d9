"""Causal attention of packed rows without a mask of tokens times tokens: document by document, windows in blocks.

transformers' sdpa isolates the samples of a packed row by a mask of a byte for every pair of tokens, and its
softcapped attention (Gemma 2) holds every score of every head. Here each sample is a call of its own, a sliding
window is cut into blocks of queries that see only their own stretch of keys, and capped scores exist a block
at a time. Registered in transformers as the attention implementation `NAME`, so that any of its models that
asks for its attention by name can use it.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeAlias
from weakref import ref

import torch
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface

from xtune.kernels.attention_blocks import (
    AttentionSettings,
    as_computed,
    attend_block,
    blocks_of,
    for_every_head,
    forget_masks,
)
from xtune.memory.blocks import Block

__all__ = [
    "NAME",
    "AttentionSettings",
    "UnsupportedAttentionError",
    "attend",
    "attend_backward",
    "attend_into",
    "documents_of",
    "for_every_head",
    "forget_masks",
    "settings_of",
    "stand_in",
]

NAME = "xtune_blockwise"

Documents = tuple[tuple[int, int, int], ...]
"""Row, first token and end of every sample of a batch."""

Part: TypeAlias = tuple[slice, slice, slice]
"""Rows, heads and tokens."""


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
    query, key, value = (as_computed(each) for each in (query, key, value))
    if documents is None:
        return _attend_sample(query, key, value, settings)
    rows: list[list[torch.Tensor]] = [[] for _ in range(query.shape[0])]
    for part in _samples(documents):
        rows[part[0].start].append(_attend_sample(query[part], key[part], value[part], settings))
    return torch.cat([torch.cat(parts, dim=2) for parts in rows])


def _samples(documents: Documents | None) -> Iterator[Part]:
    """Where the samples of a batch are; those of rows of one each are together."""
    if documents is None:
        yield slice(None), slice(None), slice(None)
        return
    for row, start, end in documents:
        yield slice(row, row + 1), slice(None), slice(start, end)


def _attend_sample(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, settings: AttentionSettings
) -> torch.Tensor:
    capped = settings.softcap is not None and torch.is_grad_enabled()
    parts = []
    for block in blocks_of(query, settings):
        inputs = (query[_queries(block)], key[_keys(block)], value[_keys(block)])
        if capped:
            part = checkpoint(attend_block, *inputs, settings, block, use_reentrant=False)
        else:
            part = attend_block(*inputs, settings, block)
        parts.append(part)
    return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]


def _queries(block: Block) -> Part:
    return slice(None), slice(None), slice(block.start, block.end)


def _keys(block: Block) -> Part:
    return slice(None), slice(None), slice(block.first, block.end)


def attend_into(
    room: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    documents: Documents | None,
    settings: AttentionSettings,
) -> None:
    """The same without gradients, of which no more than a block exists beside the room for it.

    Args:
        room: (rows, heads, tokens, value width) What is written over; it may be the queries.
        query: As in `attend`, like all the others.
        key: As there.
        value: As there.
        documents: As there.
        settings: As there.
    """
    for part in _samples(documents):
        whole, queries, keys, values = room[part], query[part], key[part], value[part]
        for block, _ in _in_turn(queries, settings):
            inputs = (queries[_queries(block)], keys[_keys(block)], values[_keys(block)])
            whole[_queries(block)] = attend_block(*inputs, settings, block)


def attend_backward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    slope: torch.Tensor,
    *,
    documents: Documents | None,
    settings: AttentionSettings,
) -> None:
    """Write the gradients of `attend`'s queries, keys and values over these, of which no more than two blocks exist beside them.

    Blocks go in the order in which `attend_into` computed them, so that dropout draws the same numbers.

    Args:
        query: As in `attend`; becomes its gradient.
        key: As there; becomes its gradient.
        value: As there; becomes its gradient.
        slope: (rows, heads, tokens, value width) The gradient of what attention gave.
        documents: As in `attend`.
        settings: As there.
    """
    for part in _samples(documents):
        _sample_backward(query[part], key[part], value[part], slope[part], settings)


def _in_turn(query: torch.Tensor, settings: AttentionSettings) -> list[tuple[Block, int]]:
    """The blocks of a sample, each with the first key of the next, which for the last is the end of the sample."""
    blocks = blocks_of(query, settings)
    return list(zip(blocks, [*(each.first for each in blocks[1:]), query.shape[2]], strict=True))


def _sample_backward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    slope: torch.Tensor,
    settings: AttentionSettings,
) -> None:
    carried: tuple[torch.Tensor, ...] = ()
    for block, following in _in_turn(query, settings):
        of_query, *of_keys = _block_backward(query, key, value, slope, settings, block)
        query[_queries(block)] = of_query
        del of_query
        carried = tuple(
            _add_up(of_key, earlier, room[:, :, block.first : following])
            for of_key, earlier, room in zip(
                of_keys, carried or (None, None), (key, value), strict=True
            )
        )
        del of_keys


def _add_up(found: torch.Tensor, earlier: torch.Tensor | None, room: torch.Tensor) -> torch.Tensor:
    """Gradients of a block's keys with those that earlier blocks gave the first of them.

    The next blocks see some of these keys too. Of the others all gradients have come, and are written into their room; the rest
    is returned.
    """
    if earlier is not None:
        found[:, :, : earlier.shape[2]] += earlier
    whole = room.shape[2]
    room.copy_(found[:, :, :whole])
    return found[:, :, whole:]


def _block_backward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    slope: torch.Tensor,
    settings: AttentionSettings,
    block: Block,
) -> tuple[torch.Tensor, ...]:
    """The gradients of a block's queries, and of the keys and values that they see."""
    parts = (query[_queries(block)], key[_keys(block)], value[_keys(block)])
    of_query, of_key, of_value = (each.detach().requires_grad_() for each in parts)
    with torch.enable_grad():
        output = attend_block(of_query, of_key, of_value, settings, block)
    return torch.autograd.grad(output, (of_query, of_key, of_value), slope[_queries(block)])


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
