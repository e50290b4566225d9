"""Says which tensors of a model are in another type than the plan's weights: what is cast costs memory. Casts nothing."""

import re
from collections import Counter

import torch
from torch import nn

from xtune.plan import Plan


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> dict[tuple[str, torch.dtype], int]:
    """How many parameters and stored buffers are in another floating-point type, by what they belong to and type.

    What is trained, or PEFT added, is "the adapter"; anything else goes by its name without the layer's number.
    """
    found: Counter[tuple[str, torch.dtype]] = Counter()
    stored = model.state_dict().keys()
    buffers = [(name, each) for name, each in model.named_buffers() if name in stored]
    for name, tensor in (*model.named_parameters(), *buffers):
        if tensor.is_floating_point() and tensor.dtype != dtype:
            added = tensor.requires_grad or ".lora_" in name
            owner = "the adapter" if added else re.sub(r"^.*\.\d+\.", "", name)
            found[owner, tensor.dtype] += tensor.numel()
    return dict(found)


def said_types(model: nn.Module, plan: Plan) -> str | None:
    """One sentence about what is not in the type of the plan's weights; None if everything is."""
    weight = plan.weight_dtype.value
    found = cast_parameters(model, getattr(torch, weight))
    if not found:
        return None
    parts = [
        f"{count:,} parameters of {owner} in {str(dtype).removeprefix('torch.')}"
        for (owner, dtype), count in found.items()
    ]
    return f"Held in {weight}, embeddings, head and norms too, except {' and '.join(parts)}."
