"""Who uses which bytes when, on streams and on the host: two uses that no wait has put in order are a race. Runs nothing."""

import threading
import weakref
from collections import defaultdict
from typing import Any

import torch

HOST = "host"
"""The clock of Python: its threads wait for one another by Python's own means."""


class Clocks:
    """What each of the host and the streams knows to be done of the others."""

    def __init__(self) -> None:
        self.known: defaultdict[Any, dict[Any, int]] = defaultdict(dict)

    def tick(self, who: Any) -> int:
        """One thing more is asked of somebody; returns its number."""
        clock = self.known[who]
        clock[who] = clock.get(who, 0) + 1
        return clock[who]

    def join(self, who: Any, others: dict[Any, int]) -> None:
        """Whatever others know is done before what is asked of somebody from now on."""
        clock = self.known[who]
        for other, time in others.items():
            clock[other] = max(clock.get(other, 0), time)

    def has_seen(self, who: Any, other: Any, time: int) -> bool:
        """Whether somebody's next thing comes behind a thing of another one."""
        return who == other or self.known[who].get(other, 0) >= time


class _Memory:
    """Who used a piece of memory, and when."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        """The stream whose next request may have the room once it is free; None: nobody's, memory of the host."""

        self.uses: dict[tuple[Any, bool, int, int], int] = {}
        """Time by user, whether it wrote, first byte and last."""

        self.recorded: set[Any] = set()


class Watch:
    """Follows every use of the device's memory, and of pinned host memory."""

    def __init__(self) -> None:
        self.clocks, self.lock = Clocks(), threading.RLock()
        self.memory: dict[int, _Memory] = {}
        self.pinned: dict[int, int] = {}
        self.races: list[str] = []

    def use(self, who: Any, tensor: torch.Tensor, what: str, *, writes: bool) -> None:
        """Somebody uses a tensor's bytes."""
        first, last = _bytes_of(tensor)
        if first == last:
            return
        memory = self._memory_of(tensor, who)
        if memory is None:
            return
        for (other, wrote, start, end), time in list(memory.uses.items()):
            if start < last and first < end:
                seen = self.clocks.has_seen(who, other, time)
                if (writes or wrote) and not seen:
                    verb = ("written" if wrote else "read", "written" if writes else "read")
                    self.races.append(
                        f"{verb[0]} by {other}, then {verb[1]} by {who} in {what}, {tuple(tensor.shape)}"
                    )
                elif writes and seen and first <= start and end <= last:
                    del memory.uses[other, wrote, start, end]
        memory.uses[who, writes, first, last] = self.clocks.known[who].get(who, 0)

    def _memory_of(self, tensor: torch.Tensor, who: Any) -> _Memory | None:
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        on_device = tensor.device.type == "cuda"
        if not on_device:
            address = next((p for p, n in self.pinned.items() if p <= address < p + n), 0)
            if not address:
                return None
        if address not in self.memory:
            self.memory[address] = _Memory(who if on_device else None)
            if on_device:
                weakref.finalize(storage, self.free, address).atexit = False
        return self.memory[address]

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        """Whether the device copies from it while the host goes on."""
        address = tensor.data_ptr()
        return any(p <= address < p + n for p, n in self.pinned.items())

    def free(self, address: int) -> None:
        """Memory of the device is given back: its owner's next request may have it."""
        with self.lock:
            memory = self.memory.pop(address, None)
            if memory is not None and memory.owner is not None:
                self._check_idle(memory, memory.owner, f"given back to {memory.owner}")

    def unpin(self, address: int) -> None:
        """Pinned memory is given back to the system, at once."""
        with self.lock:
            self.pinned.pop(address, None)
            memory = self.memory.pop(address, None)
            if memory is not None:
                self._check_idle(memory, HOST, "given back to the system")

    def _check_idle(self, memory: _Memory, owner: Any, what: str) -> None:
        for (other, wrote, _, _), time in memory.uses.items():
            # what the owner is asked for from now on also comes behind all that the host has waited for
            seen = any(self.clocks.has_seen(who, other, time) for who in (owner, HOST))
            if not seen and other not in memory.recorded:
                verb = "written" if wrote else "read"
                self.races.append(f"{what} while it may be {verb} by {other}")


def _bytes_of(tensor: torch.Tensor) -> tuple[int, int]:
    if tensor.numel() == 0:
        return 0, 0
    first = tensor.storage_offset() * tensor.element_size()
    reach = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    start = tensor.untyped_storage().data_ptr() + first
    return start, start + (reach + 1) * tensor.element_size()
