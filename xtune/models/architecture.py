"""Which architectures can be trained: causal language models that this transformers knows, told from the config alone."""

from collections.abc import Mapping
from typing import Any

import transformers
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from xtune.errors import ModelError
from xtune.recipe.models import Model


def check_architecture(config: dict[str, Any], model: Model) -> None:
    """Refuses a model type that cannot be trained here.

    Raises:
        ModelError: The type is missing, unknown, no causal language model, or needs remote code that is off.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ModelError(
            f"The config.json of {model.name} has no `model_type`.",
            advice="Use a model in transformers' format.",
        )
    if "AutoModelForCausalLM" in config.get("auto_map", {}) and model.trust_remote_code:
        return
    if _reads_both_ways(config, kind):
        raise ModelError(
            f"{model.name} ({kind}) is an encoder: its tokens see those after them, so it cannot write.",
            advice="Choose a causal language model.",
        )
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if "auto_map" in config:
        raise ModelError(
            f"{model.name} ({kind}) needs the Python code that comes with it, and `model.trust_remote_code` is off.",
            advice="Read that code first; then set `model.trust_remote_code: true`.",
        )
    if kind not in CONFIG_MAPPING:
        raise ModelError(
            f"transformers {transformers.__version__} does not know the architecture {kind} of {model.name}.",
            advice="A newer transformers may: pip install --upgrade transformers.",
        )
    raise ModelError(
        f"{model.name} is a {kind} model, which does not write text from left to right.",
        advice="Choose a causal language model.",
    )


def is_known(config: Mapping[str, Any]) -> bool:
    """Whether transformers knows the model type, of whatever kind it is."""
    return config.get("model_type") in CONFIG_MAPPING


def _reads_both_ways(config: dict[str, Any], kind: str) -> bool:
    """Whether it is BERT's kind or has an encoder; transformers lists those too as writing from left to right."""
    if config.get("is_encoder_decoder"):
        return True
    causal = config.get("is_decoder") or config.get("causal")  # `causal` is XLM's word
    return kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not causal
