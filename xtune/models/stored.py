"""Weights that a config.json says are stored quantised: which of them can be trained, and by which settings. Loads nothing."""

import re
from collections.abc import Mapping
from typing import Any

from xtune.errors import ModelError
from xtune.recipe import QLoRA, Recipe

_LAYER_PART = re.compile(r"layers\.\d+")


def follow_stored(recipe: Recipe, config: Mapping[str, Any]) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with the settings by which its base is stored quantised, and what a person should know of them.

    bitsandbytes' formats are kept as they are stored, whatever `method.quantization` says; others are not trained here.

    Raises:
        ModelError: The weights are stored in a format that cannot be trained, or not by this method.
    """
    stored = stored_quantization(config, recipe.model.name)
    if stored is None:
        return recipe, ()
    check_stored(stored, recipe.model.name, recipe.method)
    settings = _settings(stored)
    method = recipe.method.model_copy(update=settings)
    form = settings["quantization"]
    if form != "int8":
        form += " with double quantisation" if settings["double_quantization"] else ""
    notes = [f"The base is stored quantised by bitsandbytes, and is trained as it is: {form}."]
    whole = [name for name in stored.get("llm_int8_skip_modules") or () if _LAYER_PART.search(name)]
    if whole:
        notes.append(f"It keeps {len(whole)} parts of its layers unquantised ({whole[0]} ...).")
    return recipe.model_copy(update={"method": method}), tuple(notes)


def stored_quantization(config: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """What a config says of its weights' quantisation; None: nothing.

    Raises:
        ModelError: What it says is no object.
    """
    stored = config.get("quantization_config") or config.get("compression_config")
    if not stored:
        return None
    if not isinstance(stored, Mapping):
        raise ModelError(
            f"`quantization_config` in the config.json of {name} is {stored!r}; it must be an object.",
            advice="Fetch the file again.",
        )
    return stored


def check_stored(stored: Mapping[str, Any], name: str, method: object) -> None:
    """Refuse weights whose stored format a method cannot train.

    Raises:
        ModelError: It cannot.
    """
    kind = stored.get("quant_method") or "unknown"
    if kind != "bitsandbytes":
        raise ModelError(
            f"The weights of {name} are stored quantised ({kind}).",
            advice="Give the unquantised model; `method: qlora` quantises it while loading.",
        )
    if not isinstance(method, QLoRA):
        raise ModelError(
            f"The weights of {name} are stored quantised (bitsandbytes), which `method: qlora` alone can train.",
            advice="Set `method: qlora`, or give the unquantised model.",
        )


def _settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """`method.quantization` and `method.double_quantization` of a BitsAndBytesConfig, with transformers' defaults."""
    if stored.get("load_in_8bit") or stored.get("_load_in_8bit"):
        return {"quantization": "int8", "double_quantization": None}
    form = stored.get("bnb_4bit_quant_type")
    return {
        "quantization": form if form in {"nf4", "fp4"} else "fp4",
        "double_quantization": bool(stored.get("bnb_4bit_use_double_quant")),
    }
