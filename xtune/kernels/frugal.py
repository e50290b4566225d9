"""The frugal layer: a decoder layer whose training step holds a handful of numbers a token, whatever its width.

A decoder layer is token-wise, attention, token-wise. Here the token-wise parts run a tile of tokens at a time,
attention one group of key heads at a time, and the gradients are written over what they make superfluous:

    forward    x -> tiles -> Q K V;  groups: O over Q;  tiles of (x, O) -> y
    backward   x -> tiles -> Q K V;  groups: O;  tiles of (x, O, dy) -> dx over dy, dO over O, gradients
               groups of (Q, K, V, dO) -> dQ dK dV over Q K V;  tiles of (x, dQ, dK, dV) -> added to dx, gradients

At its fullest the backward pass holds x or its checkpoint, dy, Q, K, V and O for every token, and one tile's or one
group's activations. The arithmetic is the model's own: its layer's `forward` is run with the attention taken out
(`xtune.kernels.lifted`), so that whatever a family does around it (norms before or after, biases, multipliers, experts) is done.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from xtune.kernels.attention import (
    AttentionSettings,
    Documents,
    attend_backward,
    attend_into,
    documents_of,
)
from xtune.kernels.lifted import Heads, LiftedLayer
from xtune.kernels.replay import (
    Rest,
    Surroundings,
    argument_names,
    by_name,
    trained_parameters,
)
from xtune.kernels.shelf import Shelf
from xtune.kernels.stretches import stretches
from xtune.kernels.sums import Sums
from xtune.kernels.weights import Weights, weights_of


@dataclass(frozen=True, kw_only=True)
class FrugalSettings:
    """How finely a layer is cut."""

    tile_tokens: int = 4096
    """Tokens of a tile in the token-wise parts."""

    kv_heads_at_once: int = 1
    """Key heads, each with the query heads that read it, whose attention is computed at one time."""


@dataclass
class _Call:
    """One call of a frugal layer: everything but the hidden states and the trained parameters."""

    layer: LiftedLayer
    settings: FrugalSettings
    shelf: Shelf
    arguments: Mapping[str, Any]
    """The layer's keyword arguments, for all tokens."""

    tokens: int
    documents: Documents | None
    wants_input_gradient: bool
    surroundings: Surroundings
    weights: Weights
    parameters: Sequence[nn.Parameter]
    """Those that are trained."""

    attention: AttentionSettings = field(default_factory=AttentionSettings)

    def tiles(self) -> Iterator[slice]:
        yield from stretches(self.tokens, self.settings.tile_tokens)

    def groups(self, heads: Heads) -> Iterator[tuple[slice, slice]]:
        """Query heads and key heads that are attended together."""
        key_heads = heads.key.shape[1]
        repeats = heads.query.shape[1] // key_heads
        for of_key in stretches(key_heads, self.settings.kv_heads_at_once):
            yield slice(of_key.start * repeats, of_key.stop * repeats), of_key

    def cut(self, tile: slice) -> dict[str, Any]:
        """The arguments for a tile: whatever has the length of the tokens in its second dimension is cut."""
        return {name: _cut(value, tile, self.tokens) for name, value in self.arguments.items()}

    def computing(self, step: int, *, gradients: bool) -> AbstractContextManager[None]:
        """The surroundings of every part: autocast as in the forward pass, and this part's own random numbers."""
        return self.surroundings.again(step, gradients=gradients)


def _cut(value: Any, tile: slice, tokens: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim >= 2 and value.shape[1] == tokens:
        return value[:, tile]
    if isinstance(value, tuple | list):
        return type(value)(_cut(each, tile, tokens) for each in value)
    return value


_PROJECT, _ATTEND, _FINISH = 0, 1, 2
"""Which part a random seed is for; a tile or a group at `start` draws from the seed `3 * start + part`."""


def _project(call: _Call, hidden: torch.Tensor) -> Heads:
    """Q, K and V of all tokens, (rows, heads, tokens, width), a tile at a time."""
    rooms: list[torch.Tensor] = []
    for tile in call.tiles():
        with call.computing(3 * tile.start + _PROJECT, gradients=False):
            heads, call.attention = call.layer.project(hidden[:, tile], call.cut(tile))
        parts = (heads.query, heads.key, heads.value)
        rooms = rooms or [_room(each, call.tokens) for each in parts]
        for room, part in zip(rooms, parts, strict=True):
            room[:, :, tile] = part
    return Heads(*rooms)


def _room(part: torch.Tensor, tokens: int) -> torch.Tensor:
    rows, heads, _, width = part.shape
    return part.new_empty(rows, heads, tokens, width)


def _attend(call: _Call, heads: Heads, *, over_query: bool) -> torch.Tensor:
    """O of all tokens, (rows, heads, tokens, value width), a group of heads at a time; over Q if wanted and if it fits."""
    fits = heads.query.shape[-1] == heads.value.shape[-1]
    rows, count, tokens, _ = heads.query.shape
    attended = (
        heads.query
        if over_query and fits
        else heads.value.new_empty(rows, count, tokens, heads.value.shape[-1])
    )
    for of_query, of_key in call.groups(heads):
        with call.computing(3 * of_key.start + _ATTEND, gradients=False):
            attend_into(
                attended[:, of_query],
                heads.query[:, of_query],
                heads.key[:, of_key],
                heads.value[:, of_key],
                documents=call.documents,
                settings=call.attention.of_heads(of_query),
            )
    return attended


class _FrugalFunction(torch.autograd.Function):
    """See the head of this file. Gradients of the trained parameters are summed over the tiles in float32 or wider."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        _anchor: torch.Tensor,
        call: _Call,
        *_parameters: nn.Parameter,
    ) -> torch.Tensor:
        """The layer's output (rows, tokens, width)."""
        ctx.call = call
        wanted = ctx.needs_input_grad[1]  # the anchor's: a backward pass will come
        # first, so that the copy runs beside the layer and is done when the room of its input is free
        ctx.kept = call.shelf.keep(hidden) if wanted else None
        with call.weights.here(backward=False):
            return _forward(call, hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients by the hidden states and the trained parameters."""
        call: _Call = ctx.call
        hidden = call.shelf.take(ctx.kept)
        ctx.kept = None
        slope = _own(gradients[0])  # dy, and then dx
        with call.weights.here(backward=True):
            sums = _backward(call, hidden, slope)
            of_parameters = call.weights.given(call.parameters, sums.total())
        return slope if call.wants_input_gradient else None, None, None, *of_parameters


def _forward(call: _Call, hidden: torch.Tensor) -> torch.Tensor:
    heads = _project(call, hidden)
    attended = _attend(call, heads, over_query=True)
    output = torch.empty_like(hidden)
    for tile in call.tiles():
        with call.computing(3 * tile.start + _FINISH, gradients=False):
            output[:, tile] = call.layer.finish(
                hidden[:, tile], attended[:, :, tile], call.cut(tile)
            )
    return output


def _backward(call: _Call, hidden: torch.Tensor, slope: torch.Tensor) -> Sums:
    """Write dx over dy; returns the trained parameters' gradients."""
    sums = Sums(call.parameters)
    heads = _project(call, hidden)
    attended = _attend(call, heads, over_query=False)
    for tile in call.tiles():
        _finish_backward(call, tile, hidden, attended, slope, sums)
    for of_query, of_key in call.groups(heads):
        _attend_backward(call, heads, attended, of_query, of_key)
    del attended
    for tile in call.tiles():
        _project_backward(call, tile, hidden, heads, slope, sums)
    return sums


def _own(slope: torch.Tensor) -> torch.Tensor:
    """A gradient that may be written over: autograd hands over what nobody else reads, unless it is an expansion."""
    return slope if slope.is_contiguous() else slope.contiguous()


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().requires_grad_()


def _finish_backward(
    call: _Call,
    tile: slice,
    hidden: torch.Tensor,
    attended: torch.Tensor,
    slope: torch.Tensor,
    sums: Sums,
) -> None:
    inputs = (_leaf(hidden[:, tile]), _leaf(attended[:, :, tile]))
    with call.computing(3 * tile.start + _FINISH, gradients=True):
        output = call.layer.finish(*inputs, call.cut(tile))
    of_hidden, of_attended, *of_parameters = torch.autograd.grad(
        output, (*inputs, *sums.parameters), slope[:, tile].to(output.dtype), allow_unused=True
    )
    sums.add(of_parameters)
    slope[:, tile] = of_hidden
    attended[:, :, tile] = of_attended


def _attend_backward(
    call: _Call, heads: Heads, slope: torch.Tensor, of_query: slice, of_key: slice
) -> None:
    """Gradients of a group's heads over them."""
    with call.computing(3 * of_key.start + _ATTEND, gradients=False):
        attend_backward(
            heads.query[:, of_query],
            heads.key[:, of_key],
            heads.value[:, of_key],
            slope[:, of_query],
            documents=call.documents,
            settings=call.attention.of_heads(of_query),
        )


def _project_backward(
    call: _Call,
    tile: slice,
    hidden: torch.Tensor,
    heads: Heads,
    slope: torch.Tensor,
    sums: Sums,
) -> None:
    part = _leaf(hidden[:, tile])
    with call.computing(3 * tile.start + _PROJECT, gradients=True):
        projected, _ = call.layer.project(part, call.cut(tile))
    outputs, slopes = [], []
    for output, whole in zip(vars(projected).values(), vars(heads).values(), strict=True):
        if output.requires_grad:
            outputs.append(output)
            slopes.append(whole[:, :, tile])
    of_hidden, *of_parameters = torch.autograd.grad(
        outputs, (part, *sums.parameters), slopes, allow_unused=True
    )
    sums.add(of_parameters)
    if of_hidden is not None:
        slope[:, tile] += of_hidden


class FrugalLayer:
    """Takes the place of a decoder layer's `forward`; see `make_frugal`."""

    def __init__(
        self,
        layer: nn.Module,
        forward: Callable[..., torch.Tensor],
        settings: FrugalSettings,
        shelf: Shelf,
        lifted: LiftedLayer | None = None,
    ) -> None:
        self.lifted = lifted or LiftedLayer(layer, forward)
        self._layer, self._forward = layer, forward
        self._names = argument_names(forward)
        self._settings, self._shelf = settings, shelf
        self.rest = Rest()
        """What the layer returns besides hidden states; nothing, unless whoever makes this has noted it."""

    def __call__(self, *given: Any, **arguments: Any) -> Any:
        """The layer's output: (rows, tokens, width), alone or first in a tuple."""
        hidden, arguments = by_name(self._names, given, arguments)
        if arguments.get("past_key_values") is not None or hidden.shape[1] == 0:
            return self._forward(hidden, **arguments)
        parameters = trained_parameters(self._layer)
        positions = arguments.get("position_ids")
        call = _Call(
            layer=self.lifted,
            settings=self._settings,
            shelf=self._shelf,
            arguments=arguments,
            tokens=hidden.shape[1],
            documents=None if positions is None else documents_of(positions),
            wants_input_gradient=hidden.requires_grad,
            surroundings=Surroundings.here(self._layer, hidden),
            weights=weights_of(self._layer),
            parameters=parameters,
        )
        wanted = torch.is_grad_enabled() and bool(parameters or hidden.requires_grad)
        anchor = torch.zeros((), requires_grad=wanted)
        output: torch.Tensor = _FrugalFunction.apply(  # type: ignore[no-untyped-call]
            hidden, anchor, call, *call.weights.seen(parameters)
        )
        return self.rest.with_states(output)
