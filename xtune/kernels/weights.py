"""Whether a decoder layer's weights are at hand while it computes: always, unless its base is streamed. Moves nothing."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from weakref import WeakKeyDictionary

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

    def seen(self, parameters: Sequence[nn.Parameter]) -> Sequence[nn.Parameter]:
        """The trained parameters whose gradients autograd gets; `given` is told of a backward pass's."""
        return parameters

    def given(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[torch.Tensor | None]
    ) -> Sequence[torch.Tensor | None]:
        """A backward pass's gradients for the parameters; returns those of the ones that are `seen`."""
        del parameters
        return gradients


_ELSEWHERE: "WeakKeyDictionary[nn.Module, Weights]" = WeakKeyDictionary()
_RESIDENT = Weights()


def weights_of(layer: nn.Module) -> Weights:
    """The layer's weights."""
    return _ELSEWHERE.get(layer, _RESIDENT)


def keep_elsewhere(layer: nn.Module, weights: Weights) -> None:
    """Let whoever computes with the layer ask these for its weights."""
    _ELSEWHERE[layer] = weights
