"""Modules whose result has the type of their input, on every kind of device. Changes no sums: what is computed in float32 still is."""

from typing import Any

import torch
from torch import nn

_LIBRARY = "transformers.activations"


def narrow_activations(model: nn.Module) -> None:
    """Let every activation of transformers' own in a model give the type that it reads, in place.

    Those that are put together from other operations (Phi's `gelu_new`, by `pow`) give float32 under CUDA's autocast. A quantised
    layer gives the type of what it reads, so that behind one such block the hidden states of the whole model, and every
    layer's input that waits, would be twice as wide.
    """
    for module in model.modules():
        if type(module).__module__ == _LIBRARY:
            give_as_read(module)


def give_as_read(module: nn.Module) -> None:
    """Let a module give the type that it reads, where that has floating points; once is enough."""
    if _as_read not in module._forward_hooks.values():
        module.register_forward_hook(_as_read)


def _as_read(_module: nn.Module, given: tuple[Any, ...], result: Any) -> Any:
    read = given[0] if given else None
    if not isinstance(result, torch.Tensor) or not isinstance(read, torch.Tensor):
        return result
    if not read.is_floating_point():
        return result
    return result.to(read.dtype)
