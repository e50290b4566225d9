"""Proves which characters of a rendered conversation the assistant has to write; it does not tokenise.

Nothing is assumed of a template but that it copies the letters of a message somewhere, once and in order.
Above all it is not assumed that the rendering of the first messages is a prefix of the rendering of all,
which many templates break. `provenance` traces each letter to its message, `borders` finds where the
generation prompt ends before it and where the end token stands behind it. Where the template itself says
what the assistant writes, with `{% generation %}`, its blocks are taken, but checked against that proof.
What cannot be proven is refused rather than guessed at.

A shortcut serves nearly all rows: see `skeleton`.

What belongs to a message: all that the model has to write, which is what stands between the generation
prompt and the end token. An empty `<think></think>` that the prompt does not supply is the model's to
write; a `<think>` that the prompt supplies is not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xtune.data.borders import Borders
from xtune.data.ends import Ends, learn_ends
from xtune.data.provenance import Traced, Unproven, trace
from xtune.data.template import ChatTemplate
from xtune.data.trie import any_of
from xtune.data.types import Conversation, Message

__all__ = ["Rendered", "Span", "SpanProver", "Unproven"]


@dataclass(frozen=True)
class Span:
    """Characters of the rendering that one message's author has to write, the end token included."""

    message: int
    start: int
    end: int
    ended: bool = True
    """Whether the last of them is an end token."""

    missing: str = ""
    """What the generation prompt supplies at its start, but this rendering lacks: an opening `<think>`, say."""

    pieces: tuple[tuple[int, int], ...] = ()
    """The parts of it that the template's `{% generation %}` blocks hold; empty: all of it."""

    def parts(self) -> tuple[tuple[int, int], ...]:
        """The characters to train on."""
        return self.pieces or ((self.start, self.end),)


@dataclass(kw_only=True)
class Rendered:
    """A rendered conversation with the spans that were asked for, and what is worth telling about it."""

    text: str
    spans: list[Span]
    notes: set[str] = field(default_factory=set)


class SpanProver:
    """Proves the spans of messages in renderings of one template."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self.special = _pattern(template.tokenizer)
        self._ends: dict[tuple[str, bool], Ends] = {}

    def ends(self, tools: Sequence[Mapping[str, Any]] = ()) -> Ends:
        """How the template ends an assistant's turn, learned once.

        Raises:
            DataError: There is no template.
        """
        key = self.template.text(tools), bool(tools)
        if key not in self._ends:
            self._ends[key] = learn_ends(self.template, self.special, tools)
        return self._ends[key]

    def prove(
        self,
        conversation: Conversation,
        messages: Sequence[Mapping[str, Any]],
        wanted: Sequence[int],
        text: str,
        blocks: list[tuple[int, int]] | None,
    ) -> Rendered:
        """Prove the spans of a text that has been rendered.

        Raises:
            DataError: There is no template.
            Unproven: A wanted message cannot be located beyond doubt.
        """
        rendered = Rendered(text=text, spans=[])
        _note_tools(conversation.tools, rendered)
        if not wanted:
            return rendered
        try:
            traced = trace(self.template, messages, conversation.tools, text)
        except Unproven:
            if blocks is None:
                raise
            rendered.spans = _by_blocks_alone(conversation, wanted, text, blocks, self)
            return rendered
        ends = self.ends(conversation.tools)
        borders = Borders(self.template, conversation.tools, traced, self.special, ends)
        _check_fields(conversation.messages, wanted, traced, rendered)
        for index in wanted:
            if conversation.messages[index].role != "assistant":
                rendered.spans.append(Span(index, *borders.of_other(index)))
                continue
            span = Span(index, *borders.of_assistant(index))
            _check_calls(conversation.messages[index], index, text[span.start : span.end])
            rendered.spans.append(
                span if blocks is None else _within_blocks(span, blocks, traced, rendered)
            )
        return rendered


def _pattern(tokenizer: Any) -> "re.Pattern[str]":
    """Matches the added and special tokens of a tokenizer, the longest first."""
    names = {token.content for token in tokenizer.added_tokens_decoder.values()}
    names |= set(tokenizer.all_special_tokens)
    return any_of(name for name in names if name.strip())


def _check_fields(
    messages: Sequence[Message], wanted: Sequence[int], traced: Traced, rendered: Rendered
) -> None:
    """Refuse wanted messages that are written twice, out of order or not at all; note what else is left out.

    Raises:
        Unproven: A wanted message is.
    """
    lost: dict[int, set[str]] = {}
    for number, part in enumerate(traced.swap.fields):
        written = traced.written.get(number, "")
        if written == part.letters:
            continue
        index, role = part.message, messages[part.message].role
        if not _subsequence(written, part.letters):
            if index in wanted:
                times = len(written) / max(1, len(part.letters))
                how = f"{times:g} times" if times == int(times) else "more than once in part"
                raise Unproven(f"the template writes message {index + 1} ({role}) {how}")
            continue
        lost.setdefault(index, set()).add("all" if not written else "part")
        if part.key not in {"content", "tool_calls"}:
            rendered.notes.add(
                "the reasoning of an assistant's message is left out by the template"
            )
        elif written or role == "assistant":
            rendered.notes.add(
                f"part of a message ({role}) is left out or rewritten by the template"
            )
        else:
            rendered.notes.add(f"a message ({role}) is left out by the template")
    for index in wanted:
        if index in lost and index not in traced.places:
            _check_calls(messages[index], index, "")
            raise Unproven(
                f"the template leaves out message {index + 1} ({messages[index].role}); it may want its content "
                "as a list of parts"
            )


def _subsequence(part: str, whole: str) -> bool:
    rest = iter(whole)
    return all(letter in rest for letter in part)


def _check_calls(message: Message, index: int, written: str) -> None:
    calls = message.extra.get("tool_calls") or ()
    if all(call["function"]["name"] in written for call in calls):
        return
    if written and all(call.get("id") and str(call["id"]) in written for call in calls):
        raise Unproven(
            f"the template writes the ids of the tool calls of message {index + 1} in place of their names, so an id must "
            "hold the name (Kimi: `functions.NAME:0`)"
        )
    raise Unproven(f"the template leaves out the tool calls of message {index + 1}")


def _within_blocks(
    span: Span, blocks: Sequence[tuple[int, int]], traced: Traced, rendered: Rendered
) -> Span:
    """The span as the template's own blocks cut it, which must hold all that the author wrote.

    Raises:
        Unproven: They do not, or hold what somebody else wrote.
    """
    own = [block for block in blocks if block[0] < span.end and block[1] > span.start]
    if not own:
        raise Unproven(
            f"no {{% generation %}} block of the template holds message {span.message + 1}"
        )
    for letter in range(min(block[0] for block in own), max(block[1] for block in own)):
        number = traced.swap.owner.get(traced.variant[letter])
        if number is None:
            continue
        inside = any(start <= letter < end for start, end in own)
        if inside != (traced.swap.fields[number].message == span.message):
            raise Unproven(_wrong_block(span.message))
    first, last = traced.places.get(span.message, (own[0][0], own[-1][1] - 1))
    if first < own[0][0] or last >= own[-1][1]:
        raise Unproven(_wrong_block(span.message))
    if own[0][0] < span.start:
        rendered.notes.add(
            "a {% generation %} block holds text that the generation prompt supplies, which is not trained on"
        )
    pieces = [(max(start, span.start), min(end, span.end)) for start, end in own]
    pieces[-1] = (pieces[-1][0], span.end)
    return replace(span, start=pieces[0][0], pieces=tuple(pieces))


def _wrong_block(message: int) -> str:
    return f"the {{% generation %}} blocks of the template do not hold message {message + 1}, or not it alone"


def _by_blocks_alone(
    conversation: Conversation,
    wanted: Sequence[int],
    text: str,
    blocks: Sequence[tuple[int, int]],
    prover: SpanProver,
) -> list[Span]:
    """Spans of a template that rewrites some message, from one block for each assistant's message.

    Raises:
        DataError: There is no template.
        Unproven: A block does not hold its message.
    """
    messages = conversation.messages
    assistants = [index for index, message in enumerate(messages) if message.role == "assistant"]
    if len(blocks) != len(assistants) or not set(wanted) <= set(assistants):
        raise Unproven(
            "the template rewrites messages, and its {% generation %} blocks are not one a message"
        )
    spans = []
    for index, (start, end) in zip(assistants, blocks, strict=True):
        if index not in wanted:
            continue
        written, content = text[start:end], messages[index].content.strip()
        if written.count(content or " ") != 1 and content:
            raise Unproven(_wrong_block(index))
        behind = start + written.find(content) + len(content)
        ended = next(
            (
                found
                for found in prover.special.finditer(text, behind)
                if found.group() in prover.ends(conversation.tools).tokens
            ),
            None,
        )
        if ended is None or text[max(end, behind) : ended.start()].strip():
            raise Unproven(_wrong_block(index))
        spans.append(Span(index, start, ended.end()))
    return spans


def _note_tools(tools: Sequence[Mapping[str, Any]], rendered: Rendered) -> None:
    if not all(_tool_name(tool) in rendered.text for tool in tools):
        rendered.notes.add("tool descriptions are left out by the template")


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function", tool)
    return str(function.get("name", "")) if isinstance(function, Mapping) else ""
