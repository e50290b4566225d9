"""Writes that a kill or a power cut leaves whole or absent, never half done."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xtune.errors import RunError


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's entries (creations, renames), durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace a file's text atomically: readers see the old text or the new, nothing between."""
    aside = path.with_name(f".{path.name}.writing")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically, in a form that people can read."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


@contextmanager
def explained(
    path: Path,
    *,
    kept: Callable[[], str],
    again: str = "continue with --resume",
    place: str = "run.folder",
) -> Iterator[None]:
    """Turn the operating system's refusal of a write into what a person should read.

    Args:
        path: What is being written.
        kept: Says what is still whole, as a sentence.
        again: What to do when the cause is gone.
        place: What names where it is written.

    Raises:
        RunError: A write inside was refused: disk full, no permission, or another cause.
    """
    try:
        yield
    except OSError as error:
        cause, advice = _explain(error, again, place)
        raise RunError(f"{path} could not be written: {cause}. {kept()}", advice=advice) from error


def _explain(error: OSError, again: str, place: str) -> tuple[str, str]:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full", f"Free some space, then {again}."
    if error.errno == errno.EFBIG:
        advice = f"Raise the limit on file sizes (`ulimit -f`), then {again}."
        return "the file would be larger than this system allows", advice
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}:
        return f"{error.strerror}", f"Choose another {place}."
    return f"{error.strerror or error}", f"Mend the cause, then {again}."
