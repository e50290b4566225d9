"""What the loop says of itself when asked or when it breaks: memory in use, and which rows made the loss infinite."""

import math
from collections.abc import Sequence
from typing import NoReturn

import psutil
import torch
from accelerate.utils import gather_object

from xtune.data.types import Batch, Origin
from xtune.errors import DivergedError
from xtune.run.checkpoint import CheckpointStore

ROWS_NAMED = 8
"""Rows in a message: enough to look at, few enough to read."""


def memory_bytes(device: torch.device) -> int:
    """Peak memory that tensors held on an accelerator; resident memory of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def stop_diverged(
    found: str, batches: Sequence[Batch], losses: Sequence[float], store: CheckpointStore
) -> NoReturn:
    """End a step that cannot be taken; every rank has to call this, as the rows may be another rank's.

    Args:
        found: What is not finite, in which step.
        batches: This rank's micro-batches.
        losses: The loss of each; the rows of those that are not finite are named, or else all rows.
        store: The run's checkpoints.

    Raises:
        DivergedError: Always.
    """
    pairs = list(zip(batches, losses, strict=True))
    guilty = gather_object([o for b, loss in pairs if not math.isfinite(loss) for o in b.origins])
    origins = guilty or gather_object([origin for batch in batches for origin in batch.origins])
    steps = store.steps()
    last_good = (
        f"The last good checkpoint is {store.path(steps[-1])}."
        if steps
        else "There is no checkpoint yet."
    )
    raise DivergedError(
        f"{found}; rows: {name_rows(origins)}. {last_good}",
        advice="Look at those rows, or lower train.learning_rate, or lengthen the warm-up.",
    )


def name_rows(origins: Sequence[Origin]) -> str:
    """The rows for a message: the first few by place, and how many more."""
    named = ", ".join(str(origin) for origin in origins[:ROWS_NAMED])
    more = len(origins) - ROWS_NAMED
    return f"{named} and {more} more" if more > 0 else named
