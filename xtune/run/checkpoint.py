"""Checkpoints that are whole or absent: written aside, hashed, fsynced, marked complete, renamed.

    checkpoints/step-000100/
        weights.safetensors    the trained tensors, in their own dtypes
        optimizer.pt           the optimizer's state (and the loss scaler's)
        state.json             step, counters, best loss
        manifest.json          size and SHA-256 of every file above; written last

There is no random state in it: every step seeds its own generators from (seed, step, rank).
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from xtune.durable import explained, sync
from xtune.errors import RunError

_WRITING = ".writing-"
_MANIFEST = "manifest.json"


@dataclass(kw_only=True)
class TrainingState:
    """Where training stands, beyond weights and optimizer."""

    step: int = 0
    """Optimizer steps done."""

    tokens: int = 0
    """Real tokens seen, over all ranks."""

    trained_tokens: float = 0.0
    """Sum of loss weights seen."""

    elapsed_s: float = 0.0
    """Training time, over all resumes together."""

    best_loss: float | None = None
    best_step: int | None = None
    evaluations_since_best: int = 0
    evaluation_is_due: bool = False
    """Whether the step was to be evaluated, and was not yet: memory ran out."""

    data: dict[str, Any] | None = None
    """Where streamed data go on; None where every step is a function of its number."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that has been read and found whole."""

    path: Path
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    state: TrainingState


@dataclass(frozen=True, kw_only=True)
class Found:
    """The newest whole checkpoint, and what was wrong with newer ones."""

    checkpoint: Checkpoint | None
    damaged: tuple[str, ...] = field(default=())
    """One sentence for each checkpoint that was passed over."""


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        """Open the store; leftovers of a save that was killed are removed.

        Args:
            folder: The run's `checkpoints` folder, made if absent.
            keep: How many of the newest checkpoints stay; the best one stays besides.
        """
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_WRITING}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def path(self, step: int) -> Path:
        """The folder of the checkpoint at a step."""
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint folder, in order; whether whole is not checked."""
        return sorted(
            int(path.name.removeprefix("step-"))
            for path in self.folder.glob("step-*")
            if path.name.removeprefix("step-").isdigit()
        )

    def save(
        self,
        weights: Mapping[str, torch.Tensor],
        optimizer: Mapping[str, Any],
        state: TrainingState,
    ) -> Path:
        """Write a checkpoint; when this returns, it is on the disk and older ones beyond the limit are gone.

        Raises:
            RunError: The disk is full or refuses the write; earlier checkpoints are untouched.
        """
        target = self.path(state.step)
        aside = self.folder / f"{_WRITING}{target.name}"
        with explained(target, kept=self._what_is_whole):
            if target.exists():
                if _is_whole(
                    target
                ):  # the same step again: it is a function of the recipe, so it is the same
                    return target
                shutil.rmtree(target)
            try:
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir()
                self._write(aside, weights, optimizer, state)
                aside.replace(target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            sync(self.folder)
        self._forget_old(best=state.best_step)
        return target

    def load(self, step: int) -> Checkpoint:
        """Read one checkpoint and check every byte of it.

        Raises:
            RunError: It is incomplete or damaged; says how.
        """
        path = self.path(step)
        verify(path)
        # weights_only: a checkpoint from elsewhere cannot run code
        # mapped: a run that goes on needs no more memory than one that starts
        optimizer = torch.load(
            path / "optimizer.pt", map_location="cpu", weights_only=True, mmap=True
        )
        state = TrainingState(**json.loads((path / "state.json").read_text(encoding="utf-8")))
        return Checkpoint(
            path=path,
            weights=load_file(path / "weights.safetensors"),
            optimizer=optimizer,
            state=state,
        )

    def newest(self) -> Found:
        """The newest checkpoint that is whole; damaged ones are passed over, named, and renamed `damaged-...`.

        Renamed, because a damaged checkpoint must not count among the newest ones that are kept.
        """
        damaged: list[str] = []
        for step in reversed(self.steps()):
            try:
                return Found(checkpoint=self.load(step), damaged=tuple(damaged))
            except RunError as error:
                damaged.append(error.message)
                aside = self.folder / f"damaged-{self.path(step).name}"
                shutil.rmtree(aside, ignore_errors=True)
                self.path(step).replace(aside)
        return Found(checkpoint=None, damaged=tuple(damaged))

    def _write(
        self,
        aside: Path,
        weights: Mapping[str, torch.Tensor],
        optimizer: Mapping[str, Any],
        state: TrainingState,
    ) -> None:
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in weights.items()}
        try:
            save_file(tensors, aside / "weights.safetensors")
            torch.save(dict(optimizer), aside / "optimizer.pt")
        except (SafetensorError, RuntimeError) as error:
            if _is_about_memory(error):
                raise
            # both wrap the system's refusal in an error of their own, and keep its number only in the text
            raise OSError(_find_errno(error), str(error)) from error
        (aside / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
        manifest = {
            path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(aside.iterdir())
        }
        for name in manifest:
            sync(aside / name)
        (aside / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        sync(aside / _MANIFEST)
        sync(aside)

    def _what_is_whole(self) -> str:
        steps = self.steps()
        return (
            f"The checkpoint of step {steps[-1]} is whole."
            if steps
            else "There is no checkpoint yet."
        )

    def _forget_old(self, *, best: int | None) -> None:
        for step in self.steps()[: -self.keep]:
            if step != best:
                # renamed first: a kill in the middle of the removal leaves a leftover, not half a checkpoint
                leftover = self.folder / f"{_WRITING}removed-{step:06d}"
                self.path(step).replace(leftover)
                shutil.rmtree(leftover, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    try:
        verify(path)
    except RunError:
        return False
    return True


def verify(path: Path) -> None:
    """Check a checkpoint against its manifest.

    Raises:
        RunError: Something is missing, has another size, or another hash.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(
            f"The checkpoint {path.name} is incomplete: it has no readable manifest."
        ) from None
    if not {"weights.safetensors", "optimizer.pt", "state.json"} <= expected.keys():
        raise RunError(f"The checkpoint {path.name} is incomplete: its manifest lacks a file.")
    for name, (size, digest) in expected.items():
        file = path / name
        if not file.is_file():
            raise RunError(f"The checkpoint {path.name} is incomplete: {name} is missing.")
        if file.stat().st_size != size:
            raise RunError(
                f"The checkpoint {path.name} is damaged: {name} has {file.stat().st_size} bytes instead of {size}."
            )
        if _sha256(file) != digest:
            raise RunError(
                f"The checkpoint {path.name} is damaged: {name} has changed since it was written."
            )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_about_memory(error: Exception) -> bool:
    """Whether a copy of a tensor had no room, which is no refusal of the disk."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def _find_errno(error: Exception) -> int:
    text = str(error).lower()
    if "file too large" in text or "os error 27" in text:
        return errno.EFBIG
    # torch.save on a full disk says only that the written position was unexpected
    return (
        errno.ENOSPC
        if "no space" in text or "os error 28" in text or "unexpected pos" in text
        else 0
    )
