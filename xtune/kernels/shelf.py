"""Where a layer's input waits for the backward pass: on the device, in host memory, or on disk."""

from abc import ABC, abstractmethod
from typing import Any

import torch


class Shelf(ABC):
    """Keeps tensors of the forward pass for the backward pass, which takes them in the opposite order."""

    @abstractmethod
    def keep(self, tensor: torch.Tensor) -> Any:
        """Put a tensor away; returns what `take` wants."""

    @abstractmethod
    def take(self, kept: Any) -> torch.Tensor:
        """The same numbers on the same device; each is taken once."""


class DeviceShelf(Shelf):
    """Leaves tensors where they are."""

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor itself, without its history."""
        return tensor.detach()

    def take(self, kept: Any) -> torch.Tensor:
        """The tensor itself."""
        assert isinstance(kept, torch.Tensor)
        return kept
