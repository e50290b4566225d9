"""What models answered to the questions of an evaluation that is not over, on disk as it comes; it asks nothing."""

import fcntl
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import Self

from xtune.errors import RunError
from xtune.generate.journal import as_line, whole_lines

log = logging.getLogger("xtune")


class Kept:
    """One line for the evaluation, then one for each batch of answers."""

    def __init__(self, path: Path | None, evaluation: Mapping[str, Any]) -> None:
        """Find the answers of an evaluation that was stopped; those of another one are left out, which is said.

        Args:
            path: The file; None keeps nothing.
            evaluation: What the answers depend on.

        Raises:
            RunError: Another process is at it, or it cannot be written.
        """
        self._path = path
        self._parts: dict[str, Part] = {}
        self._stream: BinaryIO | None = None
        if path is None:
            return
        try:
            self._stream = path.open("a+b")
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise RunError(f"{path.parent} is being evaluated by another process.") from None
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}.") from error
        text = json.dumps(evaluation, sort_keys=True, ensure_ascii=True)
        self._resume({"evaluation": hashlib.sha256(text.encode()).hexdigest()})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def part(self, name: str) -> "Part":
        """The answers of one part of the evaluation."""
        return self._parts.setdefault(name, Part(self, name))

    def write(self, name: str, answers: Mapping[int, Any]) -> None:
        """Keep more answers of a part; a kill afterwards loses nothing."""
        if self._stream is not None and answers:
            self._stream.write(as_line({"part": name, "answers": list(answers.items())}))
            self._stream.flush()

    def finish(self) -> None:
        """Take the file away: the evaluation is over."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave the file to the next start."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _resume(self, evaluation: dict[str, Any]) -> None:
        if self._stream is None:
            return
        self._stream.seek(0)
        lines = whole_lines(self._stream)
        begun = next(lines, None)
        if begun is not None and begun[1] == evaluation:
            end = begun[0]
            for end, line in lines:  # noqa: B007 - used behind the loop
                self.part(line["part"]).answers.update(dict(line["answers"]))
            self._stream.truncate(end)  # a line that a kill cut short
            log.info("Going on with the evaluation that was stopped.")
            return
        if begun is not None:
            log.warning("%s is of another evaluation, and is begun anew.", self._path)
        self._stream.truncate(0)
        self._stream.write(as_line(evaluation))
        self._stream.flush()


class Part:
    """The answers of one model to the questions of one task, by place."""

    def __init__(self, kept: Kept | None = None, name: str = "") -> None:
        """Begin with none."""
        self._kept, self._name = kept, name
        self.answers: dict[int, Any] = {}

    def add(self, answers: Mapping[int, Any]) -> None:
        """Keep more answers."""
        self.answers.update(answers)
        if self._kept is not None:
            self._kept.write(self._name, answers)
