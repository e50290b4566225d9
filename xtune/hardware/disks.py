"""How much room there is on the disks that a run writes to. Writes nothing."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from xtune.hardware.environment import cache_folder


@dataclass(frozen=True, kw_only=True)
class Disks:
    """Bytes that a run may put on disk."""

    cache_bytes: int
    """For the decoder layers of a base, in the cache folder: what is free, and layers of earlier runs, which make way."""

    run_bytes: int
    """For what the run's folder takes: layers' inputs, checkpoints, the result."""

    together: bool = True
    """Whether both lie on one file system and share its room."""

    holds_model: bool = False
    """Whether the model's own files must find room on it, too."""

    @classmethod
    def of_size(cls, size: int) -> "Disks":
        """One disk of another machine with so many bytes free, on which the model is not yet."""
        return cls(cache_bytes=size, run_bytes=size, holds_model=True)


def disks_here(folder: Path) -> Disks | None:
    """The disks of this machine for a run in a folder, neither of which need exist yet; None: the system does not say."""
    cache = cache_folder() / "layers"
    kept, run = _existing(cache), _existing(folder)
    try:
        return Disks(
            cache_bytes=shutil.disk_usage(kept).free + _size(cache, "*.layer"),
            run_bytes=shutil.disk_usage(run).free + _size(folder, "checkpoints/step-*/*"),
            together=kept.stat().st_dev == run.stat().st_dev,
        )
    except OSError:
        return None


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists, as far as may be seen."""
    whole = folder.expanduser().absolute()
    return next(
        (each for each in (whole, *whole.parents) if os.path.exists(each)),  # noqa: PTH110 - Path's raises where nobody may look
        Path(),
    )


def _size(folder: Path, pattern: str) -> int:
    """Bytes of the files of a kind in a folder; of a folder that may not be read none."""
    total = 0
    for path in folder.expanduser().glob(pattern):
        try:
            total += path.stat().st_size
        except OSError:  # another run may remove it
            continue
    return total
