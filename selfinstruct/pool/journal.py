"""The replies of a run as they arrived, each paid for once; read back when the run goes on. It knows no tasks."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from selfinstruct.pool.disk import Appender, mend
from selfinstruct.pool.lines import json_text
from selfinstruct.types import Reply, Request, Usage
from xtune.errors import RunError

FILE = "replies.jsonl"


def fingerprint(request: Request) -> str:
    """Names what was asked: an answer to other words is no answer."""
    asked = json.dumps([dict(message) for message in request.messages], ensure_ascii=True)
    return sha256(asked.encode()).hexdigest()[:16]


class Journal:
    """replies.jsonl of a run folder."""

    def __init__(self, folder: Path) -> None:
        """Read it.

        Raises:
            RunError: It is damaged elsewhere than at its end.
        """
        self.path = folder / FILE
        self.torn_bytes = mend(self.path)
        self.spent = Usage()
        self.count = 0
        self._places: dict[str, tuple[int, int]] = {}
        """Where the reply of each id lies: offset and length."""

        for row, start, length in read_lines(self.path):
            self.spent += _usage(row)
            if row.get("usable") is False:
                continue  # it was billed, and answers nothing
            self.count += 1
            self._places.setdefault(str(row.get("id")), (start, length))

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._places

    def forget(self, request_id: str) -> None:
        """Drop the place of a reply that nobody will ask for again, to save memory."""
        self._places.pop(request_id, None)

    def find(self, request: Request) -> Reply | None:
        """The reply to a request, if it is here.

        Raises:
            RunError: The one of its id answers something else.
        """
        place = self._places.get(request.id)
        if place is None:
            return None
        with self.path.open("rb") as stream:
            stream.seek(place[0])
            row = json.loads(stream.read(place[1]))
        if row["request"] != fingerprint(request):
            raise RunError(
                f"{self.path} holds a reply to {request.id} that answers another prompt: seeds, prompts or the pool were changed by hand.",
                advice="Undo the change, or start a new run with run.folder=...",
            )
        return Reply(
            text=row["text"],
            finish_reason=row["finish_reason"],
            usage=_usage(row),
            model=row["model"],
        )

    def append(self, request: Request, reply: Reply, appender: Appender) -> "asyncio.Future[None]":
        """Write a reply down, or what an answer that is none cost; the future is done once it is on the disk, or fails with a RunError.

        Raises:
            RunError: The disk is full, or refuses.
        """
        self.count += reply.is_usable
        return appender.append(self.path, _line(request, reply))


def _line(request: Request, reply: Reply) -> bytes:
    return _LINE % (
        json_text(request.id),
        json_text(fingerprint(request)),
        json_text(reply.finish_reason),
        reply.usage.prompt_tokens,
        reply.usage.completion_tokens,
        json_text(reply.model),
        json_text(reply.text),
        b"" if reply.is_usable else b', "usable": false',
    )


_LINE = (
    b'{"id": %b, "request": %b, "finish_reason": %b, "prompt_tokens": %d, "completion_tokens": %d, '
    b'"model": %b, "text": %b%b}\n'
)


def read_lines(path: Path, *, torn: bool = False) -> Iterator[tuple[Mapping[str, Any], int, int]]:
    """Every line of a file that a run wrote, with its offset and length.

    Args:
        path: The file; nothing is read where there is none.
        torn: Leave out an unfinished last line: a run under way is writing it, or one was killed.

    Raises:
        RunError: A line is not one that a run wrote.
    """
    if not path.exists():
        return
    start = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if torn and not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise RunError(
                    f"{path} is damaged: line {number} is not a JSON object.",
                    advice="Bring back the file from a copy, or start a new run with run.folder=...",
                )
            yield row, start, len(line)
            start += len(line)


def spent(folder: Path) -> Usage:
    """What all replies of a run folder cost in tokens; a run may be under way in it."""
    total = Usage()
    path = folder / FILE
    if path.exists():
        with path.open("rb") as stream:
            for line in stream:
                with contextlib.suppress(ValueError, TypeError):
                    total += _usage(json.loads(line))
    return total


def _usage(row: Mapping[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=int(row.get("prompt_tokens", 0)),
        completion_tokens=int(row.get("completion_tokens", 0)),
    )
