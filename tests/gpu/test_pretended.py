"""The pretended device (tests/support/pretend_cuda.py) finds what it is there to find. Nothing here is about a GPU."""

import os

import pretend_cuda
import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        os.environ.get("XTUNE_GPU_TESTS") != "pretend", reason="about a pretended device"
    ),
]


def races() -> list[str]:
    """What was found so far, once."""
    found = list(pretend_cuda.watch.races)
    pretend_cuda.watch.races.clear()
    return found


@pytest.mark.parametrize("elsewhere", ["cpu", "cuda:0"])
def test_an_operation_on_two_devices_is_refused_in_torchs_words(elsewhere: str) -> None:
    here = torch.randn(3, 3, device="cuda", requires_grad=True)
    assert str(here.device) == f"cuda:{pretend_cuda.DEVICE}"
    with pytest.raises(RuntimeError, match="at least two devices, cuda:1 and"):
        here @ torch.ones(3, 3, device=elsewhere)
    assert torch.equal((here * torch.tensor(2.0)).detach(), here.detach() + here.detach())


def test_gradients_views_and_numbers_are_the_processors() -> None:
    weight = torch.randn(4, 4)
    results = []
    for device in ("cpu", "cuda"):
        leaf = weight.to(device, copy=True).requires_grad_()
        loss = (leaf @ leaf).relu()[1:].sum()
        loss.backward()
        assert leaf.grad is not None
        assert leaf.grad.device == leaf.device
        results.append(leaf.grad.cpu())
    assert torch.equal(*results)
    whole = torch.zeros(8, device="cuda")
    whole[2:6].view(2, 2).fill_(1)
    assert whole.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_host_memory_that_a_copy_has_not_reached_yet_is_a_race() -> None:
    there, here = torch.ones(4, device="cuda"), torch.empty(4, pin_memory=True)
    here.copy_(there, non_blocking=True)
    here.sum()
    assert len(races()) == 1
    torch.cuda.current_stream().synchronize()
    here.sum()
    assert races() == []
    pageable = torch.empty(4)
    pageable.copy_(there, non_blocking=True)  # which waits, whatever it is told
    pageable.sum()
    assert races() == []


def test_a_stream_must_wait_for_another_one_before_it_reads_or_writes() -> None:
    side, room = torch.cuda.Stream(), torch.empty(4, device="cuda")
    source = torch.ones(4).pin_memory()
    with torch.cuda.stream(side):
        room.copy_(source, non_blocking=True)
    arrived = side.record_event()
    room + 1
    assert len(races()) == 1
    torch.cuda.current_stream().wait_event(arrived)
    room + 1
    assert races() == []
    with torch.cuda.stream(side):
        room.copy_(source, non_blocking=True)  # and the last reader may still be at it
    assert len(races()) >= 1
    torch.cuda.synchronize()
    del room


def test_room_given_back_while_another_stream_may_use_it_is_a_race_unless_it_is_recorded() -> None:
    side, source = torch.cuda.Stream(), torch.ones(4).pin_memory()
    for records in (False, True):
        room = torch.empty(4, device="cuda")
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            room.copy_(source, non_blocking=True)
        if records:
            room.record_stream(side)
        del room
        assert len(races()) == (0 if records else 1)
    torch.cuda.synchronize()


def test_the_allocator_counts_and_has_a_limit() -> None:
    before = torch.cuda.memory_allocated()
    block = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_allocated() - before == block.nbytes
    total = torch.cuda.get_device_properties().total_memory
    torch.cuda.set_per_process_memory_fraction((before + (3 << 20)) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(4 << 20, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    del block
    assert torch.cuda.memory_allocated() == before
