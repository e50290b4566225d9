"""Lets threads take turns at the interpreter often, where one of them computes mostly without its lock."""

import sys
from threading import Lock

_TURN_S = 1e-4
"""Python's own is 5 ms: so long a thread that returns from compiled code waits for one that runs Python, some dozens of times
for 16,384 texts, whose whole search takes 100 ms."""


class _ShortTurns:
    """While any thread is within; afterwards turns are as long as before."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._within = 0
        self._before_s = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._within == 0:
                self._before_s = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before_s, _TURN_S))
            self._within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                sys.setswitchinterval(self._before_s)


SHORT_TURNS = _ShortTurns()
