"""The answers of an unfinished job on disk: whoever starts it again finds them; it generates nothing."""

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from xtune.errors import RunError

ENDING = ".part"
"""What the journal's name has behind the output's."""


class Journal:
    """One line for the job, then one for every answered row, in the order in which they were answered."""

    def __init__(self, out: Path, job: Mapping[str, Any]) -> None:
        """Open the journal beside `out`, or begin one.

        Args:
            out: Where the rows go once all are answered.
            job: What the answers depend on; another job does not go on with this one's.

        Raises:
            RunError: The output is there already, the journal is another job's, in use or no journal at all, or
                the folder cannot be written to.
        """
        self.out = out
        self.path = out.with_name(out.name + ENDING)
        self.answers: dict[int, dict[str, Any]] = {}
        """Row to its answer."""
        if out.exists() and not self.path.exists():
            raise RunError(
                f"{out} is there already, and finished.",
                advice="Choose another --out, or remove it.",
            )
        try:
            self._stream = self.path.open("a+b")
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise RunError(f"{out} is being written by another process.") from None
        try:
            self._resume(json.loads(json.dumps(job)))  # as it is read back: lists, no tuples
        except RunError:
            self.close()
            raise

    def add(self, row: int, answer: Mapping[str, Any]) -> None:
        """Record a row's answer; a kill afterwards loses nothing."""
        self.answers[row] = dict(answer)
        self._write({"row": row, **answer})

    def finish(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the output, whole or not at all, and take the journal away."""
        aside = self.out.with_name(f".{self.out.name}.writing")
        with aside.open("wb") as stream:
            for number, row in enumerate(rows):
                stream.write(as_line({**row, **self.answers[number]}))
        aside.replace(self.out)
        self.path.unlink()
        self._stream.close()

    def close(self) -> None:
        """Leave the journal to the next start."""
        self._stream.close()

    def _resume(self, job: dict[str, Any]) -> None:
        self._stream.seek(0)
        whole = 0
        lines = whole_lines(self._stream)
        begun = next(lines, None)
        if begun is None:
            self._check_own(as_line(job))
        else:
            whole, found = begun
            different = [key for key in job if found.get(key) != job[key]]
            if different:
                raise RunError(
                    f"{self.path} was begun with another {', '.join(different)}.",
                    advice="Give the same again to continue, or remove the file to start anew.",
                )
        for end, line in lines:
            if not isinstance(line.get("row"), int):
                break
            whole = end
            self.answers[line.pop("row")] = line
        self._stream.truncate(whole)  # a line that a kill cut short
        if begun is None:
            self._write(job)

    def _check_own(self, begin: bytes) -> None:
        """Refuse a file without a whole line that is no beginning of this job's first one, cut short by a kill.

        Raises:
            RunError: It is somebody's file.
        """
        self._stream.seek(0)
        if not begin.startswith(self._stream.read(len(begin) + 1)):
            raise RunError(
                f"{self.path} is there already, and holds no answers of xtune.",
                advice="Choose another --out, or remove it.",
            )

    def _write(self, value: Mapping[str, Any]) -> None:
        self._stream.write(as_line(value))
        self._stream.flush()


def as_line(value: Mapping[str, Any]) -> bytes:
    """A JSON line."""
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def whole_lines(stream: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines that were written whole, each with the byte behind it."""
    end = 0
    for line in stream:
        end += len(line)
        try:
            value = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n") or not isinstance(value, dict):
            return
        yield end, value
