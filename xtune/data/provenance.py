"""Tells, for every character of a rendered conversation, which message's author wrote it; it knows no tokens.

The letters of every text that a message brings are swapped, one for one, against letters that occur nowhere
in the rendering: another alphabet for each text. The template is rendered once more with the swapped texts.
If swapping back gives the true rendering, letter by letter, then the template did the same with both, and
each swapped letter shows where its text went. If it does not, the template reacts to the letters (it looks
for `</think>`, say): then what it looks for is left unswapped. If that fails too, nothing is proven.

White space is never swapped, as templates trim it, and neither are the names of functions and arguments,
which templates repeat and compare.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xtune.data.template import ChatTemplate, Unrenderable
from xtune.data.turns import EXTRA_TEXTS

_POOLS = ((0x20000, 0x2A6DF), (0x30000, 0x3134A), (0x3400, 0x4DBF), (0xAC00, 0xD7A3))
"""Letters to swap in, rare ones first: CJK extensions B, G and A, Hangul. Printable, caseless and no white space."""

TEXT_KEYS = tuple(key for key in EXTRA_TEXTS if key not in {"tool_call_id", "name"})
"""Keys of a message, besides its content, that hold a text of its author."""

_ESCAPED = '"\\\x7f'
"""What JSON writes otherwise, besides control characters; swapped letters need no escape."""


class Unproven(Exception):  # noqa: N818 - becomes a DataError with the row's place where that is known
    """It cannot be proven where the template wrote a message; the text says why."""


@dataclass(frozen=True)
class Field:
    """One text that a message brings, after the swap."""

    message: int
    key: str
    """content, reasoning_content ..., or tool_calls."""

    letters: str
    """Its swapped letters, in order."""


class Swap:
    """Messages with their letters swapped, and the way back."""

    def __init__(
        self,
        messages: Sequence[Mapping[str, Any]],
        avoid: str,
        untouched: "re.Pattern[str] | None" = None,
    ) -> None:
        """Swap.

        Args:
            messages: As the template takes them.
            avoid: Letters that may not be swapped in.
            untouched: What is left as it is in all texts.

        Raises:
            Unproven: There are more different letters than can be swapped in.
        """
        self.fields: list[Field] = []
        self.back: dict[int, str] = {}
        """Swapped letter to the true one, for str.translate."""

        self.owner: dict[str, int] = {}
        """Swapped letter to its index in `fields`."""

        self._fresh = _letters(set(avoid))
        self._untouched = untouched
        self.messages: list[Mapping[str, Any]] = [
            self._message(index, message) for index, message in enumerate(messages)
        ]

    def _message(self, index: int, message: Mapping[str, Any]) -> dict[str, Any]:
        swapped = dict(message)
        json_like = message.get("role") == "tool"  # results are often written as JSON
        for key in ("content", *TEXT_KEYS):
            if isinstance(message.get(key), str):
                swapped[key] = self._text(index, key, message[key], escaped=json_like)
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            swapped["tool_calls"] = [self._call(index, call) for call in calls]
        return swapped

    def _call(self, index: int, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call["function"]
        arguments = self._value(index, function.get("arguments"))
        return {**call, "function": {**function, "arguments": arguments}}

    def _value(self, index: int, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(index, "tool_calls", value, escaped=True)
        if isinstance(value, Mapping):
            return {key: self._value(index, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(index, item) for item in value]
        return value

    def _text(self, message: int, key: str, text: str, *, escaped: bool) -> str:
        number = len(self.fields)
        table: dict[int, str] = {}
        kept = _ESCAPED if escaped or self._untouched else ""
        for letter in dict.fromkeys(text):
            if letter.isspace() or letter < " " or letter in kept:
                continue
            stand_in = next(self._fresh, None)
            if stand_in is None:
                raise Unproven(
                    "the conversation has too many different letters to tell its messages apart"
                )
            table[ord(letter)] = stand_in
            self.back[ord(stand_in)] = letter
            self.owner[stand_in] = number
        swapped = self._between(text, table)
        letters = "".join(letter for letter in swapped if letter in self.owner)
        self.fields.append(Field(message, key, letters))
        return swapped

    def _between(self, text: str, table: dict[int, str]) -> str:
        if self._untouched is None:
            return text.translate(table)
        pieces, position = [], 0
        for found in self._untouched.finditer(text):
            pieces += [text[position : found.start()].translate(table), found.group()]
            position = found.end()
        return "".join([*pieces, text[position:].translate(table)])


@dataclass(frozen=True)
class Traced:
    """A rendering whose letters have been traced to their messages."""

    text: str
    variant: str
    """The same length as `text`, with swapped letters."""

    messages: Sequence[Mapping[str, Any]]
    swap: Swap
    places: Mapping[int, tuple[int, int]]
    """First and last letter of each message that has any."""

    written: Mapping[int, str]
    """For each field that has any: its letters as the template wrote them."""


def trace(
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    text: str,
) -> Traced:
    """Trace the letters of `text`, the rendering of `messages`.

    Raises:
        Unproven: The template changes texts so that their letters cannot be followed.
    """
    for untouched in (None, template.reactions(tools)):
        swap = Swap(messages, text, untouched)
        variant = _same(template, swap, tools, text)
        if variant is not None:
            return _traced(text, variant, messages, swap)
    raise Unproven(_blame(template, messages, tools, text))


def last_letter(text: str, swap: Swap) -> int:
    """Position of the last swapped letter; -1 without any."""
    position = len(text) - 1
    while position >= 0 and text[position] not in swap.owner:
        position -= 1
    return position


def _same(
    template: ChatTemplate, swap: Swap, tools: Sequence[Mapping[str, Any]], text: str
) -> str | None:
    try:
        variant = template.render(swap.messages, tools)
    except Unrenderable:
        return None
    same = len(variant) == len(text) and variant.translate(swap.back) == text
    return variant if same else None


def _traced(text: str, variant: str, messages: Sequence[Mapping[str, Any]], swap: Swap) -> Traced:
    places: dict[int, tuple[int, int]] = {}
    written: dict[int, list[str]] = {}
    for position, letter in enumerate(variant):
        number = swap.owner.get(letter)
        if number is None:
            continue
        message = swap.fields[number].message
        places[message] = (places[message][0] if message in places else position, position)
        written.setdefault(number, []).append(letter)
    letters = {key: "".join(of) for key, of in written.items()}
    return Traced(text, variant, messages, swap, places, letters)


def _blame(
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    text: str,
) -> str:
    """In words, the first message whose text the template changes."""
    for index, message in enumerate(messages):
        swap = Swap([message], text, template.reactions(tools))
        swap.messages = [*messages[:index], swap.messages[0], *messages[index + 1 :]]
        if _same(template, swap, tools, text) is None:
            return f"the template rewrites message {index + 1} ({message['role']})"
    return "the template mixes the texts of several messages"


def _letters(avoid: set[str]) -> Iterator[str]:
    for first, last in _POOLS:
        yield from (letter for code in range(first, last) if (letter := chr(code)) not in avoid)
