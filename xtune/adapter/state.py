"""The trained tensors of a model as a dict and back, exactly: what a checkpoint stores of it. Not what a run ends with."""

from collections.abc import Mapping

import torch
from torch import nn

from xtune.errors import ModelError
from xtune.kernels.stream import forget_fetched


def trainable_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every trainable parameter once (a tied tensor under its first name), and all saved buffers in a full fine-tune.

    An adapter's factors are in it also where they are frozen: MiCA's B comes from a decomposition of the
    weights, which another machine, or another number of threads, may compute with other signs.

    The tensors share the model's memory and keep its types; copy them to keep a moment's values.
    """
    state = {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or ".lora_B." in name
    }
    if all(parameter.requires_grad for parameter in model.parameters()):
        stored = model.state_dict()
        state.update({name: stored[name] for name, _ in model.named_buffers() if name in stored})
    return state


def load_trainable_state(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Puts the tensors of `trainable_state` back, bit for bit; a copy of them that is on the device already is fetched again.

    Raises:
        ModelError: Names, shapes or types are not those of this model.
    """
    own = trainable_state(model)
    strange = sorted(set(own) ^ set(state))
    if strange:
        raise ModelError(
            f"The saved state and the model differ in {len(strange)} tensors, {strange[0]} among them.",
            advice="The recipe's method or targets changed since it was saved.",
        )
    for name, tensor in own.items():
        saved = state[name]
        if saved.shape != tensor.shape or saved.dtype != tensor.dtype:
            raise ModelError(
                f"The saved {name} is {saved.dtype} {tuple(saved.shape)}; the model's is {tensor.dtype} "
                f"{tuple(tensor.shape)}."
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    forget_fetched(model)
