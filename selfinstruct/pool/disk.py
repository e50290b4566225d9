"""Appends lines to files and makes them durable in groups; a kill tears the last line at most, and reading mends that."""

import asyncio
import contextlib
import errno
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xtune.errors import RunError

GO_ON = "What is done is kept."


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal of a write into one line for people.

    Raises:
        RunError: The disk is full, the folder is read-only, or the like.
    """
    try:
        yield
    except OSError as error:
        told = refused(path, error)
        raise told from None


def refused(path: Path, error: OSError) -> RunError:
    """What a refused write means for the person."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return RunError(
            f"{path} could not be written: the disk is full. {GO_ON}",
            advice="Free some space, then run the same command: it goes on where it stopped.",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return RunError(
            f"{path} could not be written: {error.strerror}.",
            advice="Choose a folder that you may write in.",
        )
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return RunError(
            f"{path} could not be written: a file is in the way.",
            advice="Choose another folder.",
        )
    return RunError(f"{path} could not be written: {error.strerror or error}. {GO_ON}")


def mend(path: Path, *, keep_bytes: int | None = None) -> int:
    """Cut off a torn last line, or all beyond `keep_bytes`; returns how many bytes went.

    Raises:
        RunError: The file cannot be written.
    """
    if not path.exists():
        return 0
    with explained(path), path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        keep = _whole_lines(stream, size) if keep_bytes is None else keep_bytes
        if keep < size:
            stream.truncate(keep)
            os.fsync(stream.fileno())
        return size - keep


def _whole_lines(stream: Any, size: int) -> int:
    """Bytes up to the last line break."""
    step = 1 << 16
    end = size
    while end > 0:
        start = max(0, end - step)
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + int(found) + 1
        end = start
    return 0


def read_line(path: Path, start: int) -> bytes:
    """The line that begins at a byte of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        line = os.pread(descriptor, _LINE_BYTES, start)
        while b"\n" not in line and (more := os.pread(descriptor, len(line), start + len(line))):
            line += more
    finally:
        os.close(descriptor)
    return line.partition(b"\n")[0]


_LINE_BYTES = 1 << 13
"""Read first: nearly every task is shorter."""


class Appender:
    """Appends to the files of a run: written at once, so that no kill takes it away, and synced by a thread.

    What is written while the thread syncs goes out with its next sync.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._new: list[_Job] = []
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._files: dict[Path, int] = {}
        self._failed: RunError | None = None
        self._thread = threading.Thread(target=self._run, name="appender", daemon=True)
        self._thread.start()

    def append(self, path: Path, data: bytes) -> "asyncio.Future[None]":
        """Write bytes; the future is done once they are on the disk, or fails with a RunError.

        Raises:
            RunError: The disk is full, or refuses; nothing of them is in the file, and nothing is written any more.
        """
        if self._failed is not None:
            raise self._failed
        descriptor = self._open(path)
        try:
            _write(descriptor, data)
        except OSError as error:
            self._failed = refused(path, error)
            raise self._failed from None
        done = self._loop.create_future()
        if not self._new:
            # handed over once a turn of the loop: waking the thread costs more than the rest of this
            self._loop.call_soon(self._hand_over)
        self._new.append((path, descriptor, done))
        return done

    def _open(self, path: Path) -> int:
        """The file's descriptor.

        Raises:
            RunError: It cannot be opened.
        """
        if path not in self._files:
            with explained(path):
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._files[path] = os.open(path, flags, 0o644)
        return self._files[path]

    def _hand_over(self) -> None:
        if self._new:
            self._jobs.put(self._new)
            self._new = []

    def close(self) -> None:
        """Sync what is waiting, and end."""
        self._hand_over()
        self._jobs.put(None)
        self._thread.join()
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _run(self) -> None:
        while True:
            groups = [self._jobs.get()]
            while not self._jobs.empty():
                groups.append(self._jobs.get())
            work = [job for group in groups if group is not None for job in group]
            for path, descriptor in dict.fromkeys(job[:2] for job in work):
                self._sync(path, descriptor)
            if work and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_settle, work, self._failed)
            if None in groups:
                return

    def _sync(self, path: Path, descriptor: int) -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            self._failed = refused(path, error)


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it, or nothing.

    Raises:
        OSError: The system refuses.
    """
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        # half a line would be mended at the next start; whole lines are better left now
        with contextlib.suppress(OSError):
            size = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, size - (len(data) - len(view)))
        raise


_Job = tuple[Path, int, "asyncio.Future[None]"]


def _settle(jobs: list[_Job], failed: RunError | None) -> None:
    for _, _, done in jobs:
        if done.done():
            continue
        if failed is None:
            done.set_result(None)
        else:
            done.set_exception(failed)
            done.exception()  # retrieved: whoever does not wait for it hears of it elsewhere
