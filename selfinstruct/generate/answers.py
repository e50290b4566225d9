"""What an answer holds, as events of the pool: parse and rules, which know one reply, then novelty, which knows the pool.

The first half may run in any process and in any order; see `workers`. Neither half writes anything.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from selfinstruct.errors import RequestRefused
from selfinstruct.novelty import Verdict
from selfinstruct.novelty.packed import packed_for_travel
from selfinstruct.parse import parse_reply
from selfinstruct.pool.lines import json_text
from selfinstruct.pool.pool import Event, LanguagePool
from selfinstruct.rules import Judgement, Rules
from selfinstruct.rules.shape import tokens_of
from selfinstruct.types import Dropped, Reply, Request

_LONGEST_TEXT = 2000
"""Letters of a dropped text that are kept to look at."""


Piece = tuple[str, bytes, bytes]
"""A part of a reply, as JSON without braces, so that it is written down once, by whoever has read it:

- a task that the rules let pass: no reason; its instruction; its other fields
- what is dropped whatever the pool holds: the reason; nothing; all fields, the reason among them
"""


class Contents(NamedTuple):
    """What a reply is made of: bytes, numbers and lists of them alone, since it travels between processes by the thousand."""

    pieces: Sequence[Piece]
    """What the parser dropped, then the reply's tasks in order."""

    instructions: bytes
    """Those that the rules let pass, as `novelty.packed.packed_for_travel` packs them."""

    lengths: Sequence[int]
    """As it gives them."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads the replies of one language and applies its rules."""

    language: str
    rules: Rules

    def read(self, text: str, finish_reason: str) -> Contents:
        """What a reply is made of."""
        (contents,) = self.read_all([(text, finish_reason)])
        return contents

    def read_all(self, replies: Sequence[tuple[str, str]]) -> list[Contents]:
        """What each of some replies is made of, text and finish reason; together they take less time than one by one."""
        parsed = [parse_reply(text, reason, self.language) for text, reason in replies]
        judged = self.rules.judge_all([task for reply in parsed for task in reply.tasks])
        return [
            self._contents(reply.dropped, list(islice(judged, len(reply.tasks))))
            for reply in parsed
        ]

    def _contents(self, dropped: Sequence[Dropped], judged: Sequence[Judgement]) -> Contents:
        pieces = [*map(_rejected, dropped), *map(_piece, judged)]
        passed = [one.task.instruction for one in judged if one.dropped is None]
        return Contents(pieces, *packed_for_travel(passed, self.language, tokens_of))


@dataclass(frozen=True, kw_only=True)
class Read:
    """A reply that was read, or the refusal that came in its place."""

    request: Request
    reply: Reply
    contents: Contents

    @classmethod
    def refused(cls, request: Request, refusal: RequestRefused) -> "Read":
        """What stands for a reply that there is not."""
        piece = _rejected(Dropped(reason=refusal.reason, detail=refusal.detail))
        return cls(
            request=request,
            reply=Reply(text="", finish_reason="content_filter"),
            contents=Contents([piece], b"", []),
        )


def events_of(reads: Sequence[Read], pool: LanguagePool) -> list[Event]:
    """The events of replies in the order of their prompts, a reply's own after its pieces.

    Instructions that are kept are in the pool's novelty from here on.
    """
    found = [read.contents for read in reads]
    lengths = list(chain.from_iterable(contents.lengths for contents in found))
    verdicts = iter(pool.offer(b"".join(contents.instructions for contents in found), lengths))
    events: list[Event] = []
    size = len(pool)
    for read in reads:
        prompt, before, first = json_text(read.request.id), size, len(events)
        for reason, instruction, fields in read.contents.pieces:
            if reason:
                events.append(("dropped", reason, _DROPPED % (prompt, fields)))
                continue
            verdict = next(verdicts)
            if verdict.kept:
                name = json_text(pool.task_id(size))
                events.append(("kept", "", _KEPT % (name, prompt, instruction, fields)))
                size += 1
            else:
                events.append(_too_similar(prompt, instruction, verdict, pool))
        kept = size - before
        events.append(_ending(read, kept, len(events) - first - kept))
    return events


_KEPT = b'{"event": "kept", "id": %b, "prompt": %b, "instruction": %b, %b}\n'
_DROPPED = b'{"event": "dropped", "prompt": %b, %b}\n'
_TOO_SIMILAR = (
    b'{"event": "dropped", "prompt": %b, "reason": "too_similar", "detail": "ROUGE-L %.3f with %b, '
    b'"nearest": "%b, "score": %a, "text": %b}\n'
)
_REPLY = (
    b'{"event": "reply", "prompt": %b, "kept": %d, "dropped": %d, "finish_reason": %b, '
    b'"prompt_tokens": %d, "completion_tokens": %d, "model": %b}\n'
)


def _too_similar(prompt: bytes, instruction: bytes, verdict: Verdict, pool: LanguagePool) -> Event:
    score = verdict.score
    nearest = "" if verdict.nearest is None else pool.name_of(verdict.nearest)
    name = json_text(nearest)[1:]  # without the first quotation mark
    if len(instruction) > _LONGEST_TEXT:
        instruction = json_text(json.loads(instruction)[:_LONGEST_TEXT])
    line = _TOO_SIMILAR % (prompt, score, name, name, score, instruction)
    return "dropped", "too_similar", line


def _ending(read: Read, kept: int, dropped: int) -> Event:
    name, reply = read.request.id, read.reply
    reason, model = json_text(reply.finish_reason), json_text(reply.model)
    tokens = reply.usage.prompt_tokens, reply.usage.completion_tokens
    return "reply", name, _REPLY % (json_text(name), kept, dropped, reason, *tokens, model)


def _piece(judged: Judgement) -> Piece:
    if judged.dropped is not None:
        return _rejected(judged.dropped)
    task = judged.task
    changes = b", ".join(map(json_text, judged.changes))
    fields = _FIELDS % (json_text(task.input), json_text(task.output), changes)
    return "", json_text(task.instruction), fields


_FIELDS = b'"input": %b, "output": %b, "changes": [%b]'


def _rejected(drop: Dropped) -> Piece:
    text = json_text(drop.text[:_LONGEST_TEXT])
    fields = json_text(drop.reason), json_text(drop.detail), text
    return drop.reason, b"", b'"reason": %b, "detail": %b, "text": %b' % fields
