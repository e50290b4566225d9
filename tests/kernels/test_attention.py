"""Blockwise attention against scores, a mask and a softmax written out in full."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.kernels.attention import (
    AttentionSettings,
    UnsupportedAttentionError,
    attend,
    documents_of,
    settings_of,
)


def written_out(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    positions: torch.Tensor,
    asked: AttentionSettings,
) -> torch.Tensor:
    """Every pair of tokens of a row: seen if it is no later, of the same sample, and in the window."""
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scaling = asked.scaling or query.shape[-1] ** -0.5
    scores = torch.einsum("bhid,bhjd->bhij", query, key) * scaling
    if asked.softcap is not None:
        scores = asked.softcap * torch.tanh(scores / asked.softcap)
    tokens = positions.shape[1]
    index = torch.arange(tokens)
    sample = (positions == 0).cumsum(1)
    seen = (index[:, None] >= index) & (sample[:, :, None] == sample[:, None])
    if asked.window is not None:
        seen = seen & (index[:, None] - index < asked.window)
    scores = scores.masked_fill(~seen[:, None], -torch.inf)
    if asked.sinks is not None:
        sinks = asked.sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        return torch.softmax(torch.cat([scores, sinks], -1), -1)[..., :-1] @ value
    return torch.softmax(scores, -1) @ value


@settings(max_examples=40, deadline=None)
@given(
    samples=st.lists(st.lists(st.integers(1, 200), min_size=1, max_size=4), min_size=1, max_size=2),
    window=st.none() | st.integers(1, 250),
    softcap=st.none() | st.floats(0.5, 30),
    scaling=st.none() | st.floats(0.05, 1),
    groups=st.sampled_from([(4, 4), (4, 2), (4, 1)]),
    sinks=st.none() | st.lists(st.floats(-4, 9), min_size=4, max_size=4),
)
def test_attend_is_masked_softmax(
    samples: list[list[int]],
    window: int | None,
    softcap: float | None,
    scaling: float | None,
    groups: tuple[int, int],
    sinks: list[float] | None,
) -> None:
    tokens = max(sum(row) for row in samples)
    rows = [
        torch.cat([torch.arange(each) for each in [*row, tokens - sum(row)]]) for row in samples
    ]
    positions = torch.stack(rows)
    generator = torch.Generator().manual_seed(0)
    heads, key_heads = groups
    shapes = ((heads, 8), (key_heads, 8), (key_heads, 6))
    inputs = [
        torch.randn(len(rows), count, tokens, width, generator=generator, dtype=torch.float64)
        for count, width in shapes
    ]
    for each in inputs:
        each.requires_grad_()
    asked = AttentionSettings(scaling=scaling, window=window, softcap=softcap)
    if sinks is not None:
        scores = torch.tensor(sinks, dtype=torch.float64, requires_grad=True)
        asked = replace(asked, softcap=None, sinks=scores)
        inputs.append(scores)
    found = attend(*inputs[:3], documents=documents_of(positions), settings=asked)
    expected = written_out(*inputs[:3], positions, asked)
    torch.testing.assert_close(
        found, expected, rtol=1e-6, atol=1e-6
    )  # softmax of capped scores is float32
    slope = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(found, inputs, slope),
        torch.autograd.grad(expected, inputs, slope),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_documents_are_where_positions_restart() -> None:
    assert documents_of(torch.arange(5)[None]) is None
    packed = torch.tensor([[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]])
    assert documents_of(packed) == ((0, 0, 3), (0, 3, 5), (1, 0, 1), (1, 1, 5))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"alibi": torch.zeros(2)}, "alibi"),
        ({"is_causal": False}, "is_causal=False"),
        ({"s_aux": torch.zeros(2), "softcap": 5.0}, "sinks and a soft cap"),
    ],
)
def test_an_unknown_option_is_named(options: dict[str, object], name: str) -> None:
    with pytest.raises(UnsupportedAttentionError, match=name):
        settings_of(options)
