"""torch.compile, layer by layer: one short compilation serves every layer, and checkpointing still works."""

import torch

from xtune.errors import ModelError


def compile_layers(model: torch.nn.Module) -> None:
    """Compile the decoder layers in place.

    Raises:
        ModelError: No stack of decoder layers was found.
    """
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    layers = max(stacks, key=len, default=None)
    if layers is None or len(layers) == 0:
        raise ModelError(
            "The model has no list of decoder layers to compile.",
            advice="Set train.compile to false.",
        )
    for layer in layers:
        layer.compile()
