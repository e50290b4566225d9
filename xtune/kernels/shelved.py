"""Checkpointing with the checkpoint where there is room: a layer's input waits on a shelf, the rest is computed again."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from xtune.kernels.heads import decoder_layers
from xtune.kernels.replay import (
    RandomState,
    Rest,
    Surroundings,
    argument_names,
    autocast_dtype,
    by_name,
    drops_out,
    first,
    trained_parameters,
)
from xtune.kernels.shelf import Shelf
from xtune.kernels.weights import Weights, weights_of


@dataclass(frozen=True)
class _Call:
    forward: Callable[..., Any]
    arguments: Mapping[str, Any]
    shelf: Shelf
    surroundings: Surroundings
    random: RandomState | None
    """What dropout drew from, as it would without checkpoints; None: nothing drops out."""

    weights: Weights
    parameters: Sequence[nn.Parameter]
    """Those that are trained."""

    rest: Rest = field(default_factory=Rest)

    def drawing_again(self) -> AbstractContextManager[None]:
        """With the random numbers of the forward pass."""
        return nullcontext() if self.random is None else self.random.again()


class _ShelvedFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        _anchor: torch.Tensor,
        call: _Call,
        *_parameters: nn.Parameter,
    ) -> torch.Tensor:
        with call.weights.here(backward=False), call.surroundings.again(gradients=False):
            output = call.rest.note(call.forward(hidden, **call.arguments))
        ctx.call = call
        ctx.kept = call.shelf.keep(hidden)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        call: _Call = ctx.call
        hidden = call.shelf.take(ctx.kept).detach().requires_grad_()
        ctx.kept = None
        with call.weights.here(backward=True):
            with call.drawing_again(), call.surroundings.again(gradients=True):
                output = first(call.forward(hidden, **call.arguments))
            of_hidden, *of_parameters = torch.autograd.grad(
                output, (hidden, *call.parameters), gradients[0], allow_unused=True
            )
            del output
            seen = call.weights.given(call.parameters, of_parameters)
        return (of_hidden if ctx.needs_input_grad[0] else None, None, None, *seen)


class ShelvedLayer:
    """Takes the place of a decoder layer's `forward`."""

    def __init__(self, layer: nn.Module, forward: Callable[..., Any], shelf: Shelf) -> None:
        self._layer, self._forward, self._shelf = layer, forward, shelf
        self._names = argument_names(forward)

    def __call__(self, *given: Any, **arguments: Any) -> Any:
        """The layer's output: (rows, tokens, width), alone or first in a tuple."""
        hidden, arguments = by_name(self._names, given, arguments)
        parameters = trained_parameters(self._layer)
        if not torch.is_grad_enabled() or not (parameters or hidden.requires_grad):
            return self._forward(hidden, **arguments)
        kind = hidden.device.type
        call = _Call(
            forward=self._forward,
            arguments=arguments,
            shelf=self._shelf,
            surroundings=Surroundings(kind, autocast_dtype(kind), seed=None),
            random=RandomState.here(kind) if drops_out(self._layer) else None,
            weights=weights_of(self._layer),
            parameters=parameters,
        )
        anchor = torch.zeros((), requires_grad=True)
        seen = call.weights.seen(parameters)
        output: torch.Tensor = _ShelvedFunction.apply(hidden, anchor, call, *seen)  # type: ignore[no-untyped-call]
        return call.rest.with_states(output)


def make_shelved(model: nn.Module, shelf: Shelf) -> int:
    """Let every decoder layer keep nothing but its input, on the shelf; returns how many there are."""
    layers = decoder_layers(model)
    for layer in layers:
        layer.forward = ShelvedLayer(layer, layer.forward, shelf)
    return len(layers)
