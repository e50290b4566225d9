"""What lies in a folder that somebody wants to use: a run, an adapter, a model. Loads nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from xtune.errors import ModelError, RunError
from xtune.models.source import CONFIG, fetch, read_json_object
from xtune.recipe import Recipe, read_recipe
from xtune.recipe.models import Data, Full, LoRA, Model, Source, Train
from xtune.run.folder import PLAN, RECIPE, folder_of

ADAPTER = "adapter"
MODEL = "model"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TOKENIZER = "tokenizer_config.json"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What lies in a folder, before anything is loaded."""

    folder: Path
    recipe: Recipe
    adapter: Path | None
    """The PEFT folder; None when the weights are whole."""

    weights: Model
    """What to load: the adapter's base, or the model trained in full."""

    tokenizer: Path
    decided: Mapping[str, Any]
    """Values of the run's plan by name; empty for a bare folder."""


def find_result(run: str | PathLike[str]) -> Found:
    """What there is to open in a folder; cheap, so that a wrong folder is told before torch is imported.

    Raises:
        RunError: There is no such folder, or it holds no finished run, no adapter and no model.
        RecipeError: The run's recipe cannot be read.
    """
    folder = folder_of(run)
    if (folder / RECIPE).is_file():
        return _find_in_run(folder)
    if folder.name in {ADAPTER, MODEL} and (folder.parent / RECIPE).is_file():
        return replace(_find_in_run(folder.parent), folder=folder)
    if (folder / ADAPTER_CONFIG).is_file():
        base = read_json_object(folder / ADAPTER_CONFIG)
        name = base.get("base_model_name_or_path")
        if not isinstance(name, str) or not name:
            raise RunError(f"The adapter in {folder} does not say which model it is for.")
        model = Model(name=name, revision=base.get("revision"))
        return Found(
            folder=folder,
            recipe=_recipe_for(model, LoRA()),
            adapter=folder,
            weights=model,
            tokenizer=_tokenizer_folder(folder, model),
            decided={},
        )
    if (folder / CONFIG).is_file():
        model = Model(name=str(folder))
        return Found(
            folder=folder,
            recipe=_recipe_for(model, Full()),
            adapter=None,
            weights=model,
            tokenizer=folder,
            decided={},
        )
    raise RunError(
        f"{folder} holds neither a run ({RECIPE}), nor an adapter ({ADAPTER_CONFIG}), nor a model ({CONFIG})."
    )


def _find_in_run(run: Path) -> Found:
    recipe = read_recipe(run / RECIPE)
    decided = _decided(run / PLAN)
    if isinstance(recipe.method, Full):
        folder = run / MODEL
        if not (folder / CONFIG).is_file():
            raise _unfinished(run)
        weights = recipe.model.model_copy(update={"name": str(folder), "revision": None})
        return Found(
            folder=run,
            recipe=recipe,
            adapter=None,
            weights=weights,
            tokenizer=folder,
            decided=decided,
        )
    folder = run / ADAPTER
    if not (folder / ADAPTER_CONFIG).is_file():
        raise _unfinished(run)
    return Found(
        folder=run,
        recipe=recipe,
        adapter=folder,
        weights=recipe.model,
        tokenizer=folder,
        decided=decided,
    )


def _unfinished(run: Path) -> RunError:
    return RunError(
        f"The run in {run} is not finished: it has no {ADAPTER}/ and no {MODEL}/ yet.",
        advice="Continue it: xtune train with the same recipe and --resume.",
    )


def _decided(path: Path) -> dict[str, Any]:
    """The values that the run's plan decided, by name.

    Raises:
        RunError: The file is no plan.
    """
    if not path.is_file():
        return {}
    try:
        choices = read_json_object(path)["choices"]
        return {name: choice["value"] for name, choice in choices.items()}
    except (ModelError, KeyError, TypeError, AttributeError):
        raise RunError(
            f"{path} is damaged.", advice="The adapter or model beside it can be opened by itself."
        ) from None


def _recipe_for(model: Model, method: LoRA | Full) -> Recipe:
    """A recipe that says which model a bare folder belongs to; it cannot be trained."""
    return Recipe(
        model=model,
        method=method,
        data=Data(train=(Source(source="none"),)),
        train=Train(learning_rate=1e-5),
    )


def _tokenizer_folder(adapter: Path, base: Model) -> Path:
    """The adapter's own tokenizer where it brings one, else the base's."""
    return adapter if (adapter / TOKENIZER).is_file() else fetch(base, weights=False)
