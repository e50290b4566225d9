"""The result of a run, an adapter or a model: where it lies, and how it is written whole or not at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from xtune.adapter.save import save_final
from xtune.durable import explained, sync
from xtune.plan import Plan
from xtune.run.observer import EndInfo


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that ended as it should."""

    folder: Path
    result: Path
    """The adapter or the model."""

    end: EndInfo


def result_folder(path: Path, plan: Plan) -> Path:
    """Where in a run's folder the result is written."""
    return path / ("model" if plan.recipe.method.type == "full" else "adapter")


def save_result(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, result: Path, plan: Plan
) -> None:
    """Write the result aside and rename it, so that a folder with its name is always whole."""
    aside = result.with_name(f".{result.name}.writing")
    with explained(result, kept=lambda: "The last checkpoint is whole."):
        try:
            shutil.rmtree(aside, ignore_errors=True)
            save_final(model, tokenizer, aside, plan)
            shutil.rmtree(result, ignore_errors=True)
            aside.replace(result)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync(result.parent)
