"""Layers whose checkpoints wait elsewhere give the very bits of layers that keep everything."""

from pathlib import Path

import pytest
import torch
from factories import make_model, make_plan, make_tokenizer

from xtune.adapter.attach import attach
from xtune.kernels.shelf import DeviceShelf, HostShelf, Shelf, disk_shelf
from xtune.kernels.shelved import make_shelved


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(3)
    ids = torch.randint(0, 250, (2, 24))
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    (hidden * torch.randn(hidden.shape)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("place", ["device", "host", "disk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_bits_are_those_of_plain_layers(
    place: str, dtype: torch.dtype, kind: str, tmp_path: Path
) -> None:
    shelf: Shelf = {
        "device": DeviceShelf,
        "host": HostShelf,
        "disk": lambda: disk_shelf(tmp_path),
    }[place]()
    model = make_model(kind).to(dtype)
    expected = gradients(model)
    assert make_shelved(model, shelf) == 2
    found = gradients(model)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def test_dropout_draws_what_it_draws_without_checkpoints() -> None:
    """Also where the first layers get no gradient, for nothing before their adapter is trained."""
    plan = make_plan({"method": {"type": "lora", "rank": 4, "dropout": 0.5}})
    model = attach(make_model("llama"), plan, make_tokenizer()).get_base_model()
    expected = gradients(model)
    make_shelved(model, HostShelf())
    found = gradients(model)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], each) for name, each in expected.items())
    assert any(bool(each.abs().sum() > 0) for name, each in found.items() if "lora_B" in name)


def test_what_a_layer_returns_besides_hidden_states_is_returned_as_far_as_it_is_kept() -> None:
    from xtune.kernels.replay import Rest

    states, rest = torch.ones(1, 2, 3), Rest()
    assert rest.with_states(states) is states
    assert rest.note((states, None, "as it is", torch.ones(2))) is states
    first, nothing, word, lost = rest.with_states(states)
    assert (first is states, nothing, word) == (True, None, "as it is")
    with pytest.raises(TypeError, match="NotKept"):
        states + lost
