"""Sums of gradients that come a tile at a time."""

from collections.abc import Sequence

import torch
from torch import nn


class Sums:
    """Sums of the trained parameters' gradients over tiles."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self._sums: list[torch.Tensor | None] = [None] * len(self.parameters)

    def add(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Add a tile's gradients, in the order of the parameters; None: the tile does not read that one."""
        for index, gradient in enumerate(gradients):
            if gradient is None:
                continue
            total = self._sums[index]
            wide = torch.promote_types(gradient.dtype, torch.float32)
            self._sums[index] = gradient.to(wide) if total is None else total.add_(gradient)

    def total(self) -> list[torch.Tensor | None]:
        """The sums, each in its parameter's type; None: no tile read it."""
        return [
            None if total is None else total.to(parameter.dtype)
            for parameter, total in zip(self.parameters, self._sums, strict=True)
        ]
