"""Attention on a CUDA device: never by arithmetic written out, with every score of every head, and the same as on a processor."""

import os

import pytest
import torch
from factories import make_model, random_batch
from torch.nn.attention import SDPBackend, sdpa_kernel

from xtune.kernels.attention import AttentionSettings, attend, forget_masks
from xtune.models.fused_attention import prefer_fused

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(
        os.environ.get("XTUNE_GPU_TESTS") == "pretend", reason="the fused kernels are CUDA's own"
    ),
]

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]

TOLERANCES = {torch.float32: 2e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}


def attended(
    inputs: list[torch.Tensor], device: str, dtype: torch.dtype, asked: AttentionSettings
) -> list[torch.Tensor]:
    """Output and gradients, on a processor in float64."""
    placed = [each.to(device, dtype).requires_grad_() for each in inputs]
    sinks = None if asked.sinks is None else asked.sinks.to(device)
    settings = AttentionSettings(window=asked.window, sinks=sinks)
    found = attend(*placed, documents=((0, 0, 700), (0, 700, 1003)), settings=settings)
    slope = torch.linspace(-1, 1, found.numel()).view_as(found).to(device, dtype)
    results = [found, *torch.autograd.grad(found, placed, slope)]
    return [each.double().cpu() for each in results]


@pytest.mark.parametrize("key_heads", [1, 2])
@pytest.mark.parametrize("width", [64, 256])
@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("window", [None, 150])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_fused_kernel_takes_it(
    dtype: torch.dtype, window: int | None, sinks: bool, width: int, key_heads: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(1, heads, 1003, width, generator=generator).to(dtype)
        for heads in (8, key_heads, key_heads)
    ]
    scores = torch.randn(8, generator=generator) if sinks else None
    settings = AttentionSettings(window=window, sinks=scores)
    expected = attended(inputs, "cpu", torch.float64, settings)
    with sdpa_kernel(FUSED):  # "No available kernel", were it the other
        found = attended(inputs, "cuda", dtype, settings)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= TOLERANCES[dtype] * other.abs().max()


def test_whole_layers_get_a_fused_kernel_in_float32_too() -> None:
    model = make_model("qwen2", attn_implementation="sdpa").cuda().train()
    assert model.config.num_attention_heads > model.config.num_key_value_heads
    prefer_fused("cuda", "float32")
    try:
        with sdpa_kernel(FUSED):
            ids = random_batch(1, 40).input_ids.cuda()
            model(input_ids=ids, use_cache=False).logits.sum().backward()
    finally:
        prefer_fused("cuda", "bfloat16")


@pytest.mark.parametrize("window", [None, 512])
def test_no_score_of_all_tokens_exists(window: int | None) -> None:
    """A group of eight heads over 8,192 tokens in float32, which flash attention does not take: 2 GiB, were they written out."""
    forget_masks()
    inputs = [
        torch.randn(1, heads, 8192, 64, device="cuda", requires_grad=True) for heads in (8, 1, 1)
    ]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    attend(*inputs, documents=None, settings=AttentionSettings(window=window)).sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 256 * 2**20
