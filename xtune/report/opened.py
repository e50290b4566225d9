"""Opens the data of a recipe as training does, to be looked at: no weights, no training, no run folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xtune.data.prepare import SILENT, Listener, Prepared, prepare
from xtune.errors import DataError, HardwareError
from xtune.hardware import Hardware, detect, launch
from xtune.memory import ModelShape
from xtune.models.source import read_config
from xtune.models.tokenizer import load_tokenizer
from xtune.plan import Plan, resolve
from xtune.recipe import Recipe
from xtune.recipe.read import parse_recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AMPLE_BYTES = 2**60
"""Memory of an imaginary device on which every plan fits."""


@dataclass(frozen=True, kw_only=True)
class OpenedData:
    """A recipe's data, encoded, and what would keep it from being trained on here."""

    plan: Plan
    tokenizer: "PreTrainedTokenizerBase"
    prepared: Prepared | None
    """None if the rows cannot be encoded at all."""

    machine: HardwareError | None = None
    """Why this machine cannot train; the data is none the worse."""

    refusal: DataError | None = None
    """Why this data is not trained on."""

    def trained(self) -> Prepared:
        """The data, if training would take it.

        Raises:
            DataError: Why it would not.
        """
        if self.prepared is None or self.refusal is not None:
            raise self.refusal or DataError([])
        return self.prepared


def open_data(recipe: Recipe, *, name: str, listener: Listener = SILENT) -> OpenedData:
    """Encode a recipe's data as training would; what keeps this machine or this data from training is kept beside.

    Args:
        recipe: What is asked.
        name: The recipe's name.
        listener: Hears of the preparation of the data.

    Raises:
        XtuneError: The model's files cannot be read, or the recipe asks for what this machine does not know.
    """
    shape = ModelShape.from_config(read_config(recipe.model))
    hardware, machine = detect(), None
    try:
        plan = resolve(recipe, hardware, shape, launch=launch(), recipe_name=name)
    except HardwareError as error:
        plan, machine = resolve(recipe, _ample(hardware), shape, recipe_name=name), error
    tokenizer = load_tokenizer(recipe.model, recipe.data.template)
    opened = OpenedData(plan=plan, tokenizer=tokenizer, prepared=None, machine=machine)
    try:
        return replace(opened, prepared=prepare(plan, tokenizer, listener=listener))
    except DataError as error:
        listener.done()
        return replace(opened, prepared=_prepared_anyway(plan, tokenizer), refusal=error)


def recipe_for(model: str, data: str, overrides: Sequence[str] = ()) -> Recipe:
    """The plainest recipe that trains a model on a file: every choice about the data at its default.

    Raises:
        RecipeError: A name is empty, or an override is wrong.
    """
    value = {
        "model": {"name": model},
        "method": "lora",
        "data": {"train": data},
        "train": {"learning_rate": 1e-4},  # recipes must have one; nothing is trained here
    }
    return parse_recipe(json.dumps(value), overrides, source="command line")


def _ample(hardware: Hardware) -> Hardware:
    vram = _AMPLE_BYTES if hardware.vram_bytes else 0
    free = None if hardware.vram_free_bytes is None else _AMPLE_BYTES
    return replace(hardware, vram_bytes=vram, ram_bytes=_AMPLE_BYTES, vram_free_bytes=free)


def _prepared_anyway(plan: Plan, tokenizer: "PreTrainedTokenizerBase") -> Prepared | None:
    """The data with as many rows lost as may be, so that a refusal can be shown with its numbers."""
    data = plan.recipe.data.model_copy(update={"max_dropped": 1.0})
    recipe = plan.recipe.model_copy(update={"data": data})
    try:
        return prepare(replace(plan, recipe=recipe), tokenizer)
    except DataError:
        return None
