"""Activations give what they read, also where autocast computes them in float32."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PhiConfig, PhiForCausalLM
from transformers.activations import NewGELUActivation

from xtune.models.activations import narrow_activations


class PowInFloat32(TorchFunctionMode):
    """What CUDA's autocast does with `pow`, by its list of operations ("CUDA Ops that can autocast to float32"); a processor's does not."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        if func is torch.pow:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


def test_an_activation_that_autocast_computes_in_float32_gives_what_it_read() -> None:
    plain, narrow = NewGELUActivation(), NewGELUActivation()
    narrow_activations(narrow)
    read = torch.linspace(-3.0, 3.0, 101, dtype=torch.bfloat16)
    with PowInFloat32():
        wide, found = plain(read), narrow(read)
    assert wide.dtype == torch.float32
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wide.to(torch.bfloat16))


def test_those_of_a_model_are_found_and_its_numbers_stay() -> None:
    torch.manual_seed(0)
    model = PhiForCausalLM(
        PhiConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
        )
    )  # drops nothing out
    ids = torch.arange(10)[None]
    before = model(ids).logits
    narrow_activations(model)
    assert sum(bool(each._forward_hooks) for each in model.modules()) == 2
    assert torch.equal(model(ids).logits, before)
