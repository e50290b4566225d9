"""What configs call experts and activations, in every spelling; no config is read for anything else here."""

from collections.abc import Mapping
from typing import Any

FUSED_ACTIVATIONS = frozenset(
    ["gelu", "gelu_pytorch_tanh", "hardswish", "leaky_relu", "linear", "mish", "relu", "relu6", "sigmoid", "silu", "swish", "tanh"]
)  # fmt: skip
"""Activations that are one operation of torch's (`transformers.activations.ACT2CLS`, 5.23)."""


ACTIVATION_FIELDS = ("hidden_activation", "hidden_act", "activation_function", "hidden_activation_function")  # fmt: skip


def read_activation(fields: Mapping[str, Any], *, known: bool) -> dict[str, Any]:
    """The activation's name, and whether it is none of those; where no field names it, for a type of which nothing is known."""
    named = next((fields[name] for name in ACTIVATION_FIELDS if isinstance(fields.get(name), str)), "")  # fmt: skip
    composed = named not in FUSED_ACTIVATIONS if named else not known
    return {"activation": named, "composed_activation": composed}


EXPERT_COUNTS = (
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "num_routed_experts",
    "moe_num_experts",
)
"""What configs call the number of a layer's experts."""

EXPERTS_PER_TOKEN = ("num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "num_experts_per_token", "top_k", "top_k_experts")  # fmt: skip
"""What they call the number of those that a token visits."""

SHARED_COUNTS = ("n_shared_experts", "moe_num_shared_experts", "num_shared_experts", "num_shared_expert")  # fmt: skip
"""What they call the number of those that every token visits besides."""

DENSE_FIRST = ("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers")
"""What they call the number of layers before the first with experts."""

MOST_VISITED = 8
"""Experts that a token is taken to visit where no field says how many."""
