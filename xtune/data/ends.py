"""Learns how a chat template ends an assistant's turn, by trying it on plain conversations; it reads no data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xtune.data.template import ChatTemplate, Unrenderable

_REPLIES = ("\ue000q\ue001", "\ue000a\ue001", "\ue000n\ue001", "\ue000z\ue001")
_SUCCESSIONS = (
    ("user", "assistant"),
    ("user", "assistant", "user"),
    ("user", "assistant", "user", "assistant"),
    ("user", "assistant", "assistant"),
    ("user", "assistant", "system"),
    ("user", "assistant", "tool"),
)
"""Conversations whose second message ends before nothing, or before another role."""

_LONGEST = _SUCCESSIONS[2]


@dataclass(frozen=True)
class Ends:
    """How a template ends an assistant's turn."""

    tokens: frozenset[str] = frozenset()
    """Special tokens that end a plain answer."""

    closings: tuple[str, ...] = ()
    """What stands behind a plain answer up to and including such a token, the longest first."""

    openers: frozenset[str] = frozenset()
    """Special tokens that open a message, as the generation prompt does, and end none."""

    unconditional: bool = False
    """The generation prompt is always written, asked for or not; or there is none."""

    prompt: str | None = None
    """What the generation prompt adds to a conversation that ends with the user; None: cannot be told."""

    next_tokens: Mapping[str, str] = field(default_factory=dict)
    """Role of the next message to the special token that stands directly behind an answer then; without those where none does."""

    header: str = ""
    """What stands directly before a plain answer, from the first special token of the generation prompt on."""


def learn_ends(
    template: ChatTemplate, special: "re.Pattern[str]", tools: Sequence[Mapping[str, Any]] = ()
) -> Ends:
    """Try the template on plain conversations.

    What closes an answer is what stands behind it whatever follows: nothing, or a message of another role.
    Where the last answer of a conversation is closed otherwise than the ones before, both closings count.
    """
    behind = _behind(template, tools)
    ended = _plain(template, ("user", "assistant"), tools)
    unconditional = ended is not None and ended == _plain(
        template, ("user", "assistant"), tools, prompt=True
    )
    prompt = _generation_prompt(template, tools)
    openers = frozenset(special.findall(prompt or "")[:1])
    openers |= _first_opener(_plain(template, _LONGEST, tools) or "", special)
    next_tokens = _directly_behind(behind, special)
    always = set(next_tokens.values())
    if len(next_tokens) > 1 and len(always) == 1 and next_tokens.keys() >= behind.keys() - {""}:
        openers -= always
    openers -= {template.tokenizer.eos_token}
    head = (ended or "").partition(_REPLIES[1])[0].rpartition(_REPLIES[0])[2]
    heads = [place for opener in openers if (place := head.rfind(opener)) >= 0]
    closings = _closings(behind, special, openers, unconditional=unconditional)
    eos = str(template.tokenizer.eos_token or "")
    if not closings and eos:
        closings = [
            rest[: found.end()]
            for rest in behind.values()
            if (found := re.match(rf"\s*{re.escape(eos)}", rest))
        ]
    tokens = {special.findall(closing)[-1] for closing in closings}
    ordered = tuple(sorted(dict.fromkeys(closings), key=len, reverse=True))
    header = head[max(heads) :] if heads else ""
    return Ends(
        tokens=frozenset(tokens),
        closings=ordered,
        openers=openers,
        unconditional=unconditional,
        prompt=prompt,
        next_tokens=next_tokens,
        header=header,
    )


def _behind(template: ChatTemplate, tools: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What stands behind an answer, by who speaks next; "" for nobody."""
    behind: dict[str, str] = {}
    for roles in _SUCCESSIONS:
        text = _plain(template, roles, tools)
        if text is None or text.count(_REPLIES[1]) != 1:
            continue
        rest = text.partition(_REPLIES[1])[2]
        following = roles[2] if len(roles) > 2 else ""
        behind.setdefault(following, rest.partition(_REPLIES[2])[0] if following else rest)
    return behind


def _generation_prompt(template: ChatTemplate, tools: Sequence[Mapping[str, Any]]) -> str | None:
    """What is added to a conversation that ends with the user; None: cannot be told."""
    asked, silent = (_plain(template, ("user",), tools, prompt=asks) for asks in (True, False))
    if asked is None or silent is None or not asked.startswith(silent):
        return None
    return asked[len(silent) :]


def _directly_behind(behind: Mapping[str, str], special: "re.Pattern[str]") -> dict[str, str]:
    """The special token directly behind an answer, by who speaks next."""
    pieces = {role: tokens_of_text(rest, special)[:2] for role, rest in behind.items() if role}
    return {
        role: found[1] for role, found in pieces.items() if len(found) > 1 and not found[0].strip()
    }


def _first_opener(text: str, special: "re.Pattern[str]") -> frozenset[str]:
    """The first special token of a conversation that comes again, before any text: nothing is there to be closed yet."""
    for piece in tokens_of_text(text.partition(_REPLIES[0])[0], special):
        if special.fullmatch(piece):
            if text.count(piece) > 1:
                return frozenset([piece])
        elif piece.strip():
            break
    return frozenset()


def _closings(
    behind: Mapping[str, str],
    special: "re.Pattern[str]",
    openers: frozenset[str],
    *,
    unconditional: bool,
) -> list[str]:
    every = [tokens_of_text(rest, special) for rest in behind.values()]
    middle = [tokens_of_text(rest, special) for following, rest in behind.items() if following]
    shared = up_to_special(_shared(every), special, openers) if len(every) > 1 else ""
    if shared:
        return [shared]
    found = []
    if len(middle) > 1:
        found.append(up_to_special(_shared(middle), special, openers))
    if "" in behind and not unconditional:
        last = tokens_of_text(behind[""], special)
        found.append(up_to_special(last, special, openers))
        if len(last) == 3 and not found[-1]:  # a single token, and be it the next speaker's name
            found.append("".join(last[:2]))
    return [closing for closing in found if closing]


def tokens_of_text(text: str, special: "re.Pattern[str]") -> list[str]:
    """A text cut into special tokens and what is between them."""
    pieces, position = [], 0
    for found in special.finditer(text):
        pieces += [text[position : found.start()], found.group()]
        position = found.end()
    return [*pieces, text[position:]]


def _shared(lists: Sequence[Sequence[str]]) -> list[str]:
    """The pieces that all lists begin with."""
    shared = []
    for pieces in zip(*lists, strict=False):
        if len(set(pieces)) > 1:
            break
        shared.append(pieces[0])
    return shared


def up_to_special(
    pieces: Sequence[str], special: "re.Pattern[str]", openers: frozenset[str]
) -> str:
    """The text up to and including the last special token before one that opens a message; empty without one."""
    kept = []
    for piece in pieces:
        if piece in openers:
            break
        kept.append(piece)
    while kept and not special.fullmatch(kept[-1]):
        kept.pop()
    return "".join(kept)


def _plain(
    template: ChatTemplate,
    roles: Sequence[str],
    tools: Sequence[Mapping[str, Any]],
    *,
    prompt: bool = False,
) -> str | None:
    messages = [
        {"role": role, "content": reply} for role, reply in zip(roles, _REPLIES, strict=False)
    ]
    try:
        return template.render(messages, tools, prompt=prompt)
    except Unrenderable:
        return None
