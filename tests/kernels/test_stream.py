"""Streamed layers train as resident ones do, bit for bit, and never more than two of them are in the slots."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_model, make_plan, random_batch
from transformers import AutoTokenizer

from xtune.adapter.attach import attach
from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.heads import decoder_layers
from xtune.kernels.install import make_frugal
from xtune.kernels.loss import LossModule
from xtune.kernels.shelf import DeviceShelf, HostShelf
from xtune.kernels.shelved import make_shelved
from xtune.kernels.stream import LayerStream, shelve_layer, stream_layers
from xtune.kernels.stream_rest import DiskRest, HostRest, Rest, host_memory
from xtune.models.load import load_model

CPU = torch.device("cpu")

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"type": "lora", "rank": 4, "dropout": 0.1},
    "nf4": {"type": "qlora", "rank": 4},
    "nf4, one scale": {"type": "qlora", "rank": 4, "double_quantization": False},
    "int8": {"type": "qlora", "rank": 4, "quantization": "int8"},
    "dora": {"type": "lora", "rank": 4, "dora": True},
}

LAYERS: dict[str, Callable[[torch.nn.Module], object]] = {
    "checkpointed": lambda model: make_shelved(model, DeviceShelf()),
    "checkpoints on the host": lambda model: make_shelved(model, HostShelf()),
    "frugal": lambda model: make_frugal(model, FrugalSettings(tile_tokens=16)),
}


def rest_in(place: str, folder: Path) -> Rest:
    return HostRest(host_memory(CPU)) if place == "host" else DiskRest(folder / "layers")


def demo_model(method: str, *, bits: str = "bfloat16") -> torch.nn.Module:
    plan = make_plan(
        {"method": METHODS[method]},
        weight_dtype=bits,
        compute_dtype="bfloat16",
        autocast=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(plan_folder())
    return attach(load_model(plan), plan, tokenizer)


def plan_folder() -> Path:
    from xtune.demo.bundled import bundled_path

    return bundled_path("bundled:demo")


def trained(model: torch.nn.Module, steps: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Everything that a step leaves: loss, gradients, trained weights, optimizer states."""
    module = LossModule(model, 64, 0).train()
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    for step in range(steps):
        batch = random_batch(2, 24 + step % 5, seed=step)
        torch.manual_seed(step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = module(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
        loss.backward()
        yield f"loss {step}", loss.detach()
        for name, each in parameters.items():
            assert each.grad is not None
            yield f"gradient {step} {name}", each.grad
        optimizer.step()
        optimizer.zero_grad()
    for name, each in parameters.items():
        yield name, each.detach()
        for state, value in optimizer.state[each].items():
            yield f"{state} of {name}", value


def digests(model: torch.nn.Module, steps: int) -> dict[str, str]:
    """The bytes of all that, as digests: 200 steps' gradients would fill the memory."""
    return {
        name: hashlib.sha256(value.contiguous().view(torch.uint8).numpy()).hexdigest()
        if value.ndim
        else repr(value.item())
        for name, value in trained(model, steps)
    }


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("place", ["host", "disk"])
@pytest.mark.parametrize("method", METHODS)
def test_bits_are_those_of_the_resident_run(
    method: str, place: str, layers: str, tmp_path: Path
) -> None:
    resident, streamed = demo_model(method), demo_model(method)
    stream = stream_layers(streamed, CPU, rest_in(place, tmp_path))
    for model in (resident, streamed):
        LAYERS[layers](model)
    expected = digests(resident, 20)
    assert digests(streamed, 20) == expected
    assert stream.fetched > 20 * 8
