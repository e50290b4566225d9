"""One language's pool on disk: an event per line, in the order of the prompts, so that a run has one pool whatever its speed.

POOL/<language>.jsonl holds, for each reply, its dropped and kept tasks and then a line for the reply itself:
    {"event": "kept", "id": "es-000017", "prompt": "es/02/0007", "instruction": ..., "input": ..., "output": ..., "changes": [...]}
    {"event": "dropped", "prompt": ..., "reason": "too_similar", "detail": ..., "nearest": "es-000003", "score": 0.81, "text": ...}
    {"event": "reply", "prompt": ..., "kept": 12, "dropped": 5, "finish_reason": "stop", "prompt_tokens": ..., "completion_tokens": ...}
Whatever follows the last reply line is half of a reply: it is cut off, and made again from the journal.
"""

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import orjson

from selfinstruct.novelty import NoveltyPool, Verdict
from selfinstruct.pool.disk import Appender, mend, read_line
from selfinstruct.pool.events import is_event
from selfinstruct.pool.journal import read_lines
from selfinstruct.types import Task
from xtune.errors import RunError

Kind = Literal["kept", "dropped", "reply"]

Event = tuple[Kind, str, bytes]
"""What happened, the reason if something is dropped or the prompt's id if a reply ends, and the line that says so."""


class LanguagePool:
    """The tasks of one language: their texts stay on disk, their tokens and places in memory."""

    def __init__(self, path: Path, novelty: NoveltyPool, seeds: Sequence[tuple[str, str]]) -> None:
        """Read the pool of an earlier sitting, if there is one.

        Args:
            path: The file.
            novelty: An empty pool with the language and threshold of the run.
            seeds: Id and instruction of each seed; a task must be new beside these too.

        Raises:
            RunError: The file was changed, or is damaged elsewhere than at its end.
        """
        self.path = path
        self.torn_bytes = 0
        self.drops: Counter[str] = Counter()
        self.replies = 0
        self.last_prompt = ""
        """Id of the last prompt whose reply is applied."""

        self.kept_before: dict[int, int] = {}
        """Round to the tasks that were kept when it began."""

        self._novelty = novelty
        verdicts = novelty.offer_many([text for _, text in seeds])
        self._seeds = [
            name for (name, _), verdict in zip(seeds, verdicts, strict=True) if verdict.kept
        ]
        self._starts = array("Q")
        """Offset of every kept line."""

        self._size = 0
        self._read()

    def __len__(self) -> int:
        """Tasks kept."""
        return len(self._starts)

    def offer(self, instructions: bytes, lengths: Sequence[int]) -> list[Verdict]:
        """Keep each instruction that is new; see `NoveltyPool.offer_packed`."""
        return self._novelty.offer_packed(instructions, lengths)

    def name_of(self, index: int) -> str:
        """The id of what `Verdict.nearest` names."""
        if index < len(self._seeds):
            return self._seeds[index]
        return self.task_id(index - len(self._seeds))

    def task_id(self, number: int) -> str:
        """The id of the kept task of a number, counted from 0."""
        return f"{self._novelty.language}-{number + 1:06}"

    def task(self, number: int) -> Task:
        """The kept task of a number, from the disk."""
        row = orjson.loads(read_line(self.path, self._starts[number]))
        return Task(instruction=row["instruction"], input=row["input"], output=row["output"])

    def append(self, events: Sequence[Event], appender: Appender) -> "asyncio.Future[None]":
        """Write the events of replies, a reply's own last; returns a future that is done when they are safe."""
        for kind, about, line in events:
            self._note(kind, about, self._size)
            self._size += len(line)
        return appender.append(self.path, b"".join([line for _, _, line in events]))

    def begin_round(self, number: int) -> int:
        """Tasks that were kept when a round began, in this sitting or an earlier one."""
        return self.kept_before.setdefault(number, len(self))

    def _note(self, kind: Kind | None, about: str, start: int) -> None:
        if kind == "kept":
            self._starts.append(start)
        elif kind == "dropped":
            self.drops[about] += 1
        elif kind == "reply":
            self.replies += 1
            self.last_prompt = about

    def _read(self) -> None:
        """Take in the whole replies of the file, and cut off the rest.

        Raises:
            RunError: The file was changed.
        """
        mend_first = mend(self.path)
        end = _end_of_replies(self.path)
        self.torn_bytes = mend_first + mend(self.path, keep_bytes=end)
        self._size = end
        verdicts = self._novelty.offer_many(self._instructions())
        if not all(verdict.kept for verdict in verdicts):
            raise RunError(
                f"{self.path} holds tasks that the seeds or the novelty threshold rule out: one of them was changed.",
                advice="Undo the change, or start a new run with run.folder=...",
            )

    def _instructions(self) -> Iterator[str]:
        """The kept instructions, each line noted on the way.

        Raises:
            RunError: A line is not one that a run wrote.
        """
        for row, start, _ in read_lines(self.path):
            if not is_event(row):
                raise RunError(f"{self.path} holds a line that no run wrote, at byte {start}.")
            self.kept_before.setdefault(int(row["prompt"].split("/")[1]), len(self))
            self._note(
                row["event"], row["reason" if row["event"] == "dropped" else "prompt"], start
            )
            if row["event"] == "kept":
                yield row["instruction"]


def _end_of_replies(path: Path) -> int:
    """Bytes up to the end of the last reply line."""
    end = 0
    for row, start, length in read_lines(path):
        if row.get("event") == "reply":
            end = start + length
    return end
