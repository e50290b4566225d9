"""Embedding and head in host memory on a CUDA device: the same numbers, and the room of two slices."""

from typing import Any

import pytest

pytestmark = pytest.mark.gpu

VOCAB, HIDDEN, ROWS, TOKENS = 32_768, 1024, 2048, 512


@pytest.fixture(autouse=True)
def device() -> Any:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.device("cuda", torch.cuda.current_device())


def test_rows_from_the_host_are_those_of_the_table_again_and_again(device: Any) -> None:
    import torch

    from xtune.kernels.embedding import keep_embedding_on_host

    torch.manual_seed(0)
    plain = torch.nn.Embedding(VOCAB, HIDDEN, dtype=torch.bfloat16, device=device)
    plain.requires_grad_(False)
    table = plain.weight.cpu()
    away = torch.nn.Embedding(1, HIDDEN, dtype=torch.bfloat16)
    keep_embedding_on_host(away, table, device)
    batches = [torch.randint(0, VOCAB, (2, 300 + 40 * step), device=device) for step in range(12)]
    # the buffer of one batch is filled again while the last is still copied
    found = [away(ids) for ids in batches]
    for ids, rows in zip(batches, found, strict=True):
        assert torch.equal(rows, plain(ids))


@pytest.mark.parametrize("form", ["host", "nf4", "int8"])
def test_a_head_in_slices_gives_the_plain_loss_and_needs_two_slices(device: Any, form: str) -> None:
    import torch

    from xtune.kernels.cross_entropy import LogitTransform, linear_cross_entropy
    from xtune.kernels.head_loss import sliced_cross_entropy
    from xtune.kernels.head_slices import HostMatrix, Int8Matrix, Nf4Matrix, SlicedHead
    from xtune.kernels.stream_rest import host_memory

    torch.manual_seed(0)
    weight = torch.randn(VOCAB, HIDDEN, dtype=torch.bfloat16) * 0.05
    if form == "host":
        kept = host_memory(device)(weight.nbytes).view(weight.dtype).view(weight.shape)
        matrix: Any = HostMatrix(kept.copy_(weight), device, ROWS)
    else:
        matrix = (Nf4Matrix if form == "nf4" else Int8Matrix)(weight, device, ROWS)
    head = torch.nn.Linear(HIDDEN, VOCAB, bias=False, dtype=torch.bfloat16, device=device)
    head.weight = torch.nn.Parameter(
        torch.cat([part.clone() for part in matrix.slices()]), requires_grad=False
    )
    hidden = torch.randn(TOKENS, HIDDEN, dtype=torch.bfloat16, device=device)
    labels = torch.randint(0, VOCAB, (TOKENS,), device=device)
    weights = torch.rand(TOKENS, device=device)
    options: dict[str, Any] = {"chunk_tokens": 32, "transform": LogitTransform()}
    plain, sliced = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    expected = linear_cross_entropy(plain, head, labels, weights, **options)
    expected.backward()
    del head
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):  # slots are let go and taken again
        sliced.grad = None
        found = sliced_cross_entropy(sliced, SlicedHead(matrix, None), labels, weights, **options)
        found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)
    assert plain.grad is not None
    assert sliced.grad is not None
    distance = (sliced.grad - plain.grad).float().norm() / plain.grad.float().norm()
    assert distance < 0.02
    slots = 2 * ROWS * HIDDEN * 2
    logits = 12 * 32 * VOCAB
    sums = TOKENS * HIDDEN * (4 + 2 + 2 + 2)
    assert torch.cuda.max_memory_allocated() - before < 1.1 * (slots + logits + sums)
