"""Memory of a training step, computed from the model's sizes before anything is loaded; nothing is measured here."""

from xtune.memory.away import checkpoint_bytes, disk_items, host_items
from xtune.memory.linear import Linear
from xtune.memory.predict import Prediction, predict
from xtune.memory.shape import ModelShape
from xtune.memory.workload import CONTEXT_BYTES, GIB, SUBSPACE_RANKS, Workload

__all__ = [
    "CONTEXT_BYTES",
    "GIB",
    "SUBSPACE_RANKS",
    "Linear",
    "ModelShape",
    "Prediction",
    "Workload",
    "checkpoint_bytes",
    "disk_items",
    "host_items",
    "predict",
]
