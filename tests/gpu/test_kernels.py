"""Pieces that only a CUDA device can show: paged states, resting 4-bit layers, room that is given back."""

import copy
import gc
import os
from pathlib import Path

import pytest
import torch
from factories import make_plan, random_batch
from same_bits import METHODS, load
from torch import nn

from xtune.kernels.head_slices import HostMatrix
from xtune.kernels.heads import decoder_layers
from xtune.kernels.loss import LossModule
from xtune.kernels.shelf import HostShelf
from xtune.kernels.shelved import make_shelved
from xtune.kernels.stream import LayerStream, shelve_layer, stream_layers
from xtune.kernels.stream_rest import DiskRest, HostRest, Rest, host_memory
from xtune.train.optimizer import build_optimizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


@pytest.mark.skipif(
    os.environ.get("XTUNE_GPU_TESTS") == "pretend", reason="paged memory is CUDA's own"
)
@pytest.mark.parametrize("name", ["paged_adamw", "paged_adamw_8bit", "paged_lion_8bit"])
def test_restored_states_are_paged_too(name: str, device: torch.device) -> None:
    """Larger than the 100,000 numbers from which on bitsandbytes pages."""

    def optimizer(parameter: nn.Parameter) -> torch.optim.Optimizer:
        group = {
            "params": [parameter],
            "names": ["a"],
            "weight_decay": 0.0,
            "lr_scale": 1.0,
            "kind": "matrix",
        }
        plan = make_plan({"train": {"optimizer": name}}, device="cuda")
        return build_optimizer([group], plan)

    def step(parameter: nn.Parameter, made: torch.optim.Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        parameter.grad = torch.randn_like(parameter)
        made.step()
        torch.cuda.synchronize()

    first = nn.Parameter(torch.randn(512, 512, device=device))
    made = optimizer(first)
    step(first, made, 0)
    second = nn.Parameter(first.detach().clone())
    again = optimizer(second)
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    states = [each for key, each in again.state[second].items() if key in {"state1", "state2"}]
    assert states
    assert all(getattr(each, "is_paged", False) for each in states)
    for seed in (1, 2):
        step(first, made, seed)
        step(second, again, seed)
    assert torch.equal(first, second)


@pytest.mark.parametrize("place", ["host", "disk"])
def test_dora_reads_a_quantised_base_at_rest(
    place: str, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "start", {"type": "qlora", "rank": 4, "dora": True})
    rest: Rest = DiskRest(tmp_path) if place == "disk" else HostRest(host_memory(device))

    def shelve(base: nn.Module) -> None:
        for layer in decoder_layers(base.requires_grad_(False)):
            shelve_layer(layer, rest)
        streams.append(stream_layers(base, device, rest))

    streams: list[LayerStream] = []
    batch = random_batch(2, 24).to(device)
    losses = []
    for before in (None, shelve):
        model = load("bundled:demo", "start", before=before, device="cuda")
        if before is not None:
            streams[0].settle()
        make_shelved(model, HostShelf())
        module = LossModule(model, 64, 0).train()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = module(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
        loss.backward()
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)  # the processor computed the magnitudes


def test_passes_over_a_head_hold_no_more_than_one(device: torch.device) -> None:
    weight = host_memory(device)(64 * 2**20).view(torch.float32).view(-1, 1024)
    matrix = HostMatrix(weight, device, 2048)  # slots of 8 MiB
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    total = torch.zeros((), device=device)
    for _ in range(8):
        for part in matrix.slices():
            total += part.sum()
    assert torch.cuda.memory_reserved() - before <= 40 * 2**20
    assert torch.isfinite(total)


def test_layers_inputs_leave_no_more_room_behind_than_they_take(device: torch.device) -> None:
    """Reserved, which a limit counts, beside what is in use."""
    shelf = HostShelf(ahead=False)
    tensors = []
    for tokens in (8192, 4096, 8192, 6000, 8192):
        kept = [
            shelf.keep(torch.full((tokens, 1024), float(layer), device=device))
            for layer in range(4)
        ]
        tensors += [float(shelf.take(each).mean()) for each in reversed(kept)]
        del kept
    assert tensors == [3.0, 2.0, 1.0, 0.0] * 5
