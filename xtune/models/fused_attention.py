"""Sees to it that the sdpa attention of transformers' models is a fused kernel on CUDA. Computes nothing.

Torch falls back to arithmetic written out, in float32 with every score of every head, where no fused kernel takes what it is
asked, and no plan counts that. Of CUDA's kernels only flash attention lets query heads share a key head (torch 2.11 to 2.13);
transformers asks for it wherever there is no mask (`use_gqa_in_sdpa`), also where flash attention never runs.
"""

from typing import Any

import torch
from transformers.integrations import sdpa_attention

FLASH_CAPABILITY = (8, 0)
"""Ampere: what flash attention is written for."""

_shares_key_heads: Any = sdpa_attention.use_gqa_in_sdpa


def _repeats_key_heads(*_: object) -> bool:
    return False


def prefer_fused(device: str, compute_dtype: str) -> None:
    """Set what holds for the models of this process from now on.

    Args:
        device: Where they compute.
        compute_dtype: In what.
    """
    # cuDNN's attention, which torch prefers on some cards, plans anew for every length, in room that no plan counts
    torch.backends.cuda.enable_cudnn_sdp(False)
    capability = torch.cuda.get_device_capability() if device == "cuda" else None
    share_key_heads(runs_flash(capability, compute_dtype))


def runs_flash(capability: tuple[int, int] | None, compute_dtype: str) -> bool:
    """Whether flash attention is there for a device; None: it is no CUDA device, and its own kernels share key heads."""
    return capability is None or (capability >= FLASH_CAPABILITY and compute_dtype != "float32")


def share_key_heads(shares: bool) -> None:
    """Whether sdpa is asked to share key heads among query heads, or is given each query head its own copy."""
    untyped: Any = sdpa_attention
    untyped.use_gqa_in_sdpa = _shares_key_heads if shares else _repeats_key_heads
