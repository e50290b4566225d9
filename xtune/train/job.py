"""What the training loop is given and what it gives back; the loop itself is in `loop.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from xtune.data.batch import Batches
from xtune.data.stream import StreamBatches
from xtune.data.types import Batch
from xtune.plan import Plan
from xtune.run.checkpoint import Checkpoint, CheckpointStore, TrainingState
from xtune.run.metrics import MetricsLog
from xtune.run.observer import Observer

Ending = Literal["finished", "stopped_early", "out_of_time", "interrupted"]


@dataclass(kw_only=True)
class Job:
    """Everything a run of the loop needs, loaded and ready."""

    plan: Plan
    model: torch.nn.Module
    batches: Batches | StreamBatches
    evaluation: Sequence[Batch]
    """Held-out batches of this rank; empty if there are none."""

    loss_tile_tokens: int = 0
    """Tokens for which the end of the model runs at one time; 0: all."""

    total_steps: int
    store: CheckpointStore
    metrics: MetricsLog | None
    """None on every rank but the main one."""

    observer: Observer
    resume_from: Checkpoint | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the loop came to its end."""

    ending: Ending
    state: TrainingState
