"""What an answer holds, as events of the pool: parse, rules, novelty, in this order. It writes nothing itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfinstruct.errors import RequestRefused
from selfinstruct.generate.pieces import Rules, parse_reply
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.types import Dropped, Reply, Request, Task

_LONGEST_TEXT = 2000
"""Letters of a dropped text that are kept to look at."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Applies the rules of one language."""

    language: str
    rules: Rules
    json: bool = False

    def events(self, request: Request, reply: Reply, pool: LanguagePool) -> list[dict[str, Any]]:
        """The events of one reply, its own last; instructions that are kept are in the pool's novelty from here on."""
        tasks, dropped = self._parse(reply)
        events = [_dropped(request.id, drop) for drop in dropped]
        kept = 0
        for task in tasks:
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

    def _parse(self, reply: Reply) -> tuple[Sequence[Task], Sequence[Dropped]]:
        if self.json:
            found = read_json_tasks(reply.text)
            if found is not None:
                return found
        parsed = parse_reply(reply.text, reply.finish_reason, self.language)
        return parsed.tasks, parsed.dropped

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


def read_json_tasks(text: str) -> tuple[list[Task], list[Dropped]] | None:
    """Tasks of an answer in JSON, whole or cut off; None if it is none, so that it is read as text."""
    start = text.find("[", text.find('"tasks"'))
    if '"tasks"' not in text or start < 0:
        return None
    decoder = json.JSONDecoder()
    tasks: list[Task] = []
    dropped: list[Dropped] = []
    place = start + 1
    while True:
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        if place >= len(text) or text[place] == "]":
            return tasks, dropped
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            dropped.append(
                Dropped(reason="cut_off", detail="the JSON ends within it", text=text[place:])
            )
            return tasks, dropped
        _take(value, tasks, dropped)


def _take(value: Any, tasks: list[Task], dropped: list[Dropped]) -> None:
    fields = (
        [value.get(name) for name in ("instruction", "input", "output")]
        if isinstance(value, dict)
        else []
    )
    texts = [field for field in fields if isinstance(field, str)]
    if len(texts) != 3:
        shown = json.dumps(value, ensure_ascii=False)
        dropped.append(Dropped(reason="malformed_json", detail="not three texts", text=shown))
        return
    instruction, given, output = (text.strip() for text in texts)
    if not instruction or not output:
        missing = "instruction" if not instruction else "output"
        dropped.append(Dropped(reason=f"missing_{missing}", text=instruction or output))
        return
    no_input = given.lower() in {"<noinput>", "noinput", "none", "n/a"}
    tasks.append(Task(instruction=instruction, input="" if no_input else given, output=output))
