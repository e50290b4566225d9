"""Where an assistant's message begins and ends in a rendering: after the generation prompt, with its end token.

The generation prompt is what inference supplies, the rendering of the messages before with
`add_generation_prompt`; the model writes what comes behind it. Only the stretch between two authors'
letters is compared, since a template may render earlier messages otherwise when more follow.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xtune.data.ends import Ends, tokens_of_text, up_to_special
from xtune.data.provenance import TEXT_KEYS, Traced, Unproven, last_letter
from xtune.data.template import ChatTemplate, Unrenderable

_TAGS = re.compile(r"(?:\s|<[^<>\n]{1,40}>|\[/?[A-Z_]+\])*")
"""Text between a header and an answer that only opens or closes a part of it, reasoning say."""

_CLOSING_TAG = re.compile(r"</(?!s>)|<\|?/|\[/|<\w+\|>|/>$")
"""Names of tokens that close something inside a message, a tool call say: not the end of a turn."""


class Borders:
    """Finds the borders of messages in one traced rendering."""

    def __init__(
        self,
        template: ChatTemplate,
        tools: Sequence[Mapping[str, Any]],
        traced: Traced,
        special: "re.Pattern[str]",
        ends: Ends,
    ) -> None:
        self._template = template
        self._tools = tools
        self._traced = traced
        self._special = special
        self._ends = ends

    def of_assistant(self, index: int) -> tuple[int, int, bool, str]:
        """First and behind-last character that the model writes, whether they end in an end token, and what is missing.

        Missing is what the generation prompt supplies at the first character, but the rendering lacks.

        Raises:
            Unproven: It cannot be told.
        """
        anchor, first, last, behind = self._stretch(index)
        start, missing = self._start(index, anchor, first)
        if first is None:
            last = start - 1
        elif start > last:
            raise Unproven(f"the generation prompt holds all of message {index + 1}")
        end, ended = self._end(index, last, behind)
        return start, end, ended, missing

    def of_other(self, index: int) -> tuple[int, int, bool]:
        """The same for a message of another role: its own letters and white space, and an end token.

        Raises:
            Unproven: It cannot be told.
        """
        _, first, last, behind = self._stretch(index)
        if first is None:
            raise Unproven(f"message {index + 1} has no letters to locate it by")
        message = self._traced.swap.messages[index]
        content = str(message.get("content", ""))
        lead = content[: len(content) - len(content.lstrip())]
        text = self._traced.text
        if lead and text.endswith(lead, 0, first) and self._keeps_space(index, lead):
            first -= len(lead)
        end, ended = self._end(index, last, behind)
        return first, end if ended else last + 1, ended

    def _stretch(self, index: int) -> tuple[int, int | None, int, int]:
        """The last letter before a message, its first and last letters, and the first letter behind it.

        Raises:
            Unproven: Another message is written into it.
        """
        places = self._traced.places
        if index in places:
            first, last = places[index]
            inside = next(
                (
                    other
                    for other, (begin, end) in places.items()
                    if other != index and begin <= last and end >= first
                ),
                None,
            )
            if inside is not None:
                raise Unproven(
                    f"the template writes messages {index + 1} and {inside + 1} into each other"
                )
        else:
            anchor = max((end for other, (_, end) in places.items() if other < index), default=-1)
            first, last = None, anchor
        border = last if first is None else first
        anchor = max((end for _, end in places.values() if end < border), default=-1)
        if first is None:
            anchor = last
        behind = min(
            (begin for begin, _ in places.values() if begin > last), default=len(self._traced.text)
        )
        return anchor, first, last, behind

    def _start(self, index: int, anchor: int, first: int | None) -> tuple[int, str]:
        text, variant = self._traced.text, self._traced.variant
        sent = self._rendered(self._traced.messages[:index], prompt=True)
        if sent is not None and len(sent) > anchor and text.startswith(sent):
            return len(sent), ""
        prompt = self._prompt(index, variant[anchor] if anchor >= 0 else "", sent)
        if prompt is not None and text.startswith(prompt, anchor + 1):
            return anchor + 1 + len(prompt), ""
        if first is None:
            raise Unproven(f"message {index + 1} is empty, and nothing shows where it stands")
        head = text[anchor + 1 : first]
        for length, missing in _possible_starts(prompt, head, self._ends):
            if self._is_lead_in(index, head[length:], missing):
                return anchor + 1 + length, missing
        if anchor < 0 and prompt is None and not self._ends.prompt:
            return first, ""
        raise Unproven(
            f"it cannot be told what of the text before message {index + 1} the generation prompt supplies"
        )

    def _is_lead_in(self, index: int, written: str, missing: str) -> bool:
        """Whether a header ends where the rendering and the generation prompt part: no header follows in either."""
        openers = self._ends.openers
        if any(opener in written or opener in missing for opener in openers):
            return False
        if not written.strip():
            return True
        if not _TAGS.fullmatch(missing):
            return False
        more = bool(openers) and self._has_more(index)
        return more or _TAGS.fullmatch(written) is not None

    def _has_more(self, index: int) -> bool:
        """Whether a message brings more than its content: calls and reasoning, around which templates write text."""
        message = self._traced.swap.messages[index]
        return any(message.get(key) for key in ("tool_calls", *TEXT_KEYS))

    def _prompt(self, index: int, anchor: str, sent: str | None) -> str | None:
        """What of `sent`, which inference sends, is behind the letter `anchor`; None if that cannot be told."""
        swap = self._traced.swap
        prompt = self._rendered(swap.messages[:index], prompt=True)
        if prompt is None or prompt.translate(swap.back) != sent:
            return None
        last = last_letter(prompt, swap)
        if (prompt[last] if last >= 0 else "") != anchor:
            return None
        return prompt[last + 1 :].translate(swap.back)

    def _end(self, index: int, last: int, behind: int) -> tuple[int, bool]:
        """Behind the end token of a message whose last letter is at `last`, and whether there is one."""
        rest = self._traced.text[last + 1 : behind]
        bare = rest.lstrip()
        for closing in self._ends.closings:
            if bare.startswith(closing.lstrip()):
                return last + 1 + len(rest) - len(bare) + len(closing.lstrip()), True
        closed = self._closing(index, last, behind, rest)
        if closed is not None:
            return last + 1 + closed, True
        for found in self._special.finditer(rest):
            if found.group() in self._ends.tokens and self._belongs(index, rest[: found.start()]):
                return last + 1 + found.end(), True
        return self._without_end(index, last, rest)

    def _closing(self, index: int, last: int, behind: int, rest: str) -> int | None:
        """Length of what closes a message as the end of a conversation does, if a special token ends it."""
        if self._ends.unconditional or not self._ends.tokens:
            return None
        alone = rest if behind == len(self._traced.text) else self._alone(index, last)
        pieces = tokens_of_text((alone or "").rstrip(), self._special)
        closing = up_to_special(pieces, self._special, self._ends.openers)
        if not closing or not rest.startswith(closing):
            return None
        final = self._special.findall(closing)[-1]
        cut = "".join(pieces) != closing and final not in self._ends.tokens
        inner = _CLOSING_TAG.search(final) and final not in self._ends.tokens
        return None if inner or cut else len(closing)

    def _belongs(self, index: int, closing: str) -> bool:
        """Whether text before an end token closes the message: no head of another message is in it."""
        names = {found.group() for found in self._special.finditer(closing)}
        plain = not self._has_more(index)
        return not names & self._ends.openers and not (plain and names)

    def _without_end(self, index: int, last: int, rest: str) -> tuple[int, bool]:
        """What closes a message that has no end token: as much as it has in common with the last one of a conversation."""
        alone = self._alone(index, last) or ""
        common = _common(alone, rest)
        closing = rest[:common].rstrip()
        return last + 1 + len(closing), False

    def _alone(self, index: int, last: int) -> str | None:
        """What follows the last letter of a message when no message follows; None if it cannot be told."""
        swap, variant = self._traced.swap, self._traced.variant
        text = self._rendered(swap.messages[: index + 1], prompt=False)
        if text is None:
            return None
        end = last_letter(text, swap)
        place = self._traced.places.get(index)
        if place is None or end < 0 or text[end] != variant[last]:
            return None
        return text[end + 1 :].translate(swap.back)

    def _keeps_space(self, index: int, lead: str) -> bool:
        """Whether the template copies white space at the start of a message: other space comes out as other space."""
        swap = self._traced.swap
        message = dict(swap.messages[index])
        message["content"] = "\u2003" + str(message["content"])
        text = self._rendered(
            [*swap.messages[:index], message, *swap.messages[index + 1 :]], prompt=False
        )
        return text is not None and "\u2003" + lead in text

    def _rendered(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool) -> str | None:
        try:
            return self._template.render(messages, self._tools, prompt=prompt)
        except Unrenderable:
            return None


def _possible_starts(prompt: str | None, head: str, ends: Ends) -> list[tuple[int, str]]:
    """Lengths of `head` that a generation prompt may account for, the surest first, with what it has more."""
    found: list[tuple[int, str]] = []
    usual = ends.prompt
    if prompt is not None:
        found += _despite_space(prompt, head)
        common = _outside_tags(head, _common(prompt, head))
        if head[:common].strip() or common == len(head):
            found.append((common, prompt[common:]))
        found += [
            (n, "")
            for n in range(len(head), 0, -1)
            if head[:n].strip() and prompt.endswith(head[:n])
        ]
    if usual:
        place = head.rfind(usual)
        if place >= 0:
            found.append((place + len(usual), ""))
        bare = re.split(r"<\w*think|\[THINK", usual)[0].rstrip()
        place = head.rfind(bare) if bare else -1
        if place >= 0:
            length = _common(usual[len(bare) :], head[place + len(bare) :])
            found.append((place + len(bare) + length, usual[len(bare) + length :]))
    return found + _behind_header(prompt or usual or "", head, ends)


def _behind_header(prompt: str, head: str, ends: Ends) -> list[tuple[int, str]]:
    """The length of `head` up to where a plain answer would begin, if the generation prompt has that header too."""
    header = ends.header
    place = head.rfind(header) if header else -1
    sent = prompt.rfind(header) if header else -1
    if place < 0 or sent < 0:
        return []
    more, rest = prompt[sent + len(header) :], head[place + len(header) :]
    return [(place + len(header) + _outside_tags(rest, _common(more, rest)), "")]


def _despite_space(prompt: str, head: str) -> list[tuple[int, str]]:
    """The length of `head` that is the prompt but for white space, if there is one."""
    wanted = "".join(prompt.split())
    position = 0
    for place, letter in enumerate(head):
        if letter.isspace():
            continue
        if position < len(wanted) and letter == wanted[position]:
            position += 1
            if position == len(wanted):
                return [(place + 1, "")]
        else:
            return []
    return []


def _outside_tags(head: str, length: int) -> int:
    """The length, cut back to before a tag that it would cut in two."""
    opened = head.rfind("<", 0, length)
    return opened if opened >= 0 and ">" not in head[opened:length] else length


def _common(one: str, other: str) -> int:
    """Length of the common beginning."""
    length = min(len(one), len(other))
    return next((n for n in range(length) if one[n] != other[n]), length)
