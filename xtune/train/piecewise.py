"""An optimizer made of one for each parameter, so that a step can fall into the backward pass and states can live on the host."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from xtune.kernels.stream_rest import host_memory
from xtune.train.crossing import has_eight_bit_states, step_across
from xtune.train.numbers import Numbers, numbers_of

Groups = list[dict[str, Any]]

BUFFERS = 2
"""Gradients on their way to the host at one time: one is carried while the one before is used."""


@dataclass(eq=False)
class _Piece:
    """One parameter and the optimizer that steps it."""

    parameter: nn.Parameter
    group: int
    """Which of the groups it is in."""

    numbers: Numbers
    optimizer: Optimizer

    @property
    def crosses(self) -> bool:
        """Whether its states are of the kind that crosses."""
        return self.parameter.is_contiguous() and has_eight_bit_states(self.optimizer)

    def step(self, gradient: torch.Tensor) -> None:
        """Step the numbers by a gradient that is where they are, and let it go."""
        stepped = self.numbers.stepped
        with self.numbers.at_hand():
            stepped.grad = gradient.to(stepped.dtype)
            self.optimizer.step()
        stepped.grad = None


class PiecewiseOptimizer(Optimizer):
    """Steps one parameter at a time; to the loop and in a checkpoint it is one optimizer for all.

    With `on_host` a parameter is stepped in host memory, in float32 (`xtune.train.numbers`), and its states are there: its
    gradient is copied out, and the new numbers are copied in. Only the buffers for what is on its way are pinned.
    With `crossing` 8-bit states, which a processor steps slowly, cross to the device instead, a stretch at a time.

    Args:
        groups: Parameter groups with their `lr`.
        build: Makes the optimizer for one group.
        on_host: Whether the states live in host memory.
        resting: Parameters that are in host memory themselves whenever they do not compute; it must be so now.
        crossing: Whether 8-bit states on the host are stepped where the gradients are.
    """

    def __init__(
        self,
        groups: Groups,
        build: Callable[[Groups], Optimizer],
        *,
        on_host: bool = False,
        resting: Collection[nn.Parameter] = (),
        crossing: bool = False,
    ) -> None:
        super().__init__(groups, {})
        self._crossing = on_host and crossing
        self._pieces: dict[nn.Parameter, _Piece] = {}
        at_rest = {id(each) for each in resting}
        for number, group in enumerate(self.param_groups):
            for parameter in group["params"]:
                numbers = numbers_of(parameter, on_host=on_host, rests=id(parameter) in at_rest)
                optimizer = build([{**group, "params": [numbers.stepped]}])
                self._pieces[parameter] = _Piece(parameter, number, numbers, optimizer)
        carried = [p for p, piece in self._pieces.items() if not (self._crossing and piece.crosses)]
        largest = max((p.numel() * p.element_size() for p in carried), default=0)
        self._courier = _Courier(largest) if on_host else None

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; a closure is not supported."""
        del closure
        for parameter in self._pieces:
            if parameter.grad is not None:
                self.step_one(parameter, parameter.grad)
        self.finish()

    @torch.no_grad()
    def step_one(self, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        """Update one parameter; with states on the host it may be done only when `finish` returns."""
        piece = self._pieces[parameter]
        piece.optimizer.param_groups[0]["lr"] = self.param_groups[piece.group]["lr"]
        if (
            self._crossing
            and piece.crosses
            and step_across(piece.optimizer, piece.numbers, gradient)
        ):
            return
        if self._courier is None or piece.numbers.stepped is parameter:
            piece.step(gradient)
        else:
            self._courier.step(piece, gradient)

    def finish(self) -> None:
        """Wait until every parameter has its new numbers."""
        if self._courier is not None:
            self._courier.finish()

    def let_go(self) -> None:
        """Free all states and numbers; nothing can be stepped afterwards."""
        self._pieces.clear()
        self._courier = None

    def state_dict(self) -> dict[str, Any]:
        """What one optimizer for all would return, and beside the states what 16-bit parameters lack of their numbers."""
        whole = super().state_dict()
        for number, piece in enumerate(self._pieces.values()):
            own = piece.optimizer.state_dict()
            state = dict(own["state"].get(0, {}))
            low = piece.numbers.low_bits()
            if low is not None:
                state["low_bits"] = low
            if state:
                whole["state"][number] = state
            group = whole["param_groups"][piece.group]
            group.update({k: v for k, v in own["param_groups"][0].items() if k not in group})
        return whole

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned, here or from one optimizer for all; the parameters are restored already."""
        saved = [
            (group, number) for group in state_dict["param_groups"] for number in group["params"]
        ]
        for piece, (group, number) in zip(self._pieces.values(), saved, strict=True):
            state = dict(state_dict["state"].get(number, {}))
            piece.numbers.restore(state.pop("low_bits", None))
            own = {"state": {0: state} if state else {}, "param_groups": [{**group, "params": [0]}]}
            piece.optimizer.load_state_dict(own)


@dataclass(eq=False)
class _Buffers:
    """Room in host memory, pinned for a GPU, for one gradient and for the numbers that come of it."""

    gradient: torch.Tensor
    numbers: torch.Tensor
    of_gradient: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    """The gradient in its room."""

    arrived: torch.cuda.Event | None = None


@dataclass(eq=False)
class _Courier:
    """Steps parameters on the host in a thread of its own, while the device goes on."""

    largest: int
    """Bytes of the largest parameter that is surely carried; of those that cross only small ones may be."""

    _thread: ThreadPoolExecutor | None = None
    _free: SimpleQueue[_Buffers] = field(default_factory=SimpleQueue)
    _made: int = 0
    _steps: list[Future[None]] = field(default_factory=list)
    _stream: torch.cuda.Stream | None = None

    def step(self, piece: _Piece, gradient: torch.Tensor) -> None:
        """Send a gradient on its way; the thread waits for it, steps, and sends the numbers back."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host-optimizer")
        buffers = self._take(gradient)
        buffers.of_gradient = _part(buffers.gradient, gradient)
        with self._carrying(gradient.device, behind=True) as stream:
            buffers.of_gradient.copy_(gradient, non_blocking=True)
            if stream is not None:
                gradient.record_stream(stream)
                buffers.arrived = stream.record_event()
        self._steps.append(self._thread.submit(self._apply, piece, buffers))

    def finish(self) -> None:
        """Wait for the thread, and make the device wait for the numbers."""
        steps, self._steps = self._steps, []
        for step in steps:
            step.result()  # raises what was raised in the thread
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)

    def _take(self, gradient: torch.Tensor) -> _Buffers:
        # torch's own pinned memory is rounded up to a power of two
        room = host_memory(gradient.device)
        nbytes = max(self.largest, gradient.nbytes)
        if self._made < BUFFERS:
            self._made += 1
            return _Buffers(room(nbytes), room(nbytes))
        found = self._free.get()
        return found if found.gradient.numel() >= nbytes else _Buffers(room(nbytes), room(nbytes))

    @torch.no_grad()
    def _apply(self, piece: _Piece, buffers: _Buffers) -> None:
        try:
            if buffers.arrived is not None:
                buffers.arrived.synchronize()
            piece.step(buffers.of_gradient)
            if piece.numbers.rests:
                return
            numbers = _part(buffers.numbers, piece.parameter)
            numbers.copy_(piece.numbers.rounded())
            # what these buffers are used for next is a gradient that comes behind this copy in the same stream
            with self._carrying(piece.parameter.device, behind=False):
                piece.parameter.copy_(numbers, non_blocking=True)
        finally:
            self._free.put(buffers)

    @contextlib.contextmanager
    def _carrying(
        self, device: torch.device, *, behind: bool
    ) -> Iterator[torch.cuda.Stream | None]:
        """On a GPU a stream of its own; `behind` what the current stream has been given so far."""
        if device.type != "cuda":
            yield None
            return
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        if behind:
            self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            yield self._stream


def _part(buffer: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    size = like.numel() * like.element_size()
    return buffer[:size].view(like.dtype).view(like.shape)
