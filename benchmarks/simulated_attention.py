"""Attention whose values are not as wide as its queries, as CUDA's memory-efficient kernel has it, and no numbers; attends nothing.

Flash attention takes heads of one width, so that of latent attention (DeepSeek) a GPU runs the memory-efficient kernel; a CPU would
write every score out. What the kernel has is taken to be this (torch's `attention_backward.cu` and `kernel_backward.h`, from memory: neither
read again nor measured): what it gives lies token by token, and so do the gradients that it makes; inside are float32 sums of the queries'
gradients, of wide heads also of the keys' and the values', and the product of what it gave and its gradient, added up by head.
"""

from typing import Any

import torch
from torch.nn import functional

WIDEST_IN_REGISTERS = 128

_torch_attention = functional.scaled_dot_product_attention


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    *arguments: Any,
    **options: Any,
) -> torch.Tensor:
    """Torch's own where all heads are as wide, (rows, heads, tokens, value width); of dropout a GPU's kernels keep a seed alone."""
    options.pop("dropout_p", None)
    if query.shape[-1] == value.shape[-1]:
        return _torch_attention(query, key, value, attn_mask, *arguments, **options)
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        query, key, value = (each.to(kind) for each in (query, key, value))
    mask = None if attn_mask is None else attn_mask.to(query.dtype)
    output: torch.Tensor = _Efficient.apply(query, key, value, mask)  # type: ignore[no-untyped-call]
    return output


class _Efficient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: torch.Tensor | None) -> torch.Tensor:
        query, _, value, _ = inputs
        assert query is not None and value is not None  # noqa: PT018 - for the type checker
        rows, heads, tokens, _ = query.shape
        output = _by_token(query, value.shape[-1])
        sums = query.new_empty(rows, heads, -(-tokens // 32) * 32, dtype=torch.float32)
        ctx.save_for_backward(*inputs, output, sums)
        return output

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *_ = ctx.saved_tensors
        rows, heads, tokens, width = query.shape
        given = tuple(_by_token(each, each.shape[-1]) for each in (query, key, value))
        float32 = {"dtype": torch.float32}
        inside = [query.new_empty(rows, heads, tokens, -(-width // 32) * 32, **float32)]
        inside.append(query.new_empty(rows, heads, tokens, **float32))
        if width > WIDEST_IN_REGISTERS and query.element_size() < 4:
            inside += [torch.empty_like(each, **float32) for each in (key, value)]
        del inside
        return *given, None


def _by_token(like: torch.Tensor, width: int) -> torch.Tensor:
    rows, heads, tokens, _ = like.shape
    return like.new_empty(rows, tokens, heads, width).transpose(1, 2)
