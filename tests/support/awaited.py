"""Waiting for what another thread or process brings about: never shorter than it may take on a busy machine, and never for ever."""

import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""Longest that anything may take that is there within seconds on an idle machine."""


def wait_for(holds: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: It does not within the time.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain")
        time.sleep(0.002)
