"""Streaming: decoder layers rest elsewhere and come to the device one ahead of their turn; it holds two at most.

    forward    0 1 2 ... L-1          while a layer computes, the next one is copied over the one before
    backward   L-1 ... 2 1 0          the other way round; the two that are there at the turn are not fetched again

A layer's tensors lie in one run of bytes (`stream_pack`), which rests in host memory or in a file (`stream_rest`) and
is copied whole into one of two slots on the device. While the layer computes, its parameters show what is in the slot;
else they show what rests, so that whoever reads them (to save, to compare) finds the same numbers. What is not moved,
adapters above all, does not know of it: the results are those of a resident run, bit for bit where that gives the same
bits twice (on CUDA the backward pass of fused attention does not).

A layer's backward pass reads its weights again, so each layer must be one that is computed again as a whole
(`make_shelved`) or in parts (`make_frugal`); they hold the weights for as long as they need them (`weights`).
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from xtune.kernels.heads import decoder_layers
from xtune.kernels.stream_pack import PackedLayer
from xtune.kernels.stream_rest import Rest, host_memory
from xtune.kernels.weights import Weights, keep_elsewhere, weights_of

SLOTS = 2
"""Layers on the device: one computes, one is on its way."""

GradientSink = Callable[
    ["StreamedLayer", Sequence[nn.Parameter], Sequence[torch.Tensor | None]], None
]
"""Takes a layer's gradients during the backward pass, while its weights are on the device."""


class StreamedLayer(Weights):
    """A decoder layer whose tensors rest elsewhere; made by `shelve_layer`, set going by `stream_layers`."""

    def __init__(self, layer: nn.Module, rest: Rest, on_gradients: GradientSink | None) -> None:
        self.layer, self.number = layer, -1
        self.on_gradients = on_gradients
        self.stream: LayerStream | None = None
        """Set by `join`."""

        self._holders = 0
        self.settle(rest)

    def settle(self, rest: Rest) -> None:
        """Put to rest what the layer has now."""
        self.packed = PackedLayer(self.layer, trained=self.on_gradients is not None)
        self.resting = rest.keep(self.packed)
        self._views: dict[_Slot | None, list[torch.Tensor]] = {
            None: self.packed.views(self.resting.flat)
        }
        self.packed.point(self._views[None])

    @property
    def is_settled(self) -> bool:
        """Whether nobody gave the layer other tensors since they were put to rest."""
        return self.packed.points_to(self._views[None])

    def join(self, stream: "LayerStream", number: int) -> None:
        """Become the layer with this number; from now on its forward pass fetches it."""
        self.stream, self.number = stream, number
        self.layer.forward = _fetching(self, self.layer.forward)

    @property
    def is_held(self) -> bool:
        """Whether the layer is computing."""
        return self._holders > 0

    @property
    def device(self) -> torch.device | None:
        """The stream's."""
        return None if self.stream is None else self.stream.device

    def moving(self) -> Sequence[nn.Parameter]:
        """All of the layer's, or with `on_gradients` unset the frozen ones."""
        return list(self.packed.parameters())

    @contextmanager
    def here(self, *, backward: bool) -> Iterator[None]:
        """While it lasts the layer's tensors are on the device. It may be entered again meanwhile."""
        assert self.stream is not None
        if self._holders == 0:
            slot = self.stream.enter(self, backward=backward)
            if slot not in self._views:
                self._views[slot] = self.packed.views(slot.bytes)
            self.packed.point(self._views[slot])
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._holders == 0:
                self.packed.point(self._views[None])
                self.stream.leave(self, changes=backward and self.on_gradients is not None)

    def seen(self, parameters: Sequence[nn.Parameter]) -> Sequence[nn.Parameter]:
        """All if the weights are frozen, for adapters stay; else none: autograd would want gradients where weights rest."""
        return parameters if self.on_gradients is None else ()

    def given(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[torch.Tensor | None]
    ) -> Sequence[torch.Tensor | None]:
        """Give the gradients of trained weights to whoever wants them."""
        if self.on_gradients is None:
            return gradients
        self.on_gradients(self, parameters, gradients)
        return ()

    @contextmanager
    def listening(self) -> Iterator[Mapping[nn.Parameter, torch.Tensor | None]]:
        """For trained weights."""
        noted: dict[nn.Parameter, torch.Tensor | None] = {}

        def note(_: Any, parameters: Any, gradients: Any) -> None:
            noted.update(zip(parameters, gradients, strict=True))

        before, self.on_gradients = self.on_gradients, self.on_gradients and note
        try:
            yield noted
        finally:
            self.on_gradients = before


def _fetching(streamed: StreamedLayer, forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def fetched(*given: Any, **arguments: Any) -> Any:
        outermost = not streamed.is_held
        with streamed.here(backward=False):
            output = forward(*given, **arguments)
        if outermost and _has_history(output):
            raise RuntimeError(
                "a streamed layer keeps no weights for its backward pass: make_shelved or make_frugal must follow stream_layers"
            )
        return output

    return fetched


def _has_history(output: Any) -> bool:
    states = output[0] if isinstance(output, tuple) else output
    return isinstance(states, torch.Tensor) and states.requires_grad


class _Slot:
    """Room for a layer on the device, and what is known about it."""

    def __init__(self, nbytes: int, device: torch.device, *, staging: bool) -> None:
        self.bytes = torch.empty(nbytes, dtype=torch.uint8, device=device)
        self.staging = host_memory(device)(nbytes) if staging else None
        self.layer: StreamedLayer | None = None
        self.used = 0
        self.job: Future[None] | None = None
        on_gpu = device.type == "cuda"
        self.arrived = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        """Recorded behind the last copy into the slot."""

        self.left = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        """Recorded behind the last computation with what is in the slot."""


class LayerStream:
    """The slots and the copies into them.

    Args:
        layers: In the order of the forward pass; each has its number in it.
        device: Where they compute.
        rest: Where they rest.
    """

    def __init__(self, layers: Sequence[StreamedLayer], device: torch.device, rest: Rest) -> None:
        self._layers, self.device, self._rest = layers, device, rest
        nbytes = max((each.packed.nbytes for each in layers), default=0)
        count = min(SLOTS, len(layers))
        self._slots = [_Slot(nbytes, device, staging=rest.needs_staging) for _ in range(count)]
        self._reader = ThreadPoolExecutor(1, "xtune-reader") if rest.needs_staging else None
        self._clock = 0
        self.fetched = 0
        """Copies so far."""

        self._copies: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._copies.wait_stream(torch.cuda.current_stream(device))  # what had the room before
            for slot in self._slots:
                slot.bytes.record_stream(self._copies)

    @property
    def slot_bytes(self) -> int:
        """Bytes on the device, all slots together."""
        return sum(slot.bytes.numel() for slot in self._slots)

    @property
    def resting_bytes(self) -> int:
        """Bytes of all layers where they rest."""
        return sum(layer.packed.nbytes for layer in self._layers)

    def settle(self) -> None:
        """Take note of what was done to layers at rest.

        An adapter was made beside them, where they rest: it belongs on the device. Its start may have changed the
        base: what the layers have now is put to rest.
        """
        self.forget()  # a copy may be on its way; what rests and is replaced waits for that where it is unlocked
        for layer in self._layers:
            if not layer.is_settled:
                layer.settle(self._rest)
                assert layer.packed.nbytes <= self._slots[0].bytes.numel(), "the layer has grown"
            moving = {id(each) for each in layer.moving()}
            for tensor in (*layer.layer.parameters(), *layer.layer.buffers()):
                if id(tensor) not in moving and tensor.device != self.device:
                    tensor.data = tensor.data.to(self.device)

    def forget(self) -> None:
        """Take note that what rests was written to: what was fetched before is of no more use."""
        for slot in self._slots:
            self._wait(slot)
            slot.layer = None

    def enter(self, layer: StreamedLayer, *, backward: bool) -> _Slot:
        """The slot with a layer's bytes in it, as far as the current stream is concerned; the next one is on its way."""
        slot = self._slot_of(layer) or self._begin(layer, self._free_slot(), backward=backward)
        assert slot is not None, "more layers compute at one time than there are slots"
        self._wait(slot)
        self._clock += 1
        slot.used = self._clock
        following = self._following(layer, backward=backward)
        if following is not None and self._slot_of(following) is None:
            self._begin(following, self._free_slot(besides=slot), backward=backward)
        return slot

    def leave(self, layer: StreamedLayer, *, changes: bool) -> None:
        """A layer has computed: its slot may be written over.

        Args:
            layer: Which.
            changes: Whether what rests will change, so that the copy is of no more use.
        """
        slot = self._slot_of(layer)
        assert slot is not None
        if slot.left is not None:
            slot.left.record()
        if changes:
            slot.layer = None

    def _slot_of(self, layer: StreamedLayer) -> _Slot | None:
        return next((slot for slot in self._slots if slot.layer is layer), None)

    def _free_slot(self, besides: _Slot | None = None) -> _Slot | None:
        free = [
            slot
            for slot in self._slots
            if slot is not besides and not (slot.layer is not None and slot.layer.is_held)
        ]
        return min(free, key=lambda slot: slot.used, default=None)

    def _following(self, layer: StreamedLayer, *, backward: bool) -> StreamedLayer | None:
        """The layer whose turn is next; in training the last layer of the forward pass is the first to go back."""
        number = layer.number + (-1 if backward else 1)
        if number == len(self._layers) and not layer.layer.training:
            number = 0  # the next batch's, or the next token's
        return self._layers[number] if 0 <= number < len(self._layers) else None

    def _begin(self, layer: StreamedLayer, slot: _Slot | None, *, backward: bool) -> _Slot | None:
        """Start to copy a layer into a slot that nobody uses."""
        if slot is None:
            return None
        slot.layer = layer
        self.fetched += 1
        if self._reader is None:
            self._copy(layer, slot)
            return slot
        beyond = self._following(layer, backward=backward)
        slot.job = self._reader.submit(self._copy, layer, slot, beyond)
        return slot

    def _copy(self, layer: StreamedLayer, slot: _Slot, beyond: StreamedLayer | None = None) -> None:
        nbytes = layer.packed.nbytes
        if slot.staging is not None and slot.arrived is not None:
            slot.arrived.synchronize()  # the staging memory is free once the copy before has left it
        source = layer.resting.ready(slot.staging)
        if self._copies is None:
            slot.bytes[:nbytes].copy_(source)
        else:
            assert slot.arrived is not None
            assert slot.left is not None
            self._copies.wait_event(slot.left)
            with torch.cuda.stream(self._copies):
                slot.bytes[:nbytes].copy_(source, non_blocking=True)
            slot.arrived.record(self._copies)
        if beyond is not None:
            beyond.resting.expect()

    def _wait(self, slot: _Slot) -> None:
        job, slot.job = slot.job, None
        if job is not None:
            try:
                job.result()
            except BaseException:
                slot.layer = None
                raise
        if slot.arrived is not None:
            torch.cuda.current_stream().wait_event(slot.arrived)


def shelve_layer(
    layer: nn.Module, rest: Rest, *, on_gradients: GradientSink | None = None
) -> StreamedLayer:
    """Put a decoder layer's tensors to rest; where they were is free afterwards.

    A loader calls it for each layer as soon as that has its weights, so that never more than one is in two places;
    `stream_layers` takes such layers as they are. Until then the layer cannot compute on the device.

    Args:
        layer: A decoder layer with its weights, quantised if they shall be.
        rest: Where to.
        on_gradients: Set: trained weights move as well, and their gradients go here.

    Raises:
        RunError: There is no room.
    """
    streamed = StreamedLayer(layer, rest, on_gradients)
    keep_elsewhere(layer, streamed)
    return streamed


def streamed_layers(model: nn.Module) -> list[StreamedLayer]:
    """A model's decoder layers that are streamed."""
    found = [weights_of(layer) for layer in decoder_layers(model)]
    return [each for each in found if isinstance(each, StreamedLayer)]


def forget_fetched(model: nn.Module) -> None:
    """Tell whatever streams a model's layers that they were written to where they rest."""
    for stream in {each.stream for each in streamed_layers(model)}:
        if stream is not None:
            stream.forget()


def stream_layers(
    model: nn.Module,
    device: torch.device,
    rest: Rest,
    *,
    on_gradients: GradientSink | None = None,
) -> LayerStream:
    """Let a model's decoder layers rest elsewhere and come to the device when they compute.

    `make_shelved` or `make_frugal` must follow before the model is trained, and `LayerStream.settle` where an adapter
    was attached meanwhile.

    Args:
        model: A transformers model, with or without an adapter, on the device or shelved by its loader.
        device: Where it computes.
        rest: Where its layers rest.
        on_gradients: See `shelve_layer`.

    Raises:
        RunError: There is no room for them.
    """
    layers = []
    for layer in decoder_layers(model):
        found = weights_of(layer)
        if not isinstance(found, StreamedLayer):
            found = shelve_layer(layer, rest, on_gradients=on_gradients)
        layers.append(found)
    stream = LayerStream(layers, device, rest)
    for number, streamed in enumerate(layers):
        streamed.join(stream, number)
    return stream
