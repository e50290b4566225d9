"""Modules trained in full beside an adapter are held in float32 on a 16-bit base: smaller updates would round to nothing."""

from typing import Any

import torch
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

HALF = frozenset({torch.bfloat16, torch.float16})


def widen_saved_modules(model: nn.Module) -> bool:
    """Turns the trained copies of PEFT's `modules_to_save` into float32, with casts around each.

    Returns:
        Whether there was anything to widen.
    """
    widened = False
    for wrapper in model.modules():
        if not isinstance(wrapper, ModulesToSaveWrapper):
            continue
        dtype = next(wrapper.original_module.parameters()).dtype
        if dtype not in HALF:
            continue
        for copy in wrapper.modules_to_save.values():
            for tensor in (*copy.parameters(), *copy.buffers()):
                tensor.data = tensor.data.float() if tensor.is_floating_point() else tensor.data
            copy.register_forward_pre_hook(_widen_inputs)
            copy.register_forward_hook(_Narrow(dtype))
            widened = True
    return widened


def _widen_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    del module
    return tuple(
        value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for value in inputs
    )


class _Narrow:
    """A forward hook that returns to the type of the layers around."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __call__(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        del module, inputs
        return output.to(self.dtype)
