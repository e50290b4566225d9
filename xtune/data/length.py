"""Where rows that are too long are cut: conversations between turns, texts between lines or sentences; it encodes nothing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from xtune.data.types import Conversation

_SENTENCE_END = re.compile(r"[.!?…](?=\s)|[。！？।]")
"""Ends of sentences in the scripts that mark them; the last resort is any token."""

_WINDOW = 4
"""A part ends at a line or a sentence if one ends in its last quarter; else it is cut where it is full."""


def turns(conversation: Conversation) -> tuple[int, list[tuple[int, int]]]:
    """How many messages stand before the first turn, and first and behind-last message of each turn.

    A turn begins with a user's message that follows another role's, and goes on to the next one: the answer,
    its tool calls and their results stay with their question. System messages at the start belong to all.
    """
    messages = conversation.messages
    head = next(
        (index for index, message in enumerate(messages) if message.role != "system"), len(messages)
    )
    begins = [
        index
        for index in range(head, len(messages))
        if index == head
        or (
            messages[index].role == "user"
            and messages[index - 1].role != "user"
            and any(message.role == "user" for message in messages[head:index])
        )
    ]
    return head, list(zip(begins, [*begins[1:], len(messages)], strict=True))


def split_at_turns(
    conversation: Conversation, fits: Callable[[Conversation], bool]
) -> tuple[list[Conversation], int]:
    """Parts of whole turns, as long as fit, each with the system messages and tools; and how many turns alone do not fit."""
    head, all_turns = turns(conversation)
    messages = conversation.messages
    parts: list[Conversation] = []
    lost = 0
    position = 0
    while position < len(all_turns):
        part, count = None, 0
        low, high = 1, len(all_turns) - position
        while low <= high:  # the most turns that fit: more turns never make a part shorter
            middle = (low + high) // 2
            begin, end = all_turns[position][0], all_turns[position + middle - 1][1]
            candidate = replace(conversation, messages=(*messages[:head], *messages[begin:end]))
            if fits(candidate):
                part, count, low = candidate, middle, middle + 1
            else:
                high = middle - 1
        if part is None:
            lost, count = lost + 1, 1
        else:
            parts.append(part)
        position += count
    return parts, lost


def cuts(text: str, starts: Sequence[int] | None, length: int, size: int) -> list[tuple[int, int]]:
    """Borders of parts of at most `size` tokens, none of a single token: a first token predicts nothing.

    Args:
        text: The text that was encoded.
        starts: For each token, its first character; None: cut where a part is full.
        length: Tokens in all.
        size: The most tokens of a part, at least two.
    """
    found = []
    begin = 0
    while length - begin > size:
        end = begin + size
        if starts is not None:
            end = _good_end(text, starts, begin, end, size)
        if length - end == 1 and end - begin > 2:
            end -= 1
        found.append((begin, end))
        begin = end
    found.append((begin, length))
    return found


def _good_end(text: str, starts: Sequence[int], begin: int, end: int, size: int) -> int:
    """The last place in the last quarter of a part where a line ends, else a sentence, else its end."""
    lowest = max(begin + 2, end - size // _WINDOW)
    sentence = None
    for place in range(min(end, len(starts) - 1), lowest - 1, -1):
        before = text[starts[place - 1] : starts[place]]
        if "\n" in before:
            return place
        if sentence is None and _SENTENCE_END.search(
            before + text[starts[place] : starts[place] + 1]
        ):
            sentence = place
    return end if sentence is None else sentence
