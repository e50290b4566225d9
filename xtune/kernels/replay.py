"""What a layer needs to be computed a second time as it was the first: its arguments, autocast, random numbers."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Surroundings:
    """Autocast and the seed of dropout, as they were when a layer was called."""

    device_type: str
    autocast: torch.dtype | None
    seed: int | None
    """None: nothing in the layer drops out."""

    @classmethod
    def here(cls, layer: nn.Module, hidden: torch.Tensor) -> "Surroundings":
        """Those of this moment; draws a seed from the global generator if the layer drops anything out."""
        device_type = hidden.device.type
        seed = int(torch.randint(2**31, ())) if drops_out(layer) else None
        return cls(device_type, autocast_dtype(device_type), seed)

    @contextmanager
    def again(self, part: int = 0, *, gradients: bool) -> Iterator[None]:
        """Compute as then; each part of the layer, named by a number, has random numbers of its own."""
        with ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(gradients))
            if self.autocast is not None:
                stack.enter_context(torch.autocast(self.device_type, dtype=self.autocast))
            if self.seed is not None:
                devices = [torch.cuda.current_device()] if self.device_type == "cuda" else []
                stack.enter_context(torch.random.fork_rng(devices=devices))
                torch.manual_seed(self.seed + part)
            yield


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The type that autocast casts to here; None: it is off."""
    enabled = torch.is_autocast_enabled(device_type)
    return torch.get_autocast_dtype(device_type) if enabled else None


@dataclass(frozen=True)
class RandomState:
    """The global generators as they were when a layer was called: what dropout draws from if nobody sets a seed."""

    kind: str
    """Of the device: "cuda", "mps" ..."""

    host: torch.Tensor
    device: torch.Tensor | None
    """None: the host computes."""

    @classmethod
    def here(cls, device_type: str) -> "RandomState":
        """That of this moment."""
        return cls(device_type, torch.get_rng_state(), _device_state(device_type))

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same numbers; afterwards the generators are as they were before."""
        before = _device_state(self.kind)
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.host)
            _set_device_state(self.kind, self.device)
            try:
                yield
            finally:
                _set_device_state(self.kind, before)


def _device_state(kind: str) -> torch.Tensor | None:
    """Of the current device of a kind."""
    if kind == "cpu":
        return None
    state: torch.Tensor = torch.get_device_module(kind).get_rng_state()
    return state


def _set_device_state(kind: str, state: torch.Tensor | None) -> None:
    if state is not None:
        torch.get_device_module(kind).set_rng_state(state)


def drops_out(layer: nn.Module) -> bool:
    """Whether something random works in a layer, so that it needs random numbers: dropout, or noise before a router."""
    return any(_drops_out(module) for module in layer.modules() if module.training)


_SHARES = ("drop", "jitter")
"""In the names of the numbers that modules hand on themselves: `residual_dropout`, `hidden_dropout`, `attn_dropout_p`, `jitter_noise` ..."""


def _drops_out(module: nn.Module) -> bool:
    if isinstance(module, nn.Dropout):
        return module.p > 0
    numbers = (name for name, each in vars(module).items() if _above_zero(each))
    return any(word in name for name in numbers for word in _SHARES)


def _above_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def argument_names(forward: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a layer's arguments in their order; the first are the hidden states."""
    return tuple(name for name in inspect.signature(forward).parameters if name != "kwargs")


def by_name(
    names: Sequence[str], given: Sequence[Any], arguments: Mapping[str, Any]
) -> tuple[torch.Tensor, dict[str, Any]]:
    """A call's hidden states, and all its other arguments by name."""
    together = {**dict(zip(names, given, strict=False)), **arguments}
    hidden = together.pop(names[0])
    assert isinstance(hidden, torch.Tensor)
    return hidden, together


def first(output: Any) -> torch.Tensor:
    """The hidden states of what a layer returns: them alone, or first in a tuple."""
    states = output[0] if isinstance(output, tuple) else output
    assert isinstance(states, torch.Tensor)
    return states


class NotKept:
    """Stands for a tensor that a layer returns and that is not kept; whoever computes with it gets a TypeError."""


class Rest:
    """What a layer returns behind its hidden states: whoever takes its place returns as much."""

    def __init__(self) -> None:
        self._others: tuple[Any, ...] | None = None

    def note(self, output: Any) -> torch.Tensor:
        """Take note of a layer's output; returns its hidden states."""
        if isinstance(output, tuple):
            # attention weights, mostly, which nobody wants; of what the next layer needs the history would be lost
            found = (NotKept() if isinstance(each, torch.Tensor) else each for each in output[1:])
            self._others = tuple(found)
        return first(output)

    def with_states(self, states: torch.Tensor) -> Any:
        """What the layer would return with these hidden states."""
        return states if self._others is None else (states, *self._others)


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that want a gradient here; none where gradients are off."""
    if not torch.is_grad_enabled():
        return []
    return [each for each in module.parameters() if each.requires_grad]
