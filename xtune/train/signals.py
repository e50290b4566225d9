"""Ctrl-C, SIGTERM and a closed terminal as a wish that the loop grants after the step; a second Ctrl-C stops at once."""

import signal
import threading
from types import FrameType

from typing_extensions import Self

from xtune.stopping import stop_signals


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP only sets `requested`."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread alone; in another one there is nothing to catch
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None: one that was not set from Python cannot be set again
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
