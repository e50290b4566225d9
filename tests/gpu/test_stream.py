"""Streaming on a CUDA device: the resident run's bits, and room for two layers."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from same_bits import digests, load

from xtune.kernels.heads import decoder_layers
from xtune.kernels.shelf import HostShelf
from xtune.kernels.shelved import make_shelved
from xtune.kernels.stream import shelve_layer, stream_layers
from xtune.kernels.stream_rest import DiskRest, HostRest, Rest, host_memory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CUDA: dict[str, Any] = {"device": "cuda", "attention": "eager"}
"""Flash attention's backward pass adds up in any order."""

PRETENDED = os.environ.get("XTUNE_GPU_TESTS") == "pretend"


def steps_of(method: str, place: str) -> int:
    """200 of the commonest; a device's time is dear, and a pretended one computes at once: tests/kernels has 200 on a processor."""
    if PRETENDED:
        return 12
    return 200 if (method, place) == ("nf4", "host") else 40


def rest_in(place: str, folder: Path, device: torch.device) -> Rest:
    return DiskRest(folder) if place == "disk" else HostRest(host_memory(device))


@pytest.mark.parametrize("place", ["host", "disk"])
@pytest.mark.parametrize("method", ["lora", "nf4", "int8"])
def test_bits_are_those_of_the_resident_run(method: str, place: str, tmp_path: Path) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    rest = rest_in(place, tmp_path, device)

    def shelve(base: torch.nn.Module) -> None:
        for layer in decoder_layers(base.requires_grad_(False)):
            shelve_layer(layer, rest)

    resident = load("bundled:demo", method, **CUDA)
    streamed = load("bundled:demo", method, before=shelve, **CUDA)
    stream_layers(streamed, device, rest).settle()
    for model in (resident, streamed):
        make_shelved(model, HostShelf())
    steps = steps_of(method, place)
    assert digests(streamed, steps) == digests(resident, steps)


def test_layers_at_rest_leave_the_device() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    model = load("bundled:demo", "lora", **CUDA)
    before = torch.cuda.memory_allocated()
    stream = stream_layers(model, device, HostRest(host_memory(device)))
    freed = before - torch.cuda.memory_allocated()
    assert freed == pytest.approx(stream.resting_bytes - stream.slot_bytes, rel=0.02)
    frozen = [
        p for layer in decoder_layers(model) for p in layer.parameters() if not p.requires_grad
    ]
    assert all(p.device.type == "cpu" and p.is_pinned() for p in frozen)
