"""Which matrices a base that is stored quantised keeps whole: bitsandbytes' `llm_int8_skip_modules`. Closed formulas."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtune.memory.shape import ModelShape


def unquantised_weights(shape: "ModelShape", config: Mapping[str, Any]) -> tuple[int, int]:
    """Entries of the matrices in decoder layers that are stored as they are: of all layers, and the most of one.

    Args:
        shape: The model.
        config: Its config.json. What is skipped is told as transformers reads it (5.23,
            `should_convert_module`): the beginning of a module's name up to a dot, as a regular expression, or its end.
    """
    stored = config.get("quantization_config")
    listed = stored.get("llm_int8_skip_modules") if isinstance(stored, Mapping) else None
    skipped = [str(name) for name in listed] if isinstance(listed, list) else []
    if not skipped:
        return 0, 0
    # a model that also sees has its layers inside `language_model`
    ends = tuple(name.replace("language_model.", "") for name in skipped)
    beginnings = _beginnings(ends)
    blocks = {"self_attn": shape.attention_linears}
    if shape.expert_layers < shape.layers:
        blocks["mlp"] = shape.mlp_linears
    each_layer = [
        sum(
            linear.weights
            for block, linears in blocks.items()
            for linear in linears
            if (name := f"model.layers.{layer}.{block}.{linear.name}").endswith(ends)
            or beginnings.match(name)
        )
        for layer in range(shape.layers)
    ]
    return sum(each_layer), max(each_layer)


def _beginnings(names: Sequence[str]) -> "re.Pattern[str]":
    for forms in (
        names,
        [re.escape(name) for name in names],
    ):  # a name may be no regular expression
        with suppress(re.error):
            return re.compile("|".join(rf"(?:{each})(?:(?<=\.)|(?=\.|$))" for each in forms))
    raise AssertionError
