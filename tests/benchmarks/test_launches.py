"""`benchmarks.launches`: what counts as work, and that no step asks for more of it than plain transformers and PEFT."""

import pytest
import torch

from benchmarks.launches import Launches, cells, launches, main

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def test_work_is_counted_and_views_and_empty_tensors_are_not() -> None:
    left, right = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4)
    with Launches() as forward:
        product = left @ right.T.reshape(16).view(4, 4) + torch.empty(4, 4)
    # a transposed matrix is copied when it is laid out in one row
    assert forward.count == {"clone": 1, "mm": 1, "add": 1}
    # three matrices of 16 numbers of 4 bytes; the copy two
    assert forward.bytes == {"clone": 128, "mm": 192, "add": 192}
    assert forward.products == {"mm": 2 * 4 * 4 * 4}
    with Launches() as backward:
        product.backward(torch.ones(4, 4))
    # of the sum's two gradients one is wanted, and of the product's too
    assert backward.count == {"ones": 1, "mm": 1}


def test_a_step_with_nothing_offloaded_asks_for_no_more_than_a_plain_one() -> None:
    device = torch.device("cpu")
    found = {cell.stack: [launches(cell, layers, device) for layers in (1, 2)] for cell in cells()}
    for what in ("count", "bytes", "products"):
        totals = {
            name: [getattr(each, what).total() for each in both] for name, both in found.items()
        }
        (ours_one, ours_two), (plain_one, plain_two) = totals["ours"], totals["plain"]
        assert ours_two - ours_one <= plain_two - plain_one, what  # a layer
        # all of Llama-3.1-8B; the loss in four chunks is what ours has beside the layers
        whole = [one + 31 * (two - one) for one, two in totals.values()]
        assert whole[0] < whole[1], what


def test_without_a_device_it_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
