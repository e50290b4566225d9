"""Merges an adapter into its base file by file: a standalone transformers folder, compared with the adapter before it is trusted."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from xtune.adapter.difference import Difference, make_probe
from xtune.adapter.merging import Merging, Progress
from xtune.adapter.open import loading_for
from xtune.durable import explained, sync
from xtune.errors import Interrupted, RunError
from xtune.found import Found, find_result
from xtune.hardware import detect
from xtune.models.shards import Shards
from xtune.models.tokenizer import open_tokenizer
from xtune.recipe.models import QLoRA
from xtune.run.lock import LOCK, is_held, take_lock
from xtune.shown import size_text

Base: TypeAlias = Literal["unquantised", "dequantised"]

WHICH = (
    "`dequantised` keeps what was trained, in 16 bit; `unquantised` is the place to go on from, and what to quantise "
    "anew by another method"
)
"""Which base is better when, in half a sentence; measured: docs/merge.md."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A merged model and how far it is from the adapter it was made of."""

    folder: Path
    base: Base
    """What the adapter was added to: the original weights, or what quantisation left of them."""

    was_quantised: bool
    """Whether the adapter was trained on a quantised base, so that `base` makes a difference."""

    files: int
    size: int
    """Bytes of the weights."""

    written: Difference
    """From the adapter beside the very weights that it was added to: what rounding to the files' type does."""

    trained: Difference
    """From the adapter beside the weights that it was trained with."""

    compared: str
    """On which texts."""

    def __str__(self) -> str:
        onto = {
            "unquantised": "the original weights of its base",
            "dequantised": "its base as quantisation left it, the weights it was trained on",
        }[self.base]
        files = "1 file" if self.files == 1 else f"{self.files} files"
        lines = [
            f"Merged into {onto}: {self.folder} ({files}, {size_text(self.size)})",
            f"Compared with the adapter beside these weights on {self.compared}: {self.written}",
        ]
        if self.was_quantised and self.base == "unquantised":
            lines += [
                f"Compared with the adapter beside the quantised weights it was trained on: {self.trained}",
                f"The adapter has learned part of the quantised base's error away: {WHICH}.",
            ]
        elif self.was_quantised:
            lines.append(f"Merged with --base dequantised: {WHICH}.")
        return "\n".join(lines)


def merge(
    folder: Path,
    target: Path,
    *,
    base: Base = "unquantised",
    rows: Sequence[Sequence[int]] = (),
    progress: Progress | None = None,
) -> Merged:
    """Writes base and adapter as one transformers folder with tokenizer and template.

    The base's files are read a tensor at a time, and what is written has their names, their types and the tensors
    that the adapter does not touch, byte for byte. Then the logits of the written model are compared with those of base
    and adapter, a layer of either in memory at a time, all in float32 on the CPU.

    Args:
        folder: A run with an adapter, or an adapter's folder.
        target: Where the merged model goes; must not exist, or be empty. Until all is compared it is written beside,
            as `.NAME.writing`.
        base: "unquantised" adds the adapter to the original weights; "dequantised" to the weights that
            the quantised ones stand for, which keeps the trained loss.
        rows: Tokens of rows of the run's data, to be compared on besides the fixed texts.
        progress: Told how many tensors are written.

    Raises:
        RunError: Nothing to merge, `target` is taken, or the disk is too full.
        Interrupted: Ctrl-C; nothing is left then.
        ModelError: The base cannot be read, the adapter does not fit it, or the merged model is broken.
    """
    found = find_result(folder)
    adapter = _mergeable(found, target, base)
    tokenizer = open_tokenizer(found.tokenizer, found.weights)
    loading = loading_for(found, detect("cpu"), found.weights)
    merging = Merging(loading, adapter, tokenizer, dequantises=base == "dequantised")
    probe, compared = make_probe(tokenizer, rows)
    aside = _make_aside(target, merging.size)
    lock = take_lock(aside, advice="Wait for it, or name another folder.")
    try:
        with _told(target, "Nothing is left of it."):
            merging.write(aside, progress)
            written, trained = merging.compare(aside, probe)
            shards = Shards(aside)
            (aside / LOCK).unlink()
            if target.is_dir():
                target.rmdir()
            aside.replace(target)
            sync(target.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        os.close(lock)
    return Merged(
        folder=target,
        base=base,
        was_quantised=isinstance(found.recipe.method, QLoRA),
        files=len(shards.files),
        size=shards.size,
        written=written,
        trained=trained,
        compared=compared,
    )


def _mergeable(found: Found, target: Path, base: Base) -> Path:
    """The adapter's folder, if what was found can be merged as it was asked.

    Raises:
        RunError: There is no adapter, `target` is taken, or the base was not quantised.
    """
    if found.adapter is None:
        raise RunError(
            f"{found.folder} holds a whole model, which needs no merging.",
            advice="Use it as it is.",
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} exists already.", advice="Name a new folder.")
    if base == "dequantised" and not isinstance(found.recipe.method, QLoRA):
        raise RunError(
            f"The adapter in {found.folder} was not trained on a quantised base, as far as its folder says.",
            advice="Merge it with `unquantised`; for a QLoRA run give the run's folder, not the adapter's.",
        )
    return found.adapter


@contextmanager
def _told(target: Path, kept: str) -> Iterator[None]:
    """Turn a refused write, and Ctrl-C, into a line.

    Raises:
        RunError: The system refused a write.
        Interrupted: Ctrl-C.
    """
    try:
        with explained(target, kept=lambda: kept, again="merge again", place="folder"):
            yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted: {target} was not made. {kept}") from None


def _make_aside(target: Path, size: int) -> Path:
    """The empty folder in which the merged one is written; what a killed merge left in it is removed.

    Raises:
        RunError: Another process is at it, or the disk is too full.
    """
    aside = target.with_name(f".{target.name}.writing")
    if is_held(aside):
        raise RunError(f"{target} is being written by another process.", advice="Wait for it.")
    with _told(target, "Nothing was written."):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        free = shutil.disk_usage(target.parent).free
        if free < size:
            raise RunError(
                f"The merged model takes {size_text(size)}; the disk under {target.parent} has {size_text(free)} free."
            )
        aside.mkdir()
    return aside
