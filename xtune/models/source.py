"""Where a model's files are: a folder, the bundled demo, Hugging Face or ModelScope. Loads no weights, imports no torch."""

import json
from pathlib import Path
from typing import Any

from xtune.demo.bundled import bundled_path
from xtune.errors import ModelError
from xtune.models.hub import download_file, download_snapshot
from xtune.recipe.models import Model

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""Everything beside the weights: configuration, tokenizer, template."""


def read_config(model: Model) -> dict[str, Any]:
    """A model's config.json as a dict, fetching nothing else.

    Raises:
        ModelError: The folder or id does not exist, cannot be reached, or its config.json is no JSON object.
        MissingPackageError: `hub: modelscope` without the package `modelscope`.
    """
    folder = local_folder(model.name)
    if folder is None:
        path = download_file(model, CONFIG)
    else:
        path = folder / CONFIG
        if not path.is_file():
            raise ModelError(
                f"`model.name` is the folder {model.name}, which has no {CONFIG}.",
                advice=_folder_advice(folder),
            )
    return read_json_object(path)


def fetch(model: Model, *, weights: bool) -> Path:
    """A folder on this machine with the model's files; with `weights`, also its safetensors.

    Raises:
        ModelError: The folder or id does not exist or cannot be reached.
        MissingPackageError: `hub: modelscope` without the package `modelscope`.
    """
    folder = local_folder(model.name)
    if folder is not None:
        return folder
    patterns = [*SMALL_FILES, *(["*.py"] if model.trust_remote_code else [])]
    folder = download_snapshot(model, patterns)
    if not weights:
        return folder
    index = folder / WEIGHTS_INDEX
    shards = [WEIGHTS]
    if index.is_file():
        shards = sorted(set(read_json_object(index).get("weight_map", {}).values()))
    return download_snapshot(model, [*patterns, *shards], show_progress=True)


def local_folder(name: str) -> Path | None:
    """The folder that `name` means, or None when it is an id on a hub.

    Raises:
        ModelError: `name` is clearly a path, and there is no such folder.
    """
    if name.startswith("bundled:"):
        return bundled_path(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ModelError(
            f"`model.name` is the file {name}; it must be a folder with {CONFIG} and safetensors weights, or an id.",
            advice="GGUF and single weight files cannot be trained; use the model's safetensors folder.",
        )
    if name.startswith((".", "/", "~")) or "\\" in name or name.count("/") != 1:
        raise ModelError(
            f"`model.name` is {name}, and there is no such folder.",
            advice='An id on a hub looks like "owner/name"; the demo model is "bundled:demo".',
        )
    return None


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ModelError: The file is not UTF-8 JSON, or holds something other than an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or without end
        raise ModelError(
            f"{path} is not valid JSON: {error}.", advice="Fetch the file again."
        ) from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds a JSON {type(value).__name__}; it must hold an object.")
    return value


def _folder_advice(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return "It is an adapter; `model.name` wants the base model, or merge the adapter first: xtune merge."
    if any(folder.glob("*.gguf")):
        return "It holds GGUF weights, made for inference; use the model's safetensors folder."
    nested = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if nested:
        return f"There is one in {folder / nested[0]}; did you mean that folder?"
    return f"Give the folder that holds {CONFIG}."
