"""A run whose process may, after its first step, take only so much more memory: `python squeezed.py FOLDER MIB [KEY=VALUE]...`.

The limit is the system's own (RLIMIT_AS), so that what fails is a real allocation. What a run imports at its end only is
imported before it, so that no library is loaded within the limit: its size would count, and differs from machine to machine.
"""

import ctypes
import gc
import importlib
import resource
import sys

import psutil

from xtune import api
from xtune.kernels.loss import LossModule
from xtune.run.observer import Observers, StepMetrics

AT_ITS_END = ["backends.backend_agg", "layout_engine", "patheffects", "ticker"]
"""What of matplotlib draws the picture of a run."""


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
    for name in AT_ITS_END:
        importlib.import_module(f"matplotlib.{name}")
    api.train("quickstart", [f"run.folder={folder}", *changes], observers=[Squeeze(int(room))])
