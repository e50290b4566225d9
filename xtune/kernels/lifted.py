"""A decoder layer in two parts, up to its attention and from it on, by running the layer's own forward. Attends nothing."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xtune.kernels.attention import AttentionSettings, stand_in
from xtune.kernels.replay import first


@dataclass(frozen=True)
class Heads:
    """What a layer's attention is given: each (rows, heads, tokens, width)."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


class _Lifted(BaseException):
    """Leaves a layer's forward at its attention, with what was to be attended."""

    def __init__(self, heads: Heads, settings: AttentionSettings) -> None:
        super().__init__()
        self.heads, self.settings = heads, settings


class NoAttentionError(TypeError):
    """A layer cannot be cut at its attention: it never called it, or trains something in it."""


class LiftedLayer:
    """A decoder layer with the attention taken out: `project` up to it, `finish` from it on.

    Args:
        layer: A transformers decoder layer whose attention is `xtune.kernels.attention.NAME`.
        forward: The layer's own forward.
    """

    def __init__(self, layer: nn.Module, forward: Callable[..., torch.Tensor]) -> None:
        self._layer, self._forward = layer, forward
        self._projections: Mapping[nn.Module, int] = {}

    def learn_projections(self, hidden: torch.Tensor, arguments: Mapping[str, Any]) -> None:
        """Find the linear layers that only feed the attention, which `finish` need not compute again.

        Whether they really feed nothing else is for the caller to check, by comparing results; `forget_projections`
        takes it back.
        """
        widths: dict[nn.Module, int] = {}

        def note(module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                widths[module] = output.shape[-1]

        with ExitStack() as hooks:
            for block in self._layer.children():
                for module in block.children():
                    if _has_matrix(module):
                        hooks.callback(module.register_forward_hook(note).remove)
            with torch.no_grad():
                self.project(hidden, arguments)
        self._projections = widths

    def forget_projections(self) -> None:
        """Compute everything in `finish`, whether it is needed or not."""
        self._projections = {}

    def project(
        self, hidden: torch.Tensor, arguments: Mapping[str, Any]
    ) -> tuple[Heads, AttentionSettings]:
        """Queries, keys and values of hidden states (rows, tokens, width).

        Raises:
            NoAttentionError: The layer has no such attention, or trains its sinks.
        """

        def leave(
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            settings: AttentionSettings,
        ) -> torch.Tensor:
            if settings.sinks is not None and settings.sinks.requires_grad:
                raise NoAttentionError(f"{type(self._layer).__name__} trains its attention sinks")
            raise _Lifted(Heads(query, key, value), settings)

        try:
            with _standing_in(leave):
                self._forward(hidden, **arguments)
        except _Lifted as lifted:
            return lifted.heads, lifted.settings
        raise NoAttentionError(f"{type(self._layer).__name__} {_NO_ATTENTION}")

    def finish(
        self, hidden: torch.Tensor, attended: torch.Tensor, arguments: Mapping[str, Any]
    ) -> torch.Tensor:
        """The layer's output from its input (rows, tokens, width) and what attention gave (rows, heads, tokens, width)."""

        def give(*_: object) -> torch.Tensor:
            return attended

        with _standing_in(give), self._without_projections():
            return first(self._forward(hidden, **arguments))

    @contextmanager
    def _without_projections(self) -> Iterator[None]:
        for module, width in self._projections.items():
            module.forward = _zeros(width)
        try:
            yield
        finally:
            for module in self._projections:
                del module.forward


_NO_ATTENTION = "does not call an attention that can be taken out"


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim >= 2 for parameter in module.parameters())


def _zeros(width: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(hidden: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return hidden.detach().new_zeros(()).expand(*hidden.shape[:-1], width)

    return forward


@contextmanager
def _standing_in(lifted: Callable[..., torch.Tensor]) -> Iterator[None]:
    before = stand_in(lifted)
    try:
        yield
    finally:
        stand_in(before)
