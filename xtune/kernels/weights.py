"""Whether a decoder layer's weights are at hand while it computes: always, unless its base is streamed. Moves nothing."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


class Weights:
    """A layer's weights, always on the device; what streams them says otherwise (`xtune.kernels.stream`)."""

    def here(self, *, backward: bool) -> AbstractContextManager[None]:
        """While it lasts the weights are on the device.

        Args:
            backward: Whether a backward pass goes through the layer meanwhile, so that the one before it is next.
        """
        del backward
        return nullcontext()

    @property
    def device(self) -> torch.device | None:
        """Where the layer computes, if its weights do not say."""
        return None

    def moving(self) -> Sequence[nn.Parameter]:
        """The parameters that are not always on the device."""
        return ()

    def seen(self, parameters: Sequence[nn.Parameter]) -> Sequence[nn.Parameter]:
        """The trained parameters whose gradients autograd gets; `given` is told of a backward pass's."""
        return parameters

    def given(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[torch.Tensor | None]
    ) -> Sequence[torch.Tensor | None]:
        """A backward pass's gradients for the parameters; returns those of the ones that are `seen`."""
        del parameters
        return gradients

    def listening(self) -> AbstractContextManager[Mapping[nn.Parameter, torch.Tensor | None]]:
        """While it lasts, gradients that autograd does not get are noted here, by parameter, and go nowhere else."""
        return nullcontext({})


_RESIDENT = Weights()
_NAME = "_weights_elsewhere"


def weights_of(layer: nn.Module) -> Weights:
    """The layer's weights."""
    found = vars(layer).get(_NAME)
    return found if isinstance(found, Weights) else _RESIDENT


def keep_elsewhere(layer: nn.Module, weights: Weights) -> None:
    """Let whoever computes with the layer ask these for its weights."""
    setattr(layer, _NAME, weights)


def names_elsewhere(model: nn.Module) -> list[str]:
    """Names of a model's parameters that are not always on the device."""
    moving = {id(each) for layer in model.modules() for each in weights_of(layer).moving()}
    return [name for name, each in model.named_parameters() if id(each) in moving]


ALIGNED = 64
"""Bytes: where torch's own memory begins at multiples of (c10's gAlignment), and what MKL asks for to give the same bits again."""


def align_weights(model: nn.Module) -> None:
    """Copy float32 weights that a processor multiplies with to where torch itself would have put them.

    Their products round by where a matrix begins. transformers maps a file into memory, in which tensors begin at any
    multiple of eight bytes; streamed layers and copies in host memory have memory of torch's.
    """
    moving = {id(each) for layer in model.modules() for each in weights_of(layer).moving()}
    for each in model.parameters():
        here = each.device.type == "cpu" and each.dtype == torch.float32 and id(each) not in moving
        if here and each.data_ptr() % ALIGNED:
            each.data = each.data.clone()
