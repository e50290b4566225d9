"""The folder of a run: who may write in it, what it was asked for, what it came to.

RUN/recipe.yaml        what was asked, complete            metrics.jsonl   loss and evaluation, exact
RUN/plan.json          what was decided, with reasons      speed.jsonl     tokens/s, memory
RUN/environment.json   versions, machine, commit           loss.png        the picture
RUN/data.json          rows, drops, fingerprints           checkpoints/    to resume from
RUN/status.json        how far it came, how it ended       tensorboard/
RUN/adapter | model    the result, a standard folder       README.md       the model card
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from typing_extensions import Self

from xtune.demo.bundled import bundled_path, is_bundled
from xtune.durable import explained, write_json, write_text
from xtune.errors import RunError
from xtune.run.lock import LOCK, take_lock

RECIPE = "recipe.yaml"
PLAN = "plan.json"
DATA = "data.json"
ENVIRONMENT = "environment.json"
STATUS = "status.json"

# A run may go on with other values of these: they change neither weights nor metrics.
_FREE_TO_CHANGE = frozenset(
    {
        "run.folder",
        "run.trackers",
        "train.max_minutes",
        "train.keep_checkpoints",
        "train.save_every",
    }
)


def folder_of(run: str | PathLike[str]) -> Path:
    """The folder of a run, an adapter or a model; `bundled:` names are folders, too.

    Raises:
        RunError: There is none; found out before torch is imported, which takes seconds.
    """
    name = fspath(run)
    if is_bundled(name):
        return bundled_path(name)
    folder = Path(name)
    if folder.is_dir():
        return folder
    likely = Path("runs") / folder
    near = f"Did you mean {likely}? " if likely.is_dir() else ""
    raise RunError(
        f"There is no folder {folder}.",
        advice=f"{near}Give a run's, an adapter's or a model's folder.",
    )


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a run stands."""

    state: str
    """"running", or one of the ends in `xtune.run.observer.EndInfo`."""

    step: int
    total_steps: int


class RunFolder:
    """A run folder held by this process until closed; a second holder is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @classmethod
    def open(cls, path: Path, *, resume: bool) -> "RunFolder":
        """Take the folder for training.

        Args:
            path: The run folder; made if absent.
            resume: Whether an unfinished run in it is to be continued.

        Raises:
            RunError: Another process holds it; it holds a run and `resume` is off; it holds other things; it is a file.
        """
        folder = cls(path)
        folder.check_free(resume=resume)
        with explained(path, kept=lambda: "Nothing was changed."):
            path.mkdir(parents=True, exist_ok=True)
            folder._acquire()
        try:
            folder._check_contents(resume=resume)
        except RunError:
            folder.close()
            raise
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_free(self, *, resume: bool) -> None:
        """Refuse a folder that cannot be taken, and make nothing; `open` asks again.

        Raises:
            RunError: As in `open`.
        """
        if self.path.is_dir():
            if (self.path / LOCK).exists():
                with explained(self.path, kept=lambda: "Nothing was changed."):
                    self._acquire()
                self.close()
            self._check_contents(resume=resume)
        elif self.path.exists():
            raise RunError(
                f"The run folder {self.path} is a file.", advice="Choose another run.folder."
            )

    def close(self) -> None:
        """Let the folder go."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def holds_run(self) -> bool:
        """Whether there is a run in it to continue; a start that ended without a checkpoint is none."""
        if not (self.path / RECIPE).exists():
            return False
        status = self.status()
        ended = status is not None and status.state in {"failed", "diverged", "interrupted"}
        return self.has_checkpoint or not ended

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was written in it."""
        return any((self.path / "checkpoints").glob("step-*"))

    def status(self) -> Status | None:
        """How the run in it stands; None if none was started or the note is unreadable."""
        try:
            return Status(**json.loads((self.path / STATUS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_status(self, state: str, *, step: int, total_steps: int) -> None:
        """Note how the run stands."""
        write_json(self.path / STATUS, {"state": state, "step": step, "total_steps": total_steps})

    def write_start(self, *, recipe_yaml: str, plan: Any, environment: Any, data: Any) -> None:
        """Write what the run was asked and what was decided; the recipe last, as it marks a started run.

        Raises:
            RunError: The disk is full or refuses the write.
        """
        with explained(self.path, kept=lambda: "Nothing was trained."):
            # of an earlier start that came to nothing
            (self.path / STATUS).unlink(missing_ok=True)
            write_json(self.path / PLAN, plan)
            write_json(self.path / ENVIRONMENT, environment)
            write_json(self.path / DATA, data)
            write_text(self.path / RECIPE, recipe_yaml)

    def write_plan(self, plan: Any) -> None:
        """Write what was decided anew in the middle of the run.

        Raises:
            RunError: The disk is full or refuses the write.
        """
        with explained(self.path, kept=lambda: "The last checkpoint is whole."):
            write_json(self.path / PLAN, plan)

    def data_files(self) -> dict[str, str]:
        """Fingerprints of the data of the run in it: file name to SHA-256.

        Raises:
            RunError: The note of them is damaged or gone.
        """
        return {file["name"]: file["sha256"] for file in self._data_notes()}

    def rewritten(self, written_ns: Mapping[str, int | None]) -> list[str]:
        """Names of files that were written since the run began, by their times now, where their fingerprints do not say all.

        Raises:
            RunError: The note of them is damaged or gone.
        """
        before = {file["name"]: file.get("written_ns") for file in self._data_notes()}
        return sorted(
            name for name, now in written_ns.items() if now is not None and before.get(name) != now
        )

    def _data_notes(self) -> list[Any]:
        try:
            data = json.loads((self.path / DATA).read_text(encoding="utf-8"))
            return [file for file in data["files"] if file["name"] and file["sha256"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(
                f"{self.path / 'data.json'} is damaged or gone, so nobody can tell whether the data are still those of the run.",
                advice="Start a new run with run.folder=...",
            ) from None

    def check_same_run(self, *, old: Any, new: Any, old_files: Any, new_files: Any) -> None:
        """Refuse to continue a run with another recipe or other data: the result would be neither's.

        Args:
            old: The recipe of the folder, as plain dicts.
            new: The recipe asked for now, as plain dicts.
            old_files: Data fingerprints of the folder: file name to SHA-256.
            new_files: Data fingerprints now.

        Raises:
            RunError: Names every key or file that differs.
        """
        changed = [name for name in _differences(old, new) if name not in _FREE_TO_CHANGE]
        if changed:
            raise RunError(
                f"The run in {self.path} was started with another recipe; different now: {', '.join(changed)}.",
                advice="Resume with the recipe it was started with, or start a new run with run.folder=...",
            )
        if old_files != new_files:
            names = sorted(
                name
                for name in {*old_files, *new_files}
                if old_files.get(name) != new_files.get(name)
            )
            raise RunError(
                f"The data of the run in {self.path} has changed since it was started: {', '.join(names)}.",
                advice="Bring the old files back, or start a new run with run.folder=...",
            )

    def _acquire(self) -> None:
        self._lock = take_lock(self.path, advice="Wait for it, or choose another run.folder.")

    def _check_contents(self, *, resume: bool) -> None:
        if self.holds_run:
            if resume:
                return
            status = self.status()
            how_far = (
                f", {status.state.replace('_', ' ')} at step {status.step} of {status.total_steps}"
                if status
                else ""
            )
            # a finished run has nothing left to do, and a diverged one would diverge again
            over = status is not None and status.state in {"finished", "stopped_early", "diverged"}
            way_on = "Choose" if over else "Continue it with --resume, or choose"
            raise RunError(
                f"The folder {self.path} already holds a run{how_far}.",
                advice=f"{way_on} another folder with run.folder=...",
            )
        if (self.path / RECIPE).exists():
            return
        # what a start that was killed early may leave behind is ours; anything else is not
        ours = {LOCK, PLAN, ENVIRONMENT, DATA, "log.txt"}
        others = sorted(
            entry.name
            for entry in self.path.iterdir()
            if entry.name not in ours and not entry.name.endswith(".writing")
        )
        if others:
            raise RunError(
                f"The folder {self.path} is not empty and holds no run (found {', '.join(others[:3])}).",
                advice="Choose another folder with run.folder=...",
            )


def _differences(old: Any, new: Any, prefix: str = "") -> Sequence[str]:
    """Dotted names of the leaves in which two nested dicts differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            name
            for key in sorted({*old, *new})
            for name in _differences(
                old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key)
            )
        ]
    return [] if old == new else [prefix]
