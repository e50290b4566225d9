"""Keys and values of several rows in one cache: rows join and leave, padding on the left comes and goes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

JOINABLE = (DynamicLayer, DynamicSlidingWindowLayer)
"""Exactly these layers hold nothing but keys and values by place; states of linear attention, say, cannot be padded."""


def is_joinable(cache: DynamicCache) -> bool:
    """Whether rows of different length may share the cache; those of other models are answered one by one."""
    return bool(cache.layers) and all(type(layer) in JOINABLE for layer in cache.layers)


def join(first: DynamicCache, second: DynamicCache) -> None:
    """Put the rows of a second cache below those of the first, the shorter one padded on the left."""
    for mine, other in zip(_layers(first), _layers(second), strict=True):
        if not mine.is_initialized:  # layers that share another's keys hold none
            continue
        width = max(mine.get_seq_length(), other.get_seq_length())
        held = min(width, _window(mine))
        for name in ("keys", "values"):
            padded = [
                pad(states, (0, 0, held - states.shape[-2], 0))
                for states in (getattr(mine, name), getattr(other, name))
            ]  # (rows, heads, held, size)
            setattr(mine, name, torch.cat(padded))
        if isinstance(mine, DynamicSlidingWindowLayer):
            mine.cumulative_length = width


def keep_rows(cache: DynamicCache, rows: Sequence[int]) -> None:
    """Leave only these rows."""
    for layer in _layers(cache):
        if layer.is_initialized:
            places = torch.tensor(rows, device=layer.keys.device)
            layer.keys = layer.keys.index_select(0, places)
            layer.values = layer.values.index_select(0, places)


def drop_left(cache: DynamicCache, width: int) -> None:
    """Take away places on the left that are padding in every row."""
    for layer in _layers(cache):
        if not layer.is_initialized:
            continue
        left = layer.get_seq_length() - width
        held = min(left, _window(layer))
        layer.keys, layer.values = layer.keys[..., -held:, :], layer.values[..., -held:, :]
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = left


def _layers(cache: DynamicCache) -> list[Any]:
    """The layers of a cache whose rows are joinable."""
    return list(cache.layers)


def _window(layer: Any) -> float:
    """Most places that a layer holds."""
    return (
        int(layer.sliding_window) - 1 if isinstance(layer, DynamicSlidingWindowLayer) else 1 << 62
    )
