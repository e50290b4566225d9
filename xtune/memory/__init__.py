"""Memory of a training step, computed from the model's sizes before anything is loaded; nothing is measured here."""

from xtune.memory.predict import (
    CONTEXT_BYTES,
    GIB,
    Prediction,
    Workload,
    host_checkpoint_bytes,
    predict,
)
from xtune.memory.shape import Linear, ModelShape

__all__ = [
    "CONTEXT_BYTES",
    "GIB",
    "Linear",
    "ModelShape",
    "Prediction",
    "Workload",
    "host_checkpoint_bytes",
    "predict",
]
