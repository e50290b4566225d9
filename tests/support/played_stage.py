"""Lines of tasks, one for each stream, and the schedules by which they are done. Knows no operation of torch's."""

import contextlib
import ctypes
import itertools
import random
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

SCHEDULES = ("at once", "as late as may be", "other streams first", "other streams last")
"""Of each there is one; with a number behind "at random, " there are as many as numbers."""

GARBAGE = 0xFF
"""A byte of which neither a floating-point number nor an index of anything can be made."""

Positions = dict[str, int]
"""How many of a stream's tasks, by its name."""


@dataclass
class _Task:
    run: Callable[[], object] | None
    """None: it only waits."""

    waits: Positions = field(default_factory=dict)


@dataclass
class _Room:
    """Memory of the device: whose stream had it first, and who else may use it."""

    owner: str
    users: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)


class Stage:
    """All streams' tasks, and when they are done."""

    def __init__(self, ignored: str | None = None) -> None:
        self.lock = threading.RLock()
        self._schedule = SCHEDULES[0]
        self._random = random.Random(0)
        self._busy = self._running = False
        self._lines: dict[str, deque[_Task]] = {}
        self._done: Positions = {}
        self._rooms: dict[int, _Room] = {}
        self._given_back: list[tuple[torch.Tensor, str]] = []
        self._asides = itertools.count()
        self.torn: list[str] = []
        """Room that somebody wrote into after it was given back, and host memory that was given back too early."""

        self.sites: set[str] = set()
        """Where waits are asked for: file, line."""

        self._locked: dict[int, int] = {}
        self._borrowed: list[tuple[int, weakref.ref[torch.Tensor]]] = []

        self._ignored = ignored

    def play(self, schedule: str) -> None:
        """Let streams do their work as a schedule says from now on; at first they do it at once.

        Args:
            schedule: One of `SCHEDULES`, or "at random, 3".
        """
        with self.lock:
            self.force_all()
            self._schedule, self._random = schedule, random.Random(schedule)

    def heard(self) -> bool:
        """Whether a wait, or what it waits for, counts: all but what is asked for at the place that is ignored."""
        frame: Any = sys._getframe(1)
        while frame is not None and (
            "played_st" in frame.f_code.co_filename or "contextlib" in frame.f_code.co_filename
        ):
            frame = frame.f_back
        site = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
        self.sites.add(site)
        return site != self._ignored

    def asked(self, stream: str) -> int:
        """How many tasks a stream was given so far."""
        with self.lock:
            return self._done.get(stream, 0) + len(self._lines.get(stream, ()))

    def ask(
        self, stream: str, run: Callable[[], object] | None, waits: Positions | None = None
    ) -> None:
        """Put a task in line."""
        with self.lock:
            self._lines.setdefault(stream, deque()).append(_Task(run, dict(waits or {})))
            if not self._busy:  # what a task lets go may put something in line too
                with self._alone():
                    self._play()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def force(self, stream: str, position: int) -> None:
        """Do a stream's tasks up to a position, and what they wait for."""
        with self.lock, self._alone():
            if self._running:
                return  # what a task lets go may ask for this; nobody uses it any more
            while self._done.get(stream, 0) < position:
                task = self._lines[stream][0]
                for other, upto in task.waits.items():
                    self.force(other, upto)
                if next(iter(self._lines.get(stream, ())), None) is task:
                    self._one(stream)

    def force_all(self) -> None:
        """Do everything."""
        with self.lock:
            for stream in list(self._lines):
                self.force(stream, self.asked(stream))

    def _one(self, stream: str) -> None:
        if not self._lines.get(stream):
            return
        task = self._lines[stream].popleft()
        self._done[stream] = self._done.get(stream, 0) + 1
        if ", aside " in stream:
            del self._lines[stream]
        if task.run is None:
            return
        self._running = True
        try:
            with torch._C._DisableTorchDispatch(), torch.no_grad():
                task.run()
        finally:
            self._running = False

    def _ready(self, stream: str) -> bool:
        line = self._lines[stream]
        return bool(line) and all(
            self._done.get(other, 0) >= upto for other, upto in line[0].waits.items()
        )

    def _play(self) -> None:
        """What the schedule does as soon as it can be done."""
        late = self._schedule == "as late as may be"
        if self._schedule == "at once":
            self.force_all()
        elif self._schedule.startswith("at random"):
            while (
                ready := [each for each in self._lines if self._ready(each)]
            ) and self._random.random() < 0.6:
                self._one(self._random.choice(ready))
        elif not late:
            others_first = self._schedule == "other streams first"
            while ready := [
                each
                for each in self._lines
                if self._ready(each) and each.startswith("stream 0 ") != others_first
            ]:
                self._one(ready[0])

    def note(self, tensor: torch.Tensor, stream: str, *, is_empty: bool = False) -> None:
        """A task of a stream uses a tensor of the device.

        Args:
            tensor: The tensor.
            stream: The stream.
            is_empty: Whether it has just been made without numbers: who had the room before, in the same line, may not be done.
        """
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        room = self._rooms.get(address)
        if room is None:
            room = self._rooms[address] = _Room(stream)
            with torch._C._DisableTorchDispatch():
                memory = torch.ops.pretend.memory_of(tensor).untyped_storage()
            weakref.finalize(storage, self._give_back, address, room, memory).atexit = False
            if is_empty:
                with torch._C._DisableTorchDispatch():
                    whole = torch.empty(0, dtype=torch.uint8).set_(memory)
                self.ask(stream, lambda: whole.fill_(GARBAGE))
        room.users.add(stream)

    def record(self, tensor: torch.Tensor, stream: str) -> None:
        """As `record_stream` does."""
        with self.lock:
            self._rooms[tensor.untyped_storage().data_ptr()].recorded.add(stream)

    def _give_back(self, address: int, room: _Room, memory: torch.UntypedStorage) -> None:
        with self.lock:
            if self._rooms.get(address) is room:
                del self._rooms[address]
            if room.users == {room.owner}:
                return  # whoever has it next comes behind in the same line
            with torch._C._DisableTorchDispatch():
                whole = torch.empty(0, dtype=torch.uint8).set_(memory)
            who = f"{len(whole)} bytes of {room.owner}, used by {sorted(room.users - {room.owner})}"
            # an allocator asks whether the recorded streams are done, and lets its own go on meanwhile
            waits = {each: self.asked(each) for each in (room.owner, *room.recorded)}
            line = f"{room.owner}, aside {next(self._asides)}" if room.recorded else room.owner
            self.ask(line, lambda: whole.fill_(GARBAGE), waits)
            self._given_back.append((whole, who))

    def hold(self, address: int, nbytes: int) -> None:
        """Memory of the host is locked in place; until it is let go its owner answers for it, and no task."""
        with self.lock:
            self._locked[address] = nbytes

    def borrow(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """A tensor in locked memory without what keeps the memory; None: it is elsewhere."""
        with self.lock:
            for address, nbytes in self._locked.items():
                if address <= tensor.data_ptr() < address + nbytes:
                    break
            else:
                return None
            kind = ctypes.c_char * (address + nbytes - tensor.data_ptr())
            flat = torch.frombuffer(kind.from_address(tensor.data_ptr()), dtype=torch.uint8)
            size = flat.numel() // tensor.element_size() * tensor.element_size()
            borrowed = flat[:size].view(tensor.dtype).as_strided(tensor.shape, tensor.stride())
            self._borrowed = [each for each in self._borrowed if each[1]() is not None]
            self._borrowed.append((address, weakref.ref(borrowed)))
            return borrowed

    def let_go(self, address: int) -> None:
        """Locked memory goes back to the system, at once; no task may need it any more."""
        with self.lock, torch._C._DisableTorchDispatch():
            nbytes = self._locked.pop(address, 0)
            for where, reference in self._borrowed:
                borrowed = reference()
                if where == address and borrowed is not None:
                    if not self._running:  # what a task lets go cannot wait for others here
                        self.torn.append(f"{nbytes} bytes of host memory, let go before a copy")
                    borrowed.data = borrowed.clone()

    def end(self) -> None:
        """Do what is left, and look at what was given back."""
        with self.lock, torch._C._DisableTorchDispatch():
            self.force_all()
            self.torn += [
                who for whole, who in self._given_back if not bool((whole == GARBAGE).all())
            ]
            self._given_back.clear()
