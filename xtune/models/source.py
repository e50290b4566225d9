"""Where a model's files are: a folder, the bundled demo, Hugging Face or ModelScope. Loads no weights, imports no torch."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xtune.demo.bundled import bundled_path
from xtune.errors import MissingPackageError, ModelError
from xtune.models.silence import errors_only
from xtune.recipe.models import Model

log = logging.getLogger("xtune")

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""Everything beside the weights: configuration, tokenizer, template."""

_HUB = "huggingface_hub"
"""Its logger tells of every retry where there is no network; the error at the end says it once."""

OFFLINE_ADVICE = (
    "Without a network, give a folder as `model.name`, or a model that is already in the hub's cache; "
    "HF_ENDPOINT names a mirror, and `model.hub: modelscope` another hub."
)


def read_config(model: Model) -> dict[str, Any]:
    """A model's config.json as a dict, fetching nothing else.

    Raises:
        ModelError: The folder or id does not exist, cannot be reached, or its config.json is no JSON object.
        MissingPackageError: `hub: modelscope` without the package `modelscope`.
    """
    folder = local_folder(model.name)
    if folder is None:
        path = _download_file(model, CONFIG)
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
    folder = _download_snapshot(model, patterns)
    if weights and (index := folder / WEIGHTS_INDEX).is_file():
        shards = sorted(set(read_json_object(index).get("weight_map", {}).values()))
        return _download_snapshot(model, [*patterns, *shards])
    return _download_snapshot(model, [*patterns, WEIGHTS]) if weights else folder


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
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
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


def _download_file(model: Model, name: str) -> Path:
    if model.hub == "modelscope":
        return _download_snapshot(model, [name]) / name
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - 0.3 s, and folders need no hub

    try:
        with errors_only(_HUB):
            return Path(hf_hub_download(model.name, name, revision=model.revision))
    except (OSError, ValueError, LookupError) as error:
        raise _hub_problem(model, error) from error


def _download_snapshot(model: Model, patterns: Sequence[str]) -> Path:
    if model.hub == "modelscope":
        return _download_from_modelscope(model, patterns)
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - 0.3 s, and folders need no hub

    try:
        with errors_only(_HUB):
            folder = snapshot_download(
                model.name,
                revision=model.revision,
                allow_patterns=list(patterns),
                ignore_patterns=["*/*"],
            )
    except (OSError, ValueError, LookupError) as error:
        raise _hub_problem(model, error) from error
    return Path(folder)


def _download_from_modelscope(model: Model, patterns: Sequence[str]) -> Path:
    try:
        from modelscope import snapshot_download
    except ImportError:
        raise MissingPackageError(
            "modelscope",
            purpose="`model.hub: modelscope`",
            command='pip install "xtune[modelscope]"',
        ) from None
    from modelscope.hub import errors

    # their common base class changed between releases
    own = (value for value in vars(errors).values() if isinstance(value, type))
    failures: tuple[type[Exception], ...] = (
        OSError,
        ValueError,
        *(value for value in own if issubclass(value, Exception)),
    )
    try:
        return Path(
            snapshot_download(model.name, revision=model.revision, allow_patterns=list(patterns))
        )
    except failures as error:
        raise ModelError(
            f"{model.name} could not be fetched from ModelScope: {_first_line(error)}.",
            advice=f"Check the id and the network; for a private model: modelscope login. {OFFLINE_ADVICE}",
        ) from error


def _hub_problem(model: Model, error: Exception) -> ModelError:
    """What a failure of huggingface_hub means for the person."""
    from huggingface_hub import errors  # noqa: PLC0415 - 0.3 s, and folders need no hub

    name = model.name
    if isinstance(error, errors.GatedRepoError):
        return ModelError(
            f"{name} is a gated model.",
            advice=f"Accept its licence at https://huggingface.co/{name}, then log in: hf auth login.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(
            f"{name} has no revision {model.revision}.", advice="Check `model.revision`."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelError(
            f"There is no model {name} on Hugging Face, no folder of that name here, or it is private.",
            advice="Check the spelling; for a private model log in: hf auth login.",
        )
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        return ModelError(
            f"{name} is neither a folder here nor in the hub's cache, and Hugging Face cannot be reached.",
            advice=OFFLINE_ADVICE,
        )
    if isinstance(error, errors.EntryNotFoundError):
        return ModelError(
            f"{name} on Hugging Face has no {CONFIG}.",
            advice="Use a repository in transformers' format.",
        )
    if isinstance(error, errors.HFValidationError):
        return ModelError(
            f"`model.name` is {name}, which is neither a folder here nor a valid id.",
            advice='An id looks like "owner/name".',
        )
    return ModelError(
        f"{name} could not be fetched from Hugging Face: {_first_line(error)}.",
        advice=OFFLINE_ADVICE,
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__).rstrip(".")
