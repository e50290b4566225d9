"""Tool calls in what a model writes: which way a template writes them, and reading them back."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from transformers import PreTrainedTokenizerBase

from xtune.data.template import ChatTemplate, Unrenderable
from xtune.data.turns import Misfit, calls_of
from xtune.data.wants import PROBE_CALL, PROBE_TOOL

Way: TypeAlias = Literal["hermes", "mistral", "llama"]
"""`<tool_call>{...}</tool_call>` (Hermes, Qwen); `[TOOL_CALLS][...]` or `[TOOL_CALLS]name[ARGS]{...}` (Mistral);
an answer that is `{"name": ..., "parameters": ...}` (Llama 3)."""

_MARKS: dict[Way, tuple[str, ...]] = {
    "hermes": ("<tool_call>", "</tool_call>"),
    "mistral": ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    "llama": ("<|python_tag|>",),
}
"""What stands around calls, the opening first."""

_QUESTION = {"role": "user", "content": "Which weather?"}
_CALLING = {"role": "assistant", "content": "", "tool_calls": [PROBE_CALL]}
_HERMES = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_NAMED = re.compile(r"\s*([\w.-]+)(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?\s*(?=\{)")
_DECODER = json.JSONDecoder()

Call: TypeAlias = dict[str, Any]
"""`{"name": ..., "arguments": JSON text}`."""


@dataclass(frozen=True, kw_only=True)
class CallFormat:
    """How a model writes tool calls."""

    way: Way
    keep: frozenset[int]
    """Special tokens that are part of it, and so must not be left out of the text."""

    @property
    def opening(self) -> str:
        """What calls begin with."""
        return _MARKS[self.way][0]

    def parse(self, text: str, names: Collection[str]) -> tuple[str, list[Call]]:
        """What stands before the calls, and the calls; all of the text and none if one is malformed.

        Args:
            text: The answer.
            names: The tools that there are.
        """
        read = {"hermes": _hermes, "mistral": _mistral, "llama": _llama}[self.way]
        try:
            content, found = read(text)
            calls = [call["function"] for call in calls_of(found, "tool_calls")] if found else []
        except (ValueError, RecursionError, Misfit):
            return text, []
        if self.way == "llama" and any(call["name"] not in names for call in calls):
            return text, []  # an answer that is JSON and no call
        if not calls:
            return text, []
        return content.strip(), [
            {"name": call["name"], "arguments": _as_text(call["arguments"])} for call in calls
        ]


def learn_call_format(tokenizer: PreTrainedTokenizerBase) -> CallFormat | None:
    """Let a chat template write a call; None if it writes none that can be read back here."""
    template = ChatTemplate(tokenizer)
    try:
        asked = template.render([_QUESTION], [PROBE_TOOL], prompt=True)
        answered = template.render([_QUESTION, _CALLING], [PROBE_TOOL])
        silent = template.render([_QUESTION], prompt=True)
    except Unrenderable:
        return None
    if asked == silent:  # it tells the model of no tools
        return None
    written = answered.removeprefix(asked) if answered.startswith(asked) else answered
    where = written.rfind("town_weather")
    if where < 0:
        return None
    if "[TOOL_CALLS]" in written:
        way: Way = "mistral"
    elif re.search(r"<tool_call>\s*\{\s*$", written[:where].rpartition('"name"')[0]):
        way = "hermes"
    elif re.match(r"(.*>\s*)?\{\s*\"(type|name)\"", written[:where], re.DOTALL) and re.search(
        r'"(parameters|arguments)"', written[where:]
    ):
        way = "llama"
    else:
        return None
    special: Any = tokenizer.added_tokens_decoder
    marks = _MARKS[way]
    keep = frozenset(token for token, what in special.items() if what.content in marks)
    return CallFormat(way=way, keep=keep)


class CallWatch:
    """Lets text pass until it may be the beginning of a call; what follows is kept to the end."""

    def __init__(self, format: CallFormat) -> None:
        self._format = format
        self._passed = False
        self._holds = False
        self.held = ""
        """What was not let pass."""

    def feed(self, text: str) -> str:
        """The text that is certainly no call."""
        self.held += text
        if self._holds:
            return ""
        opening = self._format.opening
        start = self.held.find(opening)
        begun = self.held.lstrip()
        if self._format.way == "llama" and not self._passed and begun[:1] in {"", "{"}:
            self._holds = bool(begun)
            return ""
        if start >= 0:
            self._holds = True
        else:
            start = len(self.held) - overlap(self.held, [opening])
        start = len(self.held[:start].rstrip())  # white space before a call is no part of the text
        let, self.held = self.held[:start], self.held[start:]
        self._passed |= bool(let.strip())
        return let


def overlap(text: str, marks: Sequence[str]) -> int:
    """Characters at the end of a text with which one of the marks begins."""
    longest = max((len(mark) for mark in marks), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        end = text[-size:]
        if any(mark.startswith(end) and len(mark) > size for mark in marks):
            return size
    return 0


def _hermes(text: str) -> tuple[str, list[Any]]:
    return text.partition("<tool_call>")[0], [json.loads(found) for found in _HERMES.findall(text)]


def _mistral(text: str) -> tuple[str, list[Any]]:
    content, mark, rest = text.partition("[TOOL_CALLS]")
    if not mark:
        return text, []
    rest = rest.strip()
    if rest.startswith(("[", "{")):
        found, _ = _DECODER.raw_decode(rest)
        return content, found if isinstance(found, list) else [found]
    calls = []
    while rest:
        rest = rest.removeprefix("[TOOL_CALLS]")
        named = _NAMED.match(rest)
        if named is None:
            raise ValueError("no name of a tool")
        arguments, end = _DECODER.raw_decode(rest, named.end())
        calls.append({"name": named[1], "arguments": arguments})
        rest = rest[end:].strip()
    return content, calls


def _llama(text: str) -> tuple[str, list[Any]]:
    content, mark, rest = text.partition("<|python_tag|>")
    if not mark:
        content, rest = "", text
    rest = rest.strip()
    calls = []
    while rest:
        call, end = _DECODER.raw_decode(rest)
        calls.append(call)
        rest = rest[end:].lstrip("; \n")
    return content, calls


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
