"""Shelves give back what was put on them, last first, whatever memory it waits in."""

from pathlib import Path

import pytest
import torch

from xtune.kernels.shelf import DeviceShelf, HostShelf, Shelf, disk_shelf


def shelf_of(kind: str, folder: Path) -> Shelf:
    return {
        "device": DeviceShelf,
        "host": HostShelf,
        "host, one at a time": lambda: HostShelf(ahead=False),
        "disk": lambda: disk_shelf(folder / "scratch"),
    }[kind]()


@pytest.mark.parametrize("kind", ["device", "host", "host, one at a time", "disk"])
def test_the_same_bits_come_back(kind: str, tmp_path: Path) -> None:
    shelf = shelf_of(kind, tmp_path)
    for _ in range(3):  # buffers are used again
        tensors = [
            torch.randn(2, 7, 5, dtype=dtype) for dtype in (torch.float32, torch.bfloat16) * 2
        ]
        kept = [shelf.keep(each.clone()) for each in tensors]
        for tensor, each in zip(reversed(tensors), reversed(kept), strict=True):
            assert torch.equal(shelf.take(each), tensor)


@pytest.mark.parametrize("kind", ["host", "disk"])
def test_what_is_written_over_on_the_device_stays_as_it_was(kind: str, tmp_path: Path) -> None:
    shelf = shelf_of(kind, tmp_path)
    tensor = torch.ones(4)
    kept = shelf.keep(tensor)
    tensor.zero_()
    assert shelf.take(kept).tolist() == [1.0] * 4


def test_a_backward_pass_that_was_left_out_does_not_confuse_the_next() -> None:
    shelf = HostShelf()
    first = shelf.keep(torch.zeros(3))
    shelf.keep(torch.ones(3))
    assert shelf.take(first).tolist() == [0.0] * 3
    assert shelf.take(shelf.keep(torch.full((3,), 2.0))).tolist() == [2.0] * 3


def test_files_on_disk_leave_no_names(tmp_path: Path) -> None:
    shelf = disk_shelf(tmp_path / "scratch")
    kept = shelf.keep(torch.ones(1000))
    assert list((tmp_path / "scratch").iterdir()) == []
    assert float(shelf.take(kept).sum()) == 1000
