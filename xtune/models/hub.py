"""Fetches a model's files from Hugging Face or ModelScope into the hub's own cache. Which files, `source.py` says."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xtune.errors import MissingPackageError, ModelError
from xtune.hub import MODELSCOPE_LOGGER, errors_only, first_line, knock_at_modelscope
from xtune.recipe.models import Model

_LOGGER = "huggingface_hub"
"""It tells of every retry where there is no network; the error at the end says it once."""

OFFLINE_ADVICE = (
    "Without a network, give a folder as `model.name`, or a model that is already in the hub's cache; "
    "HF_ENDPOINT names a mirror, and `model.hub: modelscope` another hub."
)


def download_file(model: Model, name: str) -> Path:
    """One file of a model, on this machine.

    Raises:
        ModelError: The id, the revision or the file does not exist, is not for everybody, or cannot be reached.
        MissingPackageError: `hub: modelscope` without the package `modelscope`.
    """
    if model.hub == "modelscope":
        return _from_modelscope(model, [name]) / name
    import huggingface_hub  # noqa: PLC0415 - 0.3 s, and folders need no hub

    with _explained(model, name):
        cached = huggingface_hub.try_to_load_from_cache(model.name, name, revision=model.revision)
        if not isinstance(cached, str):
            _knock(model, name)
        return Path(huggingface_hub.hf_hub_download(model.name, name, revision=model.revision))


def download_snapshot(
    model: Model, patterns: Sequence[str], *, show_progress: bool = False
) -> Path:
    """The folder with those of a model's files that fit a pattern; folders inside the repository are left out.

    Raises:
        ModelError: As in `download_file`.
        MissingPackageError: As in `download_file`.
    """
    if model.hub == "modelscope":
        return _from_modelscope(model, patterns)
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - 0.3 s, and folders need no hub

    with _explained(model, patterns[0]), _bars(show_progress and sys.stderr.isatty()):
        folder = snapshot_download(
            model.name,
            revision=model.revision,
            allow_patterns=list(patterns),
            ignore_patterns=["*/*"],
        )
    return Path(folder)


def _knock(model: Model, name: str) -> None:
    """Ask once whether anybody answers: without a network, `hf_hub_download` goes on asking for 23 seconds."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        get_hf_file_metadata(hf_hub_url(model.name, name, revision=model.revision))
    except HfHubHTTPError:
        return  # somebody does; the download knows what to make of the answer


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """The hub's progress bars on or off; they would fill a log, and a tokenizer takes no time."""
    import huggingface_hub.utils  # noqa: PLC0415

    bars: Any = huggingface_hub.utils  # exported without saying so
    if shown or bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()


@contextmanager
def _explained(model: Model, name: str) -> Iterator[None]:
    # Turns what huggingface_hub raises into what a person should read.
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    # its bases are OSError and the error of the HTTP library, httpx or httpx2 by release
    failures: Any = (*HfHubHTTPError.__bases__, ValueError, LookupError)
    try:
        with errors_only(_LOGGER):
            yield
    except failures as error:
        raise _problem(model, name, error) from error


def _problem(model: Model, file: str, error: Exception) -> ModelError:
    """What a failure of huggingface_hub means for the person."""
    from huggingface_hub import errors  # noqa: PLC0415

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
    if isinstance(error, errors.LocalEntryNotFoundError) or _is_unreachable(error):
        return ModelError(
            f"{name} is neither a folder here nor, as a whole, in the hub's cache, and Hugging Face cannot be reached.",
            advice=OFFLINE_ADVICE,
        )
    if isinstance(error, errors.EntryNotFoundError):
        return ModelError(
            f"{name} on Hugging Face has no {file}.",
            advice="Use a repository in transformers' format.",
        )
    if isinstance(error, errors.HFValidationError):
        return ModelError(
            f"`model.name` is {name}, which is neither a folder here nor a valid id.",
            advice='An id looks like "owner/name".',
        )
    # a mirror may say no more than 401, and so does Hugging Face to those who are not logged in
    if isinstance(error, errors.RepositoryNotFoundError) or _status(error) in {401, 404}:
        return ModelError(
            f"There is no model {name} on Hugging Face, no folder of that name here, or it is private.",
            advice="Check the spelling; for a private model log in: hf auth login.",
        )
    return ModelError(
        f"{name} could not be fetched from Hugging Face: {first_line(error)}.",
        advice=OFFLINE_ADVICE,
    )


def _is_unreachable(error: Exception) -> bool:
    """Whether nobody answered, or nobody may be asked."""
    from huggingface_hub import errors  # noqa: PLC0415

    transport = errors.HfHubHTTPError.__bases__[0]
    answered = isinstance(error, errors.HfHubHTTPError)
    return isinstance(error, errors.OfflineModeIsEnabled) or (
        isinstance(error, transport) and not answered
    )


def _from_modelscope(model: Model, patterns: Sequence[str]) -> Path:
    try:
        from modelscope import snapshot_download
        from modelscope.hub import errors
    except ImportError:
        raise MissingPackageError(
            "modelscope",
            purpose="`model.hub: modelscope`",
            command='pip install "xtune[modelscope]"',
        ) from None
    # their common base class changed between releases
    own = [value for value in vars(errors).values() if isinstance(value, type)]
    failures: Any = (
        OSError,
        ValueError,
        *(value for value in own if issubclass(value, Exception)),
    )
    options = {
        "revision": model.revision,
        "allow_patterns": list(patterns),
        "ignore_patterns": ["*/*"],
    }
    with errors_only(MODELSCOPE_LOGGER):
        try:
            knock_at_modelscope()
            return Path(snapshot_download(model.name, **options))
        except ConnectionError as error:
            try:
                return Path(snapshot_download(model.name, **options, local_files_only=True))
            except failures:
                raise ModelError(
                    f"{model.name} is neither a folder here nor in ModelScope's cache, and ModelScope cannot be reached.",
                    advice="Without a network, give a folder as `model.name`; MODELSCOPE_ENDPOINT names a mirror.",
                ) from error
        except failures as error:
            raise _modelscope_problem(model, error) from error


def _modelscope_problem(model: Model, error: Exception) -> ModelError:
    if _status(error) in {401, 403, 404}:
        revision = "" if model.revision is None else f" with the revision {model.revision}"
        return ModelError(
            f"There is no model {model.name}{revision} on ModelScope, no folder of that name here, or it is private.",
            advice="Check the spelling; for a private model log in: modelscope login.",
        )
    return ModelError(
        f"{model.name} could not be fetched from ModelScope: {first_line(error)}.",
        advice="Check the network; for a private model log in: modelscope login.",
    )


def _status(error: Exception) -> int | None:
    """The HTTP status that an error of either hub carries."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status
