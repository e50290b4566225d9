"""Learns in which shape a chat template wants messages, texts or lists of parts, and gives them that shape; it renders nothing itself.

Templates of models that also see images may take a content only as a list of parts, and some older ones take
the arguments of a call only as JSON text. A template that is given the wrong shape stops with an error, leaves
the text out or writes Python's own notation; a server that knows the template gives it the right one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Messages: TypeAlias = Sequence[Mapping[str, Any]]
Render: TypeAlias = Callable[[Messages, Sequence[Mapping[str, Any]]], str | None]
"""The text of a conversation with tools; None if the template refuses it."""

PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "town_weather",
        "description": "Tells the weather of a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "description": "Its name"}},
            "required": ["town"],
        },
    },
}
"""An invented tool for trying templates."""

PROBE_CALL = {
    "id": "abcde1234",
    "type": "function",
    "function": {"name": "town_weather", "arguments": {"town": "Oslo"}},
}
"""A call of it; nine characters and digits, the only id that Mistral's templates take."""

_QUESTION, _ANSWER = "\ue000q\ue001", "\ue000a\ue001"
_PLAIN = ({"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER})
_CALLING = (
    {"role": "user", "content": _QUESTION},
    {"role": "assistant", "content": "", "tool_calls": [PROBE_CALL]},
    {"role": "tool", "content": "clear", "name": "town_weather", "tool_call_id": "abcde1234"},
    {"role": "assistant", "content": _ANSWER},
)


@dataclass(frozen=True)
class Wants:
    """The shape in which a template takes messages."""

    parts: bool = False
    """A content as `[{"type": "text", "text": ...}]`; else as a text."""

    json_arguments: bool = False
    """The arguments of a call as JSON text; else as an object."""

    def shaped(self, messages: Messages) -> list[Mapping[str, Any]]:
        """Messages in that shape."""
        if not self.parts and not self.json_arguments:
            return list(messages)
        return [self._message(message) for message in messages]

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        shaped = dict(message)
        if self.parts and isinstance(message.get("content"), str):
            shaped["content"] = [{"type": "text", "text": message["content"]}]
        if self.json_arguments and message.get("tool_calls"):
            shaped["tool_calls"] = [_with_text(call) for call in message["tool_calls"]]
        return shaped


def learn_wants(render: Render) -> Wants:
    """Try a template on a question and its answer, then on a call and its result."""
    parts = not _has_all(render(_PLAIN, ())) and _has_all(
        render(Wants(parts=True).shaped(_PLAIN), ())
    )
    wants = Wants(parts=parts)
    for calling in (_CALLING, _CALLING[:2]):
        given = render(wants.shaped(calling), (PROBE_TOOL,))
        if given is not None and "{'town'" not in given:
            return wants
        as_text = Wants(parts=parts, json_arguments=True)
        given = render(as_text.shaped(calling), (PROBE_TOOL,))
        if given is not None and '{"town": "Oslo"}' in given:
            return as_text
    return wants


def _has_all(text: str | None) -> bool:
    return text is not None and _QUESTION in text and _ANSWER in text


def _with_text(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return dict(call)
    text = json.dumps(arguments, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}
