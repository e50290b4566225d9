"""The state in which a model is asked and not trained: eval mode, no gradients, the types of training."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in eval mode; afterwards as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def only_reading(model: Any, autocast: torch.dtype | None) -> Iterator[torch.device]:
    """The model in eval mode, without gradients; afterwards as it was.

    Args:
        model: What is asked.
        autocast: Type of the matrix products if they ran under autocast in training.

    Yields:
        The model's device.
    """
    device = next(model.parameters()).device
    mixed = nullcontext() if autocast is None else torch.autocast(device.type, dtype=autocast)
    with evaluating(model), torch.no_grad(), mixed:
        yield device
