"""Lines of tasks, one for each stream, and the schedules by which they are done. Knows no operation of torch's."""

import contextlib
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
        self.torn: list[str] = []
        """Room that somebody wrote into after it was given back."""

        self.sites: set[str] = set()
        """Where waits are asked for."""

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
        """Whether a wait counts: all but those that are asked for at the place that is ignored."""
        frame: Any = sys._getframe(1)
        while frame is not None and (
            "played_st" in frame.f_code.co_filename or "contextlib" in frame.f_code.co_filename
        ):
            frame = frame.f_back
        site = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_code.co_qualname}:{frame.f_lineno}"
        self.sites.add(site)
        return site != self._ignored

    def asked(self, stream: str) -> int:
        """How many tasks a stream was given so far."""
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
                if self._lines[stream] and self._lines[stream][0] is task:
                    self._one(stream)

    def force_all(self) -> None:
        """Do everything."""
        with self.lock:
            for stream in list(self._lines):
                self.force(stream, self.asked(stream))

    def _one(self, stream: str) -> None:
        if not self._lines[stream]:
            return
        task = self._lines[stream].popleft()
        self._done[stream] = self._done.get(stream, 0) + 1
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

    def note(self, tensor: torch.Tensor, stream: str) -> None:
        """A task of a stream uses a tensor of the device."""
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        room = self._rooms.get(address)
        if room is None:
            room = self._rooms[address] = _Room(stream)
            with torch._C._DisableTorchDispatch():
                memory = torch.ops.pretend.memory_of(tensor).untyped_storage()
            weakref.finalize(storage, self._give_back, address, room, memory).atexit = False
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
            waits = {each: self.asked(each) for each in room.recorded}
            self.ask(room.owner, lambda: whole.fill_(GARBAGE), waits)
            self._given_back.append((whole, who))

    def end(self) -> None:
        """Do what is left, and look at what was given back."""
        with self.lock, torch._C._DisableTorchDispatch():
            self.force_all()
            self.torn += [
                who for whole, who in self._given_back if not bool((whole == GARBAGE).all())
            ]
            self._given_back.clear()
