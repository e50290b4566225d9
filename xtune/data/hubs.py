"""Fetches the data files of a set on Hugging Face or ModelScope into the hub's own cache; which files, `splits.py` says.

The files themselves are read (Parquet, JSON ...), never code of the set. A first fetch notes the
hub's list of files beside the cache, so that a start without a network knows whether all are there.
"""

import glob
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xtune.data.problems import listed, refuse
from xtune.data.sets import DataSet
from xtune.data.splits import choose
from xtune.errors import DataError, MissingPackageError, Problem
from xtune.hub import MODELSCOPE_LOGGER, errors_only, first_line, knock_at_modelscope
from xtune.recipe import Source

log = logging.getLogger("xtune")

HUBS = {"hf:": "Hugging Face", "modelscope:": "ModelScope"}
"""How a source names a hub, and the hub's own name."""

CARD = "README.md"

_OFFLINE_ADVICE = (
    "without a network, only sets that were fetched before can be read; HF_ENDPOINT names a mirror."
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of which set on which hub."""

    hub: str
    """`hf:` or `modelscope:`."""

    name: str
    split: str
    subset: str | None = None
    revision: str | None = None
    paths: tuple[str, ...] = ()
    """Patterns of the files, where a known set says which; else the set's card and the files' names say it."""

    elsewhere: str | None = None
    """Its id on ModelScope, where that is known and another hub is asked."""

    def __str__(self) -> str:
        return f"{self.hub}{self.name}"

    @classmethod
    def of(cls, source: Source) -> "Wanted":
        """What a recipe's source asks for.

        Raises:
            DataError: The id is malformed.
        """
        hub, colon, name = source.source.partition(":")
        name = name.strip("/")
        parts = name.split("/")
        if not all(parts) or len(parts) > 2 or (hub == "modelscope" and len(parts) != 2):
            refuse(
                f"`{source.source}` names no data set",
                where="data source",
                allowed=f"an id looks like `{hub}:owner/name`",
            )
        return cls(
            hub=hub + colon,
            name=name,
            split=source.split,
            subset=source.subset,
            revision=source.revision,
        )

    @classmethod
    def of_set(cls, known: DataSet, source: Source) -> "Wanted":
        """What a known set is on Hugging Face; what the source says goes before what the set says."""
        given = "split" in source.model_fields_set
        return cls(
            hub="hf:",
            name=known.hub,
            split=source.split if given else known.split,
            subset=source.subset or known.subset,
            revision=source.revision or known.revision,
            paths=() if given or source.subset else known.paths,
            elsewhere=known.modelscope,
        )


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Files of a split on this machine."""

    files: list[tuple[str, Path, str]]
    """Name for messages, path, kind."""

    left_out: Counter[str] = field(default_factory=Counter)


def fetch_files(wanted: Wanted) -> Fetched:
    """Fetch what is not in the hub's cache yet of the files of a split.

    Raises:
        DataError: There is no such set, subset or split, or it cannot be reached.
        MissingPackageError: ModelScope without the package `modelscope`.
    """
    repository = _HuggingFace(wanted) if wanted.hub == "hf:" else _ModelScope(wanted)
    names = repository.names()
    card = repository.card() if CARD in names and not wanted.paths else ""
    chosen = choose(
        names,
        card,
        place=str(wanted),
        split=wanted.split,
        subset=wanted.subset,
        paths=wanted.paths,
    )
    folder = repository.fetch([name for name, _ in chosen.files])
    files = [(f"{wanted}/{name}", folder / name, kind) for name, kind in chosen.files]
    absent = [name for name, path, _ in files if not path.is_file()]
    if absent:
        refuse(
            f"Of `{wanted}`, {listed(absent, 3)} could not be fetched",
            where="data source",
            advice=_OFFLINE_ADVICE,
        )
    return Fetched(files=files, left_out=chosen.left_out)


class _HuggingFace:
    """A data set on Hugging Face, or on the server that HF_ENDPOINT names."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._revision = wanted.revision
        """The commit, once it is known: the set does not change while it is read."""
        self._offline = False

    def names(self) -> list[str]:
        from huggingface_hub import HfApi, errors  # noqa: PLC0415 - 0.3 s, and local files need none

        wanted = self._wanted
        try:
            info = HfApi().dataset_info(wanted.name, revision=wanted.revision, timeout=30)
        except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
            return self._noted(error)
        except errors.HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise self._problem(error) from error
            return self._noted(error)
        except errors.HFValidationError as error:
            raise self._problem(error) from error
        except (OSError, ValueError, _transport_error()) as error:
            return self._noted(error)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        self._revision = info.sha or self._revision
        _write_note(self._note_path(), names, self._revision, self._wanted)
        return names

    def _noted(self, error: Exception) -> list[str]:
        noted = _read_note(self._note_path())
        if noted is None:
            raise self._problem(error) from error
        self._offline = True
        names, self._revision = noted
        _tell_cache(self._wanted)
        return names

    def _note_path(self) -> Path:
        from huggingface_hub import constants  # noqa: PLC0415 - 0.3 s

        return _note_path(Path(constants.HF_HUB_CACHE), self._wanted)

    def card(self) -> str:
        return (self.fetch([CARD]) / CARD).read_text(encoding="utf-8", errors="replace")

    def fetch(self, names: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - 0.3 s

        try:
            return Path(
                snapshot_download(
                    self._wanted.name,
                    repo_type="dataset",
                    revision=self._revision,
                    allow_patterns=[glob.escape(name) for name in names],
                    local_files_only=self._offline,
                )
            )
        except (OSError, ValueError, LookupError, _transport_error()) as error:
            raise self._problem(error) from error

    def _problem(self, error: Exception) -> DataError:
        from huggingface_hub import errors  # noqa: PLC0415 - 0.3 s

        name, revision = self._wanted.name, self._wanted.revision
        if isinstance(error, errors.GatedRepoError):
            return _fault(
                f"`hf:{name}` is a gated data set",
                f"accept its terms at https://huggingface.co/datasets/{name}, then log in: hf auth login.",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return _fault(f"`hf:{name}` has no revision `{revision}`", "check `revision`.")
        if isinstance(error, errors.RepositoryNotFoundError):
            return _fault(
                f"There is no data set `{name}` on Hugging Face, or it is private",
                "check the spelling; for a private set log in: hf auth login.",
            )
        if isinstance(error, errors.HFValidationError):
            return _fault(f"`{name}` is no id of a data set", "an id looks like `hf:owner/name`.")
        other = self._wanted.elsewhere
        elsewhere = f" On ModelScope it is `modelscope:{other}`." if other else ""
        what = f"`hf:{name}` could not be fetched: {first_line(error)}"
        return _fault(what, _OFFLINE_ADVICE + elsewhere)


def _note_path(cache: Path, wanted: Wanted) -> Path:
    """Where the list of a set's files is noted beside the hub's cache."""
    revision = (wanted.revision or "default").replace("/", "--")
    return cache / ".xtune" / wanted.name.replace("/", "--") / f"{revision}.json"


def _write_note(path: Path, names: Sequence[str], revision: str | None, wanted: Wanted) -> None:
    note = json.dumps({"revision": revision, "files": list(names)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(note, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:  # a cache that cannot be written to can still be read from
        log.debug("The list of files of %s was not kept: %s", wanted, error)


def _read_note(path: Path) -> tuple[list[str], str | None] | None:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return [str(name) for name in note["files"]], note["revision"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _tell_cache(wanted: Wanted) -> None:
    log.info("%s cannot be reached; its copy in the hub's cache is read.", wanted)


def _transport_error() -> type[Exception]:
    """What the HTTP client under huggingface_hub raises where there is no network; the client changed between releases."""
    from huggingface_hub import errors  # noqa: PLC0415 - 0.3 s

    found: type[Exception] = vars(errors).get("HTTPError", OSError)
    return found


class _ModelScope:
    """A data set on ModelScope, or on the server that MODELSCOPE_ENDPOINT names."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        try:
            from modelscope.hub import errors
            from modelscope.hub.api import HubApi
            from modelscope.hub.snapshot_download import snapshot_download
        except ImportError:
            raise MissingPackageError(
                "modelscope",
                purpose=f"`{wanted}`",
                command='pip install "xtune[modelscope]"',
            ) from None
        self._api: Any = HubApi()
        self._download = snapshot_download
        # their common base class changed between releases
        own = (value for value in vars(errors).values() if isinstance(value, type))
        self._failures: tuple[type[Exception], ...] = (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            *(value for value in own if issubclass(value, Exception)),
        )
        self._offline = False

    def names(self) -> list[str]:
        try:
            with errors_only(MODELSCOPE_LOGGER):
                knock_at_modelscope()
                names = self._listed()
        except ConnectionError as error:
            noted = _read_note(self._note_path())
            if noted is None:
                raise self._problem(error) from error
            self._offline = True
            _tell_cache(self._wanted)
            return noted[0]
        except self._failures as error:
            raise self._problem(error) from error
        _write_note(self._note_path(), names, self._wanted.revision, self._wanted)
        return names

    def _listed(self) -> list[str]:
        names: list[str] = []
        page, size = 1, 200
        while True:
            entries = self._api.get_dataset_files(
                self._wanted.name,
                revision=self._wanted.revision or "master",
                root_path="/",
                recursive=True,
                page_number=page,
                page_size=size,
            )
            names += [str(entry["Path"]) for entry in entries if entry.get("Type") != "tree"]
            if len(entries) < size:
                return names
            page += 1

    def _note_path(self) -> Path:
        from modelscope.utils.file_utils import get_modelscope_cache_dir

        return _note_path(Path(get_modelscope_cache_dir()) / "datasets", self._wanted)

    def card(self) -> str:
        return (self.fetch([CARD]) / CARD).read_text(encoding="utf-8", errors="replace")

    def fetch(self, names: Sequence[str]) -> Path:
        options: dict[str, Any] = {
            "repo_type": "dataset",
            "revision": self._wanted.revision,
            "allow_patterns": [glob.escape(name) for name in names],
            "local_files_only": self._offline,
        }
        try:
            with errors_only(MODELSCOPE_LOGGER):
                return Path(self._download(self._wanted.name, **options))
        except self._failures as error:
            raise self._problem(error) from error

    def _problem(self, error: Exception) -> DataError:
        # of requests, or the client's own error of a request
        answer = getattr(error, "response", None)
        status = getattr(error, "status_code", getattr(answer, "status_code", None))
        if status in {401, 403, 404}:
            revision = self._wanted.revision
            of = f" with the revision `{revision}`" if revision is not None else ""
            return _fault(
                f"There is no data set `{self._wanted.name}`{of} on ModelScope, or it is private",
                "check the spelling; for a private set log in: modelscope login.",
            )
        return _fault(
            f"`{self._wanted}` could not be fetched: {first_line(error)}",
            "check the id, the revision and the network (MODELSCOPE_ENDPOINT names a mirror); for a private set: modelscope login.",
        )


def _fault(what: str, advice: str) -> DataError:
    return DataError([Problem(what=what, where="data source", advice=advice)])
