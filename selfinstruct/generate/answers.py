"""What an answer holds, as events of the pool: parse and rules, which know one reply, then novelty, which knows the pool.

The first half may run in any process and in any order; see `workers`. Neither half writes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from selfinstruct.errors import RequestRefused
from selfinstruct.novelty import Verdict
from selfinstruct.parse import parse_reply
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.rules import Judgement, Rules
from selfinstruct.rules.shape import tokens_of
from selfinstruct.types import Dropped, Reply, Request

_LONGEST_TEXT = 2000
"""Letters of a dropped text that are kept to look at."""


class Candidate(NamedTuple):
    """A task that the rules let pass; a tuple, since it travels between processes by the thousand."""

    instruction: str
    input: str
    output: str
    changes: tuple[str, ...]
    tokens: Sequence[str]
    """Of the instruction."""


class Rejected(NamedTuple):
    """A piece of a reply that is dropped whatever the pool holds."""

    reason: str
    detail: str
    text: str


Piece = Candidate | Rejected


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads the replies of one language and applies its rules."""

    language: str
    rules: Rules

    def read(self, text: str, finish_reason: str) -> list[Piece]:
        """What a reply is made of: what the parser dropped, then its tasks in order."""
        (pieces,) = self.read_all([(text, finish_reason)])
        return pieces

    def read_all(self, replies: Sequence[tuple[str, str]]) -> list[list[Piece]]:
        """What each of some replies is made of, text and finish reason; together they take less time than one by one."""
        parsed = [parse_reply(text, reason, self.language) for text, reason in replies]
        judged = self.rules.judge_all([task for reply in parsed for task in reply.tasks])
        found: list[list[Piece]] = []
        for reply in parsed:
            pieces: list[Piece] = [_rejected(drop) for drop in reply.dropped]
            pieces += map(self._piece, islice(judged, len(reply.tasks)))
            found.append(pieces)
        return found

    def _piece(self, judged: Judgement) -> Piece:
        if judged.dropped is not None:
            return _rejected(judged.dropped)
        task = judged.task
        tokens = tokens_of(task.instruction, self.language)
        return Candidate(task.instruction, task.input, task.output, judged.changes, tokens)


@dataclass(frozen=True, kw_only=True)
class Read:
    """A reply that was read, or the refusal that came in its place."""

    request: Request
    reply: Reply
    pieces: Sequence[Piece]

    @classmethod
    def refused(cls, request: Request, refusal: RequestRefused) -> "Read":
        """What stands for a reply that there is not."""
        piece = Rejected(refusal.reason, refusal.detail, "")
        return cls(
            request=request, reply=Reply(text="", finish_reason="content_filter"), pieces=[piece]
        )


def events_of(reads: Sequence[Read], pool: LanguagePool) -> list[dict[str, Any]]:
    """The events of replies in the order of their prompts, a reply's own after its pieces.

    Instructions that are kept are in the pool's novelty from here on.
    """
    offered = [
        piece.tokens for read in reads for piece in read.pieces if isinstance(piece, Candidate)
    ]
    verdicts = iter(pool.offer(offered))
    events: list[dict[str, Any]] = []
    size = len(pool)
    for read in reads:
        prompt, before, first = read.request.id, size, len(events)
        for piece in read.pieces:
            if isinstance(piece, Rejected):
                events.append(_dropped(prompt, piece))
                continue
            verdict = next(verdicts)
            if verdict.kept:
                events.append(_kept(prompt, piece, pool.task_id(size)))
                size += 1
            else:
                events.append(_too_similar(prompt, piece, verdict, pool))
        kept = size - before
        events.append(_ending(prompt, read.reply, kept, len(events) - first - kept))
    return events


def _kept(prompt: str, piece: Candidate, name: str) -> dict[str, Any]:
    return {
        "event": "kept",
        "id": name,
        "prompt": prompt,
        "instruction": piece.instruction,
        "input": piece.input,
        "output": piece.output,
        "changes": piece.changes,
    }


def _too_similar(
    prompt: str, piece: Candidate, verdict: Verdict, pool: LanguagePool
) -> dict[str, Any]:
    nearest = "" if verdict.nearest is None else pool.name_of(verdict.nearest)
    return {
        "event": "dropped",
        "prompt": prompt,
        "reason": "too_similar",
        "detail": f"ROUGE-L {verdict.score:.3f} with {nearest}",
        "nearest": nearest,
        "score": verdict.score,
        "text": piece.instruction[:_LONGEST_TEXT],
    }


def _ending(prompt: str, reply: Reply, kept: int, dropped: int) -> dict[str, Any]:
    return {
        "event": "reply",
        "prompt": prompt,
        "kept": kept,
        "dropped": dropped,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
        "model": reply.model,
    }


def _dropped(prompt: str, piece: Rejected) -> dict[str, Any]:
    return {
        "event": "dropped",
        "prompt": prompt,
        "reason": piece.reason,
        "detail": piece.detail,
        "text": piece.text,
    }


def _rejected(drop: Dropped) -> Rejected:
    return Rejected(drop.reason, drop.detail, drop.text[:_LONGEST_TEXT])
