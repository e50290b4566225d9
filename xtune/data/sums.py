"""Hashes a file while it is read from its beginning, and tells a file that is no longer what it was; it reads nothing itself."""

import hashlib
import io
from typing import IO, Any, NamedTuple

from xtune.data.problems import refuse


class Prefix(NamedTuple):
    """The beginning of a file, as long as it was read."""

    bytes: int
    sha256: str


NOTHING = Prefix(0, hashlib.sha256().hexdigest())


class RunningSum:
    """The SHA-256 of what was read of a file so far; compressed files count as they are on disk."""

    def __init__(self, name: str, expected: Prefix = NOTHING) -> None:
        """Begin at the first byte.

        Args:
            name: The file, for messages.
            expected: How the file began when it was read before.
        """
        self._name = name
        self._expected = expected
        self.begin()

    def begin(self) -> None:
        """Stand before the first byte again."""
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._ended = False

    def prefix(self) -> Prefix:
        """What was read, with its sum."""
        return Prefix(self._bytes, self._digest.hexdigest())

    def whole(self) -> str | None:
        """The sum of the file; None while it is not at its end."""
        return self._digest.hexdigest() if self._ended else None

    def add(self, piece: bytes | memoryview) -> None:
        """Take up the next bytes; none is the end of the file.

        Raises:
            DataError: The file is not what it was.
        """
        left = self._expected.bytes - self._bytes
        if 0 < left <= len(piece):
            self._take(piece[:left])
            piece = piece[left:]
            if self._digest.hexdigest() != self._expected.sha256:
                self._refuse("Its bytes were changed since they were read for this run")
        elif left > 0 and not piece:
            self._refuse(f"It has {self._bytes:,} bytes, and {self._expected.bytes:,} were read")
        if not piece:
            self._ended = self._ended or left <= 0
            return
        self._take(piece)

    def _take(self, piece: bytes | memoryview) -> None:
        self._digest.update(piece)
        self._bytes += len(piece)

    def _refuse(self, what: str) -> None:
        refuse(
            what,
            where=self._name,
            allowed="a run goes on with the data it began with",
            advice="bring the old file back, or start a new run with run.folder=...",
        )


class SummedFile(io.RawIOBase):
    """A file open at its first byte, whose bytes go into a sum as they are read; it cannot be wound back."""

    def __init__(self, raw: IO[bytes], into: RunningSum) -> None:
        self._raw = raw
        self._into = into
        into.begin()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; 0 at the end of the file.

        Raises:
            DataError: The file is not what it was.
        """
        view = memoryview(buffer)
        count: int = self._raw.readinto(view)  # type: ignore[attr-defined]
        self._into.add(view[:count])
        return count

    def close(self) -> None:
        """Close the file, too."""
        self._raw.close()
        super().close()
