"""Through which parts of a model a backward pass goes. Closed formulas."""

from xtune.memory.saved import saved_modules
from xtune.memory.shape import ModelShape
from xtune.memory.workload import Workload


def embedding_learns(shape: ModelShape, work: Workload) -> bool:
    """Whether the first layer's input has a gradient."""
    return work.is_full or saved_modules(shape, work.saved).embedding or work.new_tokens > 0


def layers_learn(shape: ModelShape, work: Workload) -> bool:
    """Whether a backward pass goes through the layers: not where the head alone is trained, unless transformers asks for it.

    Its checkpointing wants gradients of what a frozen embedding gave.
    """
    if work.is_checkpointed or embedding_learns(shape, work):
        return True
    if saved_modules(shape, work.saved).in_layer:
        return True
    return shape.lora_parameters(1, work.layer_targets) > 0
