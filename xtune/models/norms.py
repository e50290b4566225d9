"""Layer norms whose result has the type of their input, on every kind of device. Changes no numbers of a processor's."""

import torch
from torch import nn
from torch.nn import functional


class NarrowLayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` outside autocast where input and weight are of one type.

    Autocast on CUDA computes it in float32, and gives float32: behind a quantised layer, whose result has the type of its
    input, the hidden states of the whole model would be twice as wide. On a processor it leaves it alone. The kernels add up
    in float32 in any case.
    """

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimensions."""
        if hidden.dtype != self.weight.dtype:
            return super().forward(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.layer_norm(
                hidden, self.normalized_shape, self.weight, self.bias, self.eps
            )


def narrow_layer_norms(model: nn.Module) -> None:
    """Make every plain layer norm with a weight in a model such a one, in place."""
    for module in model.modules():
        if type(module) is nn.LayerNorm and module.elementwise_affine:
            module.__class__ = NarrowLayerNorm
