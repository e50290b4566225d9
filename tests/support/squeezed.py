"""A run whose process may, after its first step, take only so much more memory: `python squeezed.py FOLDER MIB [KEY=VALUE]...`.

The limit is the system's own (RLIMIT_AS), so that what fails is a real allocation.
"""

import ctypes
import gc
import resource
import sys

import psutil

from xtune import api
from xtune.kernels.loss import LossModule
from xtune.run.observer import Observers, StepMetrics


class Squeeze(Observers):
    """Sets the limit after the first step."""

    def __init__(self, room_mib: int) -> None:
        super().__init__([])
        self.room_mib = room_mib

    def on_step(self, metrics: StepMetrics) -> None:
        if metrics.step == 1:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            size = psutil.Process().memory_info().vms + (self.room_mib << 20)
            resource.setrlimit(resource.RLIMIT_AS, (size, size))

    def on_message(self, text: str) -> None:
        print(f"said: {text}", flush=True)
        if text.startswith(
            "Resuming"
        ):  # the model is loaded again, and its loss is not put around it yet
            old = sum(isinstance(each, LossModule) for each in gc.get_objects())
            print(f"models of attempts before: {old}", flush=True)


if __name__ == "__main__":
    folder, room, *changes = sys.argv[1:]
    api.train("quickstart", [f"run.folder={folder}", *changes], observers=[Squeeze(int(room))])
