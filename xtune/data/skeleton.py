"""A shortcut to the spans of most rows: one proof for each sequence of roles, carried over to its rows.

The rendering of stand-ins alone, the skeleton, is proven once. A row whose true rendering is exactly the
skeleton with its texts, trimmed perhaps, in place of the stand-ins is proven by it, if that can be done in
one way only and no text holds what the template looks for (which might change the generation prompt).
All other rows are proven one by one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from xtune.data.provenance import TEXT_KEYS
from xtune.data.spans import Rendered, Span
from xtune.data.types import Conversation, Message

_STAND_IN = "\ue000{}\ue001"
"""Private-use characters around a number: no template treats them specially, hardly any text holds them."""

_STAND_INS = re.compile("\ue000([0-9]+)\ue001")

Place: TypeAlias = tuple[int, int]
"""A literal of the skeleton, and an offset in it."""


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A proven rendering of stand-ins, taken apart."""

    literals: tuple[str, ...]
    order: tuple[int, ...]
    """Text whose stand-in stands between literal i and literal i + 1."""

    spans: tuple[tuple[Span, Place, Place, tuple[tuple[Place, Place], ...]], ...]
    """Each span with the places of its borders and of its pieces."""

    blocks: tuple[tuple[Place, Place], ...] | None
    notes: frozenset[str]


def stand_ins(conversation: Conversation) -> Conversation | None:
    """The conversation with a stand-in for each text; None if it has more than texts, tool calls say."""
    messages = []
    number = 0
    for message in conversation.messages:
        extra = {}
        for key, value in message.extra.items():
            if key not in TEXT_KEYS or not isinstance(value, str):
                return None
            extra[key] = value
        content = _STAND_IN.format(number)
        number += 1
        for key in extra:
            extra[key] = _STAND_IN.format(number)
            number += 1
        messages.append(replace(message, content=content, extra=extra))
    return replace(conversation, messages=tuple(messages))


def take_apart(proven: Rendered, blocks: Sequence[tuple[int, int]] | None) -> Skeleton | None:
    """The skeleton of a proven rendering of stand-ins; None if a border lies within a stand-in."""
    pieces = _STAND_INS.split(proven.text)
    literals, order = tuple(pieces[::2]), tuple(int(number) for number in pieces[1::2])
    if len(set(order)) != len(order):
        return None
    edges = []  # of each literal, in the text
    position = 0
    for index, literal in enumerate(literals):
        edges.append((position, position + len(literal)))
        position += len(literal)
        position += len(_STAND_IN.format(order[index])) if index < len(order) else 0
    try:
        spans = tuple(
            (
                span,
                _place(span.start, edges, opening=True),
                _place(span.end, edges, opening=False),
                _pairs(span.pieces, edges),
            )
            for span in proven.spans
        )
        return Skeleton(
            literals=literals,
            order=order,
            spans=spans,
            blocks=None if blocks is None else _pairs(blocks, edges),
            notes=frozenset(proven.notes),
        )
    except ValueError:
        return None


def fill(
    skeleton: Skeleton,
    conversation: Conversation,
    text: str,
    blocks: Sequence[tuple[int, int]] | None,
) -> Rendered | None:
    """The spans of a row whose rendering is the skeleton filled with its texts; None if it is not, or not surely."""
    begins = _align(skeleton, _texts(conversation.messages), text)
    if begins is None:
        return None

    def at(place: Place) -> int:
        return begins[place[0]] + place[1]

    if blocks is not None:
        expected = [(at(start), at(end)) for start, end in skeleton.blocks or ()]
        if expected != list(blocks):
            return None
    spans = [
        Span(
            span.message,
            at(start),
            at(end),
            span.ended,
            span.missing,
            tuple((at(first), at(last)) for first, last in pieces),
        )
        for span, start, end, pieces in skeleton.spans
    ]
    if any(span.missing and text.startswith(span.missing, span.start) for span in spans):
        return None  # this row's text begins with what the generation prompt supplies
    return Rendered(text=text, spans=spans, notes=set(skeleton.notes))


def _texts(messages: Sequence[Message]) -> list[str]:
    texts = []
    for message in messages:
        texts.append(message.content)
        texts += message.extra.values()
    return texts


def _align(skeleton: Skeleton, texts: Sequence[str], text: str) -> list[int] | None:
    """Where each literal begins, if the text is the skeleton filled in one way only."""
    if not text.startswith(skeleton.literals[0]):
        return None
    begins, position = [0], len(skeleton.literals[0])
    for literal, number in zip(skeleton.literals[1:], skeleton.order, strict=True):
        fits = [
            content
            for content in _trims(texts[number])
            if text.startswith(content, position)
            and text.startswith(literal, position + len(content))
        ]
        if len(fits) != 1:
            return None
        begins.append(position + len(fits[0]))
        position = begins[-1] + len(literal)
    return begins if position == len(text) else None


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


def _place(position: int, edges: Sequence[tuple[int, int]], *, opening: bool) -> Place:
    """A position as one in a literal; before a text an opening one is the literal's end, behind it a closing one its start.

    Raises:
        ValueError: It lies within a stand-in.
    """
    found = [
        (index, position - start)
        for index, (start, end) in enumerate(edges)
        if start <= position <= end
    ]
    if not found:
        raise ValueError(position)
    return found[0] if opening else found[-1]


def _pairs(
    pairs: Sequence[tuple[int, int]], edges: Sequence[tuple[int, int]]
) -> tuple[tuple[Place, Place], ...]:
    return tuple(
        (_place(start, edges, opening=True), _place(end, edges, opening=False))
        for start, end in pairs
    )
