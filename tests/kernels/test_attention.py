"""Blockwise attention against scores, a mask and a softmax written out in full."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from xtune.kernels import attention_blocks
from xtune.kernels.attention import (
    AttentionSettings,
    UnsupportedAttentionError,
    attend,
    attend_backward,
    attend_into,
    documents_of,
    for_every_head,
    forget_masks,
    settings_of,
)
from xtune.memory.blocks import ALIGNED


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
    wanted = torch.autograd.grad(expected, inputs, slope)
    for one, other in zip(torch.autograd.grad(found, inputs, slope), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    given = [each.detach().clone() for each in inputs[:3]]
    fixed = replace(asked, sinks=None if asked.sinks is None else asked.sinks.detach())
    asked_of = {"documents": documents_of(positions), "settings": fixed}
    room = torch.empty_like(expected.detach())
    attend_into(room, *given, **asked_of)
    torch.testing.assert_close(room, expected.detach(), rtol=1e-6, atol=1e-6)
    attend_backward(*given, slope, **asked_of)
    for one, other in zip(given, wanted, strict=False):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_the_backward_pass_drops_what_the_forward_pass_dropped(softcap: float | None) -> None:
    """Every block's, as autograd does that remembers them."""
    asked = AttentionSettings(window=150, dropout=0.5, softcap=softcap)
    heads = [torch.randn(1, count, 700, 8, dtype=torch.float64) for count in (4, 1, 1)]
    slope = torch.randn(1, 4, 700, 8, dtype=torch.float64)
    documents = ((0, 0, 300), (0, 300, 700))
    inputs = [each.clone().requires_grad_() for each in heads]
    torch.manual_seed(7)
    found = attend(*inputs, documents=documents, settings=asked)
    wanted = torch.autograd.grad(found, inputs, slope)
    room = torch.empty_like(slope)
    torch.manual_seed(7)
    attend_into(room, *heads, documents=documents, settings=asked)
    torch.testing.assert_close(room, found.detach())
    torch.manual_seed(7)
    attend_backward(*heads, slope, documents=documents, settings=asked)
    for one, other in zip(heads, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_key_head_serves_its_query_heads_without_a_copy() -> None:
    shared, two = torch.randn(1, 1, 5, 8), torch.randn(2, 2, 5, 8)
    found = for_every_head(shared, 4)
    assert torch.equal(found, shared.repeat_interleave(4, 1))
    assert (found.data_ptr(), found.stride(1)) == (shared.data_ptr(), 0)
    assert torch.equal(for_every_head(two, 6), two.repeat_interleave(3, 1))


class Calls(TorchDispatchMode):
    """What torch's attention kernels are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.Tensor, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        if "scaled_dot_product" in str(func):
            tensors = [*args, *kwargs.values()]
            self.found.append(tuple(each for each in tensors if isinstance(each, torch.Tensor)))
        return func(*args, **kwargs)


def test_all_blocks_of_a_window_share_one_mask() -> None:
    forget_masks()
    inputs = [torch.randn(1, heads, 700, 8, dtype=torch.bfloat16) for heads in (4, 1, 1)]
    documents = ((0, 0, 300), (0, 300, 700))
    with Calls() as calls:
        attend(*inputs, documents=documents, settings=AttentionSettings(window=150))
    masks = [each[3] for each in calls.found]
    assert len(masks) == 2 + 3  # blocks of 160 queries
    assert {each.untyped_storage().data_ptr() for each in masks} == {
        masks[0].untyped_storage().data_ptr()
    }
    assert all(
        each.dtype == torch.bfloat16 for each in masks
    )  # or torch would make another one of each
    # where CUDA's kernels read masks in pieces, rows and cuts begin with one
    assert all(each.stride() == (320, 1) and each.storage_offset() % ALIGNED == 0 for each in masks)
    assert masks[0].untyped_storage().nbytes() == 160 * 320 * 2
    forget_masks()
    assert attention_blocks._LastMask.mask is None


def test_blocks_of_capped_scores_keep_no_masks() -> None:
    inputs = [
        torch.randn(1, heads, 600, 8, requires_grad=True, dtype=torch.float64)
        for heads in (4, 1, 1)
    ]
    kept: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        attend(*inputs, documents=None, settings=AttentionSettings(window=150, softcap=5.0))
    assert kept
    assert not any(each.dtype == torch.bool for each in kept)


def test_sinks_leave_heads_that_flash_attention_takes() -> None:
    inputs = [torch.randn(1, heads, 40, 64, dtype=torch.bfloat16) for heads in (4, 1, 1)]
    with Calls() as calls:
        attend(*inputs, documents=None, settings=AttentionSettings(sinks=torch.zeros(4)))
    (found,) = calls.found
    assert [each.shape[-1] for each in found[:3]] == [80] * 3


def test_autocast_decides_the_type_before_the_kernel_is_chosen() -> None:
    inputs = [torch.randn(1, heads, 300, 8) for heads in (4, 1, 1)]
    with torch.autocast("cpu", dtype=torch.bfloat16), Calls() as calls:
        found = attend(*inputs, documents=None, settings=AttentionSettings(window=150))
    assert found.dtype == torch.bfloat16
    assert {each.dtype for call in calls.found for each in call[:4]} == {torch.bfloat16}


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
