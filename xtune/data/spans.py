"""Proves which characters of a rendered conversation each message's author wrote; it does not tokenise.

The proof assumes nothing about a template but that it copies a message's content somewhere. Above all
it does not assume that the rendering of the first messages is a prefix of the rendering of all, which
many templates break. A message's content is replaced by a sentinel; in that second rendering the
sentinel stands between a head and a tail, and if the true rendering is `head + f + tail` with f out of
the content, then f is the content as the template wrote it (trimmed, without its reasoning, ...). If
the equation does not hold there is no span, and the row is refused rather than guessed at.

A shortcut serves nearly all rows: for one sequence of roles the rendering of sentinels alone, the
skeleton, is made once; a row whose true rendering is exactly the skeleton with the contents in place of
the sentinels is proven without a second rendering. If that can be done in two ways, the slow proof decides.

What the model has to write begins where the generation prompt ends, which may be before the content: a
space, or an empty `<think>` block. That lead-in belongs to the span where the generation prompt is a
prefix of the rendering.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xtune.data.template import ChatTemplate, Unrenderable
from xtune.data.types import Conversation, Message

_SENTINEL = "\ue000{}\ue001"
"""Private-use characters around a number: no template treats them specially, hardly any text holds them."""

_SENTINELS = re.compile("\ue000([0-9]+)\ue001")
_SKELETONS = 4096
"""Skeletons kept; data sets have tens of role sequences, a long tail costs only time."""

_THINK, _THINK_END = "<think>", "</think>"


class Unproven(Exception):  # noqa: N818 - becomes a DataError with the row's place where that is known
    """It cannot be proven where the template wrote a message; the text says why."""


@dataclass(frozen=True)
class Span:
    """Characters of the rendering that one message's author wrote, with its lead-in, without its end of turn."""

    message: int
    start: int
    end: int
    stated: bool = False
    """The template's own `{% generation %}` block, which may hold the end-of-turn token already."""


@dataclass(kw_only=True)
class Rendered:
    """A rendered conversation with the spans that were asked for, and what is worth telling about it."""

    text: str
    spans: list[Span]
    notes: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Skeleton:
    literals: tuple[str, ...]
    order: tuple[int, ...]
    """Message whose sentinel stands between literal i and literal i + 1."""

    leads: tuple[int, ...]
    """For each message, characters between the end of its generation prompt and its content."""


class SpanFinder:
    """Renders conversations with one template and finds the spans of their messages."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self._skeletons: dict[tuple[tuple[str, ...], str], _Skeleton | None] = {}

    def find(self, conversation: Conversation, wanted: Sequence[int]) -> Rendered:
        """Render a conversation and prove the spans of the messages `wanted`.

        Raises:
            Unrenderable: The template refuses the conversation.
            Unproven: A wanted message cannot be located beyond doubt.
        """
        messages = [message.for_template() for message in conversation.messages]
        tools = conversation.tools
        if self.template.marks_generation(tools):
            marked = self._marked(conversation, messages, wanted)
            if marked is not None:
                return marked
        rendered = Rendered(text=self.template.render(messages, tools), spans=[])
        if not all(_tool_name(tool) in rendered.text for tool in tools):
            rendered.notes.add("tool descriptions are left out by the template")
        found = self._by_skeleton(conversation, rendered.text)
        if found is not None:
            rendered.spans = [found[index] for index in wanted]
            return rendered
        rendered.spans = [
            self._by_sentinel(conversation, messages, rendered.text, index) for index in wanted
        ]
        _note_losses(conversation, rendered)
        return rendered

    def _marked(
        self, conversation: Conversation, messages: list[dict[str, Any]], wanted: Sequence[int]
    ) -> Rendered | None:
        """Spans as the template's own `{% generation %}` blocks state them, if each holds its message."""
        assistants = [
            index
            for index, message in enumerate(conversation.messages)
            if message.role == "assistant"
        ]
        if not set(wanted) <= set(assistants):
            return None
        text, blocks = self.template.render_marked(messages, conversation.tools)
        if len(blocks) != len(assistants):
            return None
        spans = {
            index: Span(index, start, end, stated=True)
            for index, (start, end) in zip(assistants, blocks, strict=True)
        }
        for index in wanted:
            if (
                conversation.messages[index].content.strip()
                not in text[spans[index].start : spans[index].end]
            ):
                return None
        return Rendered(text=text, spans=[spans[index] for index in wanted])

    def _by_skeleton(self, conversation: Conversation, text: str) -> dict[int, Span] | None:
        if any(message.extra for message in conversation.messages):
            return None
        roles = tuple(message.role for message in conversation.messages)
        key = (roles, json.dumps(conversation.tools, sort_keys=True) if conversation.tools else "")
        if key not in self._skeletons:
            if len(self._skeletons) >= _SKELETONS:
                self._skeletons.clear()
            self._skeletons[key] = self._skeleton(roles, conversation.tools)
        skeleton = self._skeletons[key]
        return None if skeleton is None else _aligned(skeleton, conversation.messages, text)

    def _skeleton(
        self, roles: tuple[str, ...], tools: Sequence[Mapping[str, Any]]
    ) -> _Skeleton | None:
        messages = [
            {"role": role, "content": _SENTINEL.format(index)} for index, role in enumerate(roles)
        ]
        try:
            pieces = _SENTINELS.split(self.template.render(messages, tools))
        except Unrenderable:
            return None
        literals, order = tuple(pieces[::2]), tuple(int(index) for index in pieces[1::2])
        if sorted(order) != list(range(len(roles))):
            return None
        text, leads = "", [0] * len(roles)
        for literal, index in zip(literals, order, strict=False):
            text += literal
            if roles[index] == "assistant":
                lead = len(text) - self._prompt_end(messages, tools, index, text)
                leads[index] = lead if lead <= len(literal) else 0
            text += messages[index]["content"]
        return _Skeleton(literals, order, tuple(leads))

    def _prompt_end(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        index: int,
        text: str,
    ) -> int:
        """Where the generation prompt for message `index` ends in `text`, or the length of `text` if it is no prefix."""
        if index == 0:
            return len(text)
        try:
            prompt = self.template.render(messages[:index], tools, prompt=True)
        except Unrenderable:
            return len(text)
        return len(prompt) if text.startswith(prompt) else len(text)

    def _by_sentinel(
        self,
        conversation: Conversation,
        messages: list[dict[str, Any]],
        text: str,
        index: int,
    ) -> Span:
        message = conversation.messages[index]
        sentinel = _fresh(text)
        variant = self._variant(conversation, messages, index, sentinel)
        if variant.count(sentinel) != 1:
            raise Unproven(
                f"the template writes message {index + 1} ({message.role}) {variant.count(sentinel)} times"
            )
        head, tail = variant.split(sentinel)
        start, end = len(head), len(text) - len(tail)
        prompt_end = (
            self._prompt_end(messages, conversation.tools, index, text)
            if message.role == "assistant"
            else start
        )
        if message.extra.get("tool_calls"):
            return _span_with_calls(text, (head, tail), prompt_end, message, index)
        copied = (
            text.startswith(head)
            and text.endswith(tail)
            and start <= end
            and text[start:end] in message.content
        )
        if copied and (text[start:end].strip() or not message.content.strip()):
            return Span(index, min(start, prompt_end), end)
        start, end = self._by_two_sentinels(conversation, messages, text, index)
        return Span(index, min(start, prompt_end), end)

    def _variant(
        self, conversation: Conversation, messages: list[dict[str, Any]], index: int, content: str
    ) -> str:
        """The rendering with another content for one message, and without its tool calls.

        Raises:
            Unproven: The template refuses it.
        """
        changed = {key: value for key, value in messages[index].items() if key != "tool_calls"} | {
            "content": content
        }
        try:
            return self.template.render(
                [*messages[:index], changed, *messages[index + 1 :]], conversation.tools
            )
        except Unrenderable as error:
            raise Unproven(
                f"the template refuses a stand-in for message {index + 1}: {error}"
            ) from error

    def _by_two_sentinels(
        self, conversation: Conversation, messages: list[dict[str, Any]], text: str, index: int
    ) -> tuple[int, int]:
        """The span of a message whose reasoning, inside its content, the template writes anew."""
        content = conversation.messages[index].content
        reasoning, found, answer = content.rpartition(_THINK_END)
        fault = Unproven(
            f"the template rewrites message {index + 1} ({conversation.messages[index].role})"
        )
        if not found:
            raise fault
        before, _, reasoning = reasoning.rpartition(_THINK)
        first, second = _fresh(text), _fresh(text, skip=1)
        stand_in = f"{before}{_THINK}\n{first}\n{_THINK_END}\n\n{second}"
        variant = self._variant(conversation, messages, index, stand_in)
        if variant.count(first) != 1 or variant.count(second) != 1:
            raise fault
        head, rest = variant.split(first)
        middle, _, tail = rest.partition(second)
        for thought in _trims(reasoning):
            for reply in _trims(answer):
                if head + thought + middle + reply + tail == text:
                    bare = head.rstrip()
                    start = len(bare) - len(_THINK) if bare.endswith(_THINK) else len(head)
                    return start, len(text) - len(tail)
        raise fault


def _note_losses(conversation: Conversation, rendered: Rendered) -> None:
    spans = {span.message: rendered.text[span.start : span.end] for span in rendered.spans}
    for index, message in enumerate(conversation.messages):
        if message.content.strip() not in spans.get(index, rendered.text):
            rendered.notes.add(
                f"part of a message ({message.role}) is left out or rewritten by the template"
            )


def _aligned(skeleton: _Skeleton, messages: Sequence[Message], text: str) -> dict[int, Span] | None:
    """Spans of all messages if the text is the skeleton filled with the contents, in one way only."""
    if not text.startswith(skeleton.literals[0]):
        return None
    spans = {}
    position = len(skeleton.literals[0])
    for literal, index in zip(skeleton.literals[1:], skeleton.order, strict=True):
        fits = [
            content
            for content in _trims(messages[index].content)
            if text.startswith(content, position)
            and text.startswith(literal, position + len(content))
        ]
        if len(fits) != 1:
            return None
        end = position + len(fits[0])
        spans[index] = Span(index, position - skeleton.leads[index], end)
        position = end + len(literal)
    return spans if position == len(text) else None


def _span_with_calls(
    text: str, around: tuple[str, str], prompt_end: int, message: Message, index: int
) -> Span:
    """The span of a message with tool calls: all between its generation prompt and its end of turn.

    Raises:
        Unproven: The calls are left out, or the turn ends otherwise than one without calls.
    """
    head, tail = around
    start = min(len(head), prompt_end)
    end = len(text) - len(tail)
    if not text.startswith(head[:start]) or not text.endswith(tail) or start > end:
        raise Unproven(
            f"the template ends message {index + 1} otherwise than one without tool calls"
        )
    names = [call["function"]["name"] for call in message.extra["tool_calls"]]
    if not all(name in text[start:end] for name in names):
        raise Unproven(f"the template leaves out the tool calls of message {index + 1}")
    return Span(index, start, end)


def _trims(content: str) -> list[str]:
    """The content and the ways templates trim it, each once."""
    bare = content.strip()
    if len(bare) == len(content):
        return [content]
    ways = (
        content,
        bare,
        content.lstrip(),
        content.rstrip(),
        content.strip("\n"),
        content.lstrip("\n"),
        content.rstrip("\n"),
    )
    return list(dict.fromkeys(ways))


def _fresh(text: str, skip: int = 0) -> str:
    """A sentinel that the text does not hold, the next one for each `skip`."""
    number = 0
    while True:
        sentinel = _SENTINEL.format(number)
        if sentinel not in text:
            if not skip:
                return sentinel
            skip -= 1
        number += 1


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function", tool)
    return str(function.get("name", "")) if isinstance(function, Mapping) else ""
