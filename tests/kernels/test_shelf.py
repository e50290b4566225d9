"""Shelves give back what was put on them, last first, whatever memory it waits in."""

import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from factories import make_model, random_batch

from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.heads import decoder_layers
from xtune.kernels.install import make_frugal
from xtune.kernels.loss import LossModule
from xtune.kernels.shelf import DeviceShelf, HostShelf, Shelf, disk_shelf
from xtune.kernels.shelved import make_shelved


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


class Counted:
    """Makes room in host memory, and knows what of it is still there."""

    def __init__(self) -> None:
        self.made: list[tuple[int, weakref.ref[torch.Tensor]]] = []

    def __call__(self, nbytes: int) -> torch.Tensor:
        """Room (bytes,)."""
        room = torch.empty(nbytes, dtype=torch.uint8)
        self.made.append((nbytes, weakref.ref(room)))
        return room

    @property
    def there(self) -> list[int]:
        """Bytes of each room that somebody holds."""
        return [nbytes for nbytes, room in self.made if room() is not None]


WITH_SHELF: dict[str, Callable[[torch.nn.Module, Shelf], object]] = {
    "frugal": lambda model, shelf: make_frugal(model, FrugalSettings(tile_tokens=16), shelf),
    "shelved": make_shelved,
}


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("kind", WITH_SHELF)
def test_evaluation_takes_no_room_and_other_lengths_take_no_more(kind: str, ahead: bool) -> None:
    layers, counted = 3, Counted()
    model, plain = (make_model("qwen2", num_hidden_layers=layers) for _ in range(2))
    width = model.get_input_embeddings().weight.shape[1]
    WITH_SHELF[kind](model, HostShelf(counted, ahead=ahead))

    def loss(model: torch.nn.Module, tokens: int) -> torch.Tensor:
        batch = random_batch(1, tokens, seed=tokens)
        arguments = (batch.input_ids, batch.labels, batch.weights, batch.position_ids)
        found: torch.Tensor = LossModule(model, 64, 0)(*arguments)
        return found

    with torch.no_grad():
        for _ in range(3):
            loss(model, 20)
    assert counted.made == []
    for tokens in (20, 25, 21, 30, 22, 29, 28):
        loss(model, tokens).backward()
        loss(plain, tokens).backward()
        with torch.no_grad():
            loss(model, 40)
    assert counted.there == [30 * width * 4] * layers
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_room_comes_back_from_a_backward_pass_that_never_came() -> None:
    counted = Counted()
    shelf = HostShelf(counted)
    for tokens in (8, 6, 7, 9, 4):
        kept = [shelf.keep(torch.zeros(tokens)) for _ in range(2)]
        del kept
    assert counted.there == [9 * 4] * 2


@pytest.mark.parametrize("kind", WITH_SHELF)
def test_an_input_is_on_its_way_before_the_layer_computes(kind: str) -> None:
    seen: list[str] = []

    class Noting(DeviceShelf):
        def keep(self, tensor: torch.Tensor) -> torch.Tensor:
            seen.append("kept")
            return super().keep(tensor)

    model = make_model("qwen2")
    WITH_SHELF[kind](model, Noting())
    for layer in decoder_layers(model):
        layer.mlp.register_forward_pre_hook(lambda *_: seen.append("computed"))
    batch = random_batch(1, 12)
    LossModule(model, 64, 0)(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
    assert seen == ["kept", "computed"] * len(decoder_layers(model))
