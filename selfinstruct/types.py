"""The types that flow through selfinstruct: seeds, tasks, what is asked of an LLM and what it answers. No logic.

seeds --translate--> seeds/<lang> --prompt--> Request --llm--> Reply --parse--> Task --rules, novelty--> pool --export--> data set
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Translate = Literal["yes", "adapt", "no"]
"""Whether a seed goes into other languages: as a whole, with fields kept verbatim, or not at all."""

FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One instruction with its answer; `input` is empty where the instruction needs none."""

    instruction: str
    input: str = ""
    output: str


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A task written by hand, and how it goes into other languages."""

    id: str
    category: str
    task: Task
    translate: Translate = "yes"
    keep: tuple[str, ...] = ()
    """Fields of the task (`input`, `output`) that stay verbatim in every language."""

    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Something that was not kept: the reason's name, what was found, and the text it was found in."""

    reason: str
    """A short stable name that is counted: `too_similar`, `missing_output`, `web_link` ..."""

    detail: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question to an LLM."""

    id: str
    """Names the prompt within a run; an answer is paid for once per id."""

    messages: tuple[Mapping[str, str], ...]
    """`{"role": ..., "content": ...}`, as the chat-completions protocol has them."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    """JSON Schema of the answer, where the server can hold to one."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one or many answers, as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What an LLM answered."""

    text: str
    finish_reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    is_usable: bool = True
    """False: an answer without a text, which is asked for again and which the server bills all the same."""


Keep = Callable[[Reply], None]
"""Puts a reply where no kill can take it away; whoever asked holds the request's slot until this is done.

It hears of answers that are not usable as well, which count to what was spent and are no replies.
"""


def keep_nothing(_: Reply) -> None:
    """What `Keep` is where replies are not written down."""


class LLM(Protocol):
    """Anything that answers requests: a server, a local model, a script in a test."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request; retries, limits and errors are the implementation's business."""
        ...
