"""What an answer holds, as events of the pool: parse, rules, novelty, in this order. It writes nothing itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfinstruct.errors import RequestRefused
from selfinstruct.parse import parse_reply
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.rules import Rules
from selfinstruct.types import Dropped, Reply, Request, Task

_LONGEST_TEXT = 2000
"""Letters of a dropped text that are kept to look at."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Applies the rules of one language."""

    language: str
    rules: Rules

    def events(self, request: Request, reply: Reply, pool: LanguagePool) -> list[dict[str, Any]]:
        """The events of one reply, its own last; instructions that are kept are in the pool's novelty from here on."""
        parsed = parse_reply(reply.text, reply.finish_reason, self.language)
        events = [_dropped(request.id, drop) for drop in parsed.dropped]
        kept = 0
        for task in parsed.tasks:
            judgement = self.rules.judge(task)
            if judgement.dropped is not None:
                events.append(_dropped(request.id, judgement.dropped))
                continue
            event = self._offer(request.id, judgement.task, judgement.changes, pool, kept)
            kept += event["event"] == "kept"
            events.append(event)
        return [*events, _ending(request.id, reply, kept, len(events) - kept)]

    def refusal(self, request: Request, refused: RequestRefused) -> list[dict[str, Any]]:
        """The events of a request that got no reply."""
        drop = Dropped(reason=refused.reason, detail=refused.detail)
        reply = Reply(text="", finish_reason="content_filter")
        return [_dropped(request.id, drop), _ending(request.id, reply, 0, 1)]

    def _offer(
        self, prompt: str, task: Task, changes: Sequence[str], pool: LanguagePool, kept: int
    ) -> dict[str, Any]:
        verdict = pool.offer(task.instruction)
        if verdict.kept:
            return {
                "event": "kept",
                "id": pool.task_id(len(pool) + kept),
                "prompt": prompt,
                "instruction": task.instruction,
                "input": task.input,
                "output": task.output,
                "changes": list(changes),
            }
        nearest = "" if verdict.nearest is None else pool.name_of(verdict.nearest)
        return {
            "event": "dropped",
            "prompt": prompt,
            "reason": "too_similar",
            "detail": f"ROUGE-L {verdict.score:.3f} with {nearest}",
            "nearest": nearest,
            "score": verdict.score,
            "text": task.instruction[:_LONGEST_TEXT],
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


def _dropped(prompt: str, drop: Dropped) -> dict[str, Any]:
    return {
        "event": "dropped",
        "prompt": prompt,
        "reason": drop.reason,
        "detail": drop.detail,
        "text": drop.text[:_LONGEST_TEXT],
    }
