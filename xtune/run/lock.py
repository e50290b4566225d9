"""One process at a time in a run folder: a lock that the kernel drops when its holder dies, however it dies. It writes nothing else."""

import fcntl
import os
from pathlib import Path

from xtune.errors import RunError

LOCK = ".lock"
"""Name of the lock's file in a run folder; it holds the number of the process."""


def take_lock(folder: Path, *, advice: str) -> int:
    """Hold a folder until the descriptor that is returned is closed.

    Args:
        folder: An existing folder.
        advice: What to do when it is held by another process.

    Raises:
        RunError: Another process holds it.
        OSError: It cannot be written in.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise RunError(
            f"The run folder {folder} is in use by another run{f' (process {holder})' if holder else ''}.",
            advice=advice,
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder at this moment. Asking holds it for an instant."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
