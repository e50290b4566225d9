"""Keeps encoded rows on disk under a key of everything that shaped them; it neither reads nor encodes data.

    ROOT/data/KEY/                   a finished store (xtune.data.store)
    ROOT/data/.xtune-writing-*/          one being written; its writer holds it with flock
    ROOT/data/.lock-KEY              held by the one process that writes KEY

The kernel lets go of a lock when its holder dies, however it dies: what nobody holds is a leftover.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from xtune.data.problems import refuse
from xtune.data.store import INDEX, DamagedStoreError, Stored

LIMIT_BYTES = 50 << 30
"""All entries together; beyond it those used longest ago are removed. A choice: ten data sets of a billion tokens."""

_WRITING = ".xtune-writing-"
_LOCK = ".lock-"
_POLL_S = 0.2
_GRACE_S = 10.0
"""From the making of a folder to its lock are microseconds; this is for a machine that stands still."""

Say = Callable[[str], None]
"""Told what a person should know, in sentences."""


class Cache:
    """A folder of stores."""

    def __init__(self, root: Path, *, keep: bool, say: Say, limit_bytes: int = LIMIT_BYTES) -> None:
        """Open the cache; the folder is made when something is written.

        Args:
            root: The folder.
            keep: Whether entries stay; if not, they are gone when the process is.
            say: Told of what was removed, and why one waits.
            limit_bytes: All entries together.
        """
        self._folder = root / "data"
        self._keep = keep
        self._say = say
        self._limit_bytes = limit_bytes

    def stored(self, key: str, write: Callable[[Path], None]) -> tuple[Stored, bool]:
        """The store of a key, and whether it was there already.

        Args:
            key: A name for everything that shaped the rows.
            write: Writes the store into the empty folder it is given.

        Raises:
            DataError: The disk is full, or refuses the write.
        """
        if not self._keep:
            return self._passing(write), False
        entry = self._folder / key
        if (found := self._open(entry)) is not None:
            return found, True
        with self._prepared_folder() as writable:
            if not writable:
                return self._passing(write), False
            with self._lock(key):
                if (found := self._open(entry)) is not None:
                    return found, True  # of the one we waited for
                with self._aside(self._folder) as aside:
                    write(aside)
                    _take_place(aside, entry)
            stored = Stored(entry, verify=False)
            self._prune(entry)
            return stored, False

    def _open(self, entry: Path) -> Stored | None:
        if not entry.exists():
            return None
        try:
            stored = Stored(entry)
        except DamagedStoreError as error:
            self._say(f"The cached data are damaged ({error}); they are encoded anew.")
            with contextlib.suppress(OSError):  # another process does the same
                shutil.rmtree(entry.rename(_new_aside(entry.parent)), ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(entry)  # what is used stays longest
        return stored

    @contextlib.contextmanager
    def _prepared_folder(self) -> Iterator[bool]:
        """Make the folder; False where nothing can be written, which is said."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            writable = os.access(self._folder, os.W_OK)
            reason = "no permission to write"
        except OSError as error:
            writable, reason = False, error.strerror or str(error)
        if not writable:
            self._say(
                f"The cache folder {self._folder} cannot be used ({reason}); encoded rows are not kept. XTUNE_CACHE names another."
            )
        yield writable

    def _passing(self, write: Callable[[Path], None]) -> Stored:
        """A store whose files have no name any more once it is open: they end with the process."""
        with self._aside(Path(tempfile.gettempdir())) as aside:
            write(aside)
            return Stored(aside, verify=False)

    @contextlib.contextmanager
    def _aside(self, parent: Path) -> Iterator[Path]:
        """A folder to write into, gone afterwards unless it was renamed; those of dead processes go first.

        Raises:
            DataError: The disk is full, or refuses the write.
        """
        for leftover in parent.glob(f"{_WRITING}*"):
            _remove_dead(leftover)
        aside = _new_aside(parent)
        try:
            aside.mkdir(parents=True)
            with _held(aside):
                yield aside
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            refuse(
                f"The encoded rows could not be written: {'the disk is full' if full else error.strerror or error}",
                where=str(parent),
                advice="free some space, name another folder in XTUNE_CACHE (without `data.cache`, in TMPDIR), or set `data.streaming: true`.",
            )
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Be the one process that writes this key; the others wait here and then find it written."""
        with (self._folder / f"{_LOCK}{key}").open("wb") as file:
            told = False
            while not _try_lock(file.fileno()):
                if not told:
                    self._say("Another process is preparing the same data; waiting for it.")
                    told = True
                time.sleep(_POLL_S)
            yield

    def _prune(self, keep: Path) -> None:
        entries = [path for path in self._folder.iterdir() if (path / INDEX).exists()]
        sizes = {entry: _size(entry) for entry in entries}
        total = sum(sizes.values())
        for entry in sorted(entries, key=_used):
            if total <= self._limit_bytes:
                return
            if entry != keep:
                shutil.rmtree(entry, ignore_errors=True)
                (self._folder / f"{_LOCK}{entry.name}").unlink(missing_ok=True)
                total -= sizes[entry]
                self._say(
                    f"The cache {self._folder} is above {self._limit_bytes / 2**30:.0f} GiB: encoded rows unused for longest "
                    f"({sizes[entry] / 2**20:.0f} MiB) were removed."
                )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}:
            raise
        return True  # a file system without locks: two may write at once, each aside; the second finds the place taken
    return True


def _take_place(aside: Path, entry: Path) -> None:
    try:
        aside.rename(entry)
    except OSError:
        if not (entry / INDEX).exists():
            raise
        shutil.rmtree(aside, ignore_errors=True)  # another process was faster, with the same rows


def _new_aside(parent: Path) -> Path:
    return parent / f"{_WRITING}{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _try_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _remove_dead(folder: Path) -> None:
    """Remove what a process left that was killed while writing: it is old enough to be held, and nobody holds it."""
    with contextlib.suppress(OSError):  # another's, or gone by now
        if time.time() - folder.stat().st_ctime < _GRACE_S:
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if _try_lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _size(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in entry.iterdir())
    return 0


def _used(entry: Path) -> float:
    with contextlib.suppress(OSError):
        return entry.stat().st_mtime
    return 0.0
