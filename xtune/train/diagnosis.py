"""What the loop says of itself when asked or when it breaks: memory in use, and which rows made the loss infinite."""

from collections.abc import Sequence

import psutil
import torch

from xtune.data.types import Origin
from xtune.errors import DivergedError
from xtune.run.checkpoint import CheckpointStore

ROWS_NAMED = 8
"""Rows in a message: enough to look at, few enough to read."""


def memory_bytes(device: torch.device) -> int:
    """Peak memory that tensors held on an accelerator; resident memory of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def explain_divergence(
    found: str, origins: Sequence[Origin], store: CheckpointStore
) -> DivergedError:
    """The error of a step that cannot be taken.

    Args:
        found: What is not finite, in which step.
        origins: The rows whose loss it was.
        store: The run's checkpoints.
    """
    steps = store.steps()
    last_good = (
        f"The last good checkpoint is {store.path(steps[-1])}."
        if steps
        else "There is no checkpoint yet."
    )
    return DivergedError(
        f"{found}; rows: {name_rows(origins)}. {last_good}",
        advice="Look at those rows, or lower train.learning_rate, or lengthen the warm-up.",
    )


def name_rows(origins: Sequence[Origin]) -> str:
    """The rows for a message: the first few by place, and how many more."""
    named = ", ".join(str(origin) for origin in origins[:ROWS_NAMED])
    more = len(origins) - ROWS_NAMED
    return f"{named} and {more} more" if more > 0 else named
