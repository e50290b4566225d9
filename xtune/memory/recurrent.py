"""What recurrent layers hold, set high rather than low, for no formula follows them. Closed formulas; letters as in `kept`.

Without a package of kernels transformers 5.23 computes the gated delta rule of Qwen3-Next (64 tokens at a time) by torch's operations
in float32, which keep 104 to 110 bytes for each number that its value heads are wide (simulated: 32 heads of 128, 512 and 2,048 tokens).
Heads of fewer than 128 numbers count as such. Lightning attention (MiniMax) keeps less than 24. Of other kinds of recurrence (Mamba)
nothing is known; they are taken to be as dear as the first.
"""

from collections.abc import Mapping
from typing import Any

DELTA_RULE_BYTES, LIGHTNING_BYTES = 112, 24
LEAST_WIDTH = 128

KINDS = frozenset({"linear_attention", "mamba", "mamba2", "recurrent", "hybrid"})
"""What configs call layers that are recurrent (`layer_types`, `layers_block_type`)."""

MARKS = ("mamba_d_state", "ssm_state_size", "mamba_d_ssm", "lru_width", "linear_attn_config")
"""Fields that only models with recurrent layers have."""


def read_recurrent(fields: Mapping[str, Any], hidden: int, heads_width: int) -> dict[str, int]:
    """Width of a recurrent layer, and bytes a token that it keeps; nothing where a config speaks of none.

    Args:
        fields: The config.
        hidden: Width of the hidden states.
        heads_width: Width of all query heads together.
    """
    if heads := _size(fields, "linear_num_value_heads"):
        widest = max(_size(fields, f"linear_{part}_head_dim") for part in ("key", "value"))
        return _kept(heads * max(LEAST_WIDTH, widest), DELTA_RULE_BYTES)
    lists = [fields.get(name) for name in ("layer_types", "layers_block_type")]
    kinds = {str(kind) for each in lists if isinstance(each, list) for kind in each}
    if any(fields.get(mark) for mark in MARKS) or kinds & (KINDS - {"linear_attention"}):
        inner = (_size(fields, "mamba_expand") or _size(fields, "expand") or 2) * hidden
        return _kept(max(inner, heads_width), DELTA_RULE_BYTES)
    if "linear_attention" in kinds or fields.get("attn_type_list"):
        return _kept(heads_width, LIGHTNING_BYTES)
    return {}


def _kept(width: int, each: int) -> dict[str, int]:
    return {"recurrent_width": width, "recurrent_kept": each * width}


def _size(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
