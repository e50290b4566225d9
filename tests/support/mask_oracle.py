"""Decides what a mask must be for any chat template, from tracked characters and known end tokens; no code of the package.

Where each character came from is known (see `tracked`); what ends a turn is a list of names written by hand.
For each assistant's message the characters of a rendering are of three kinds: trained on, not trained on, and
free. Free is only white space or a reasoning tag between a header and an answer, where the generation prompt
is no prefix of the rendering and so the boundary is a matter of taste.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracked import Tracked, TrackedTemplate

END_TOKENS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|eom|>", "<|end|>", "<|return|>", "<|call|>",
    "<end_of_turn>", "<turn|>", "</s>", "<|endoftext|>", "<|end_of_text|>", "<|end_of_turn|>",
    "<｜end▁of▁sentence｜>", "<end_of_sentence>", "<|END_OF_TURN_TOKEN|>", "<|role_end|>", "[EOS]",
    "<end_of_utterance>", "[e~[", "<eos>", "<|EOT|>", "<|im_msg_end|>", "<|message_sep|>", "<seed:eos>",
    "<|assistant_end|>", "<|eos|>", "<sep>", "<|flush|>", "<_end>", "<|end_of_sentence|>", "</assistant>",
    "<|im_kimia_text_eos|>", "<|separator|>", "<|calls|>", "<|tool_response>", "<｜hy_eos:opensource｜>",
    "<｜hy_place▁holder▁no▁2｜>", "<|end_of_msg|>",
    "[|endofturn|]", "<SPECIAL_12>",
)  # fmt: skip
"""What ends a turn in the known families, by name."""

_ENDS = re.compile("|".join(map(re.escape, sorted(END_TOKENS, key=len, reverse=True))))
_FREE = re.compile(
    r"(\s|</?(mm:)?think(ing)?>|<\|content\|>|\[/?THINK\]|</?judge>|<\|(START|END)_(THINKING|TEXT|RESPONSE|ACTION)\|>)*"
)

_HEADER = re.compile(r"(assistant|Assistant|model|\bai|CHATBOT_TOKEN|Bot)[|｜>\]:]*")
"""What shows that the assistant speaks, by name."""

YES, NO, FREE = "y", "n", "?"


class OracleUnsureError(Exception):
    """The oracle cannot tell."""


@dataclass(frozen=True)
class Verdict:
    """What a mask must be."""

    text: str
    kinds: str
    """For each character: y, n or ?."""

    ended: bool
    """Whether every turn that is over has an end token."""

    lost: str = ""
    """What the template does not write of a message, so that it cannot be trained on; or writes twice."""


def judge(
    template: TrackedTemplate,
    messages: Sequence[Mapping[str, Any]],
    tools: Any,
    wanted: Sequence[int],
    *,
    marked: bool = False,
) -> Verdict:
    """What must be trained on in the rendering of a conversation.

    Raises:
        OracleUnsureError: A message holds another, or its characters have lost their owners.
    """
    true = str.__str__(template.render(messages, tools))
    empty = [index for index in wanted if _is_empty(messages[index])]
    filled = [_filled(message) if n in empty else message for n, message in enumerate(messages)]
    whole = template.render(filled, tools)
    try:
        kinds, ended = _kinds(template, filled, tools, wanted, whole, marked=marked)
    except _LostError as lost:
        return Verdict(true, NO * len(true), ended=True, lost=str(lost))
    text = str.__str__(whole)
    if empty:
        kept = [n for n, letter in enumerate(text) if letter != _FILLING]
        text, kinds = "".join(text[n] for n in kept), [kinds[n] for n in kept]
        if text != true:
            raise OracleUnsureError("an empty message is not written as one with a text")
    return Verdict(true, "".join(kinds), ended)


_FILLING = "\ue0f0"


class _LostError(Exception):
    """A message is not written, or twice."""


def _text(message: Mapping[str, Any], key: str) -> str:
    value = message.get(key) or ""
    return "".join(part["text"] for part in value) if isinstance(value, list) else str(value)


def _is_empty(message: Mapping[str, Any]) -> bool:
    """Whether a message has nothing by which its place could be known."""
    texts = (_text(message, key).strip() for key in ("content", "reasoning_content"))
    return not any(texts) and not message.get("tool_calls")


def _filled(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with a letter in place of nothing."""
    content = _FILLING + _text(message, "content")
    parts = isinstance(message.get("content"), list)
    return {**message, "content": [{"type": "text", "text": content}] if parts else content}


def _kinds(
    template: TrackedTemplate,
    messages: Sequence[Mapping[str, Any]],
    tools: Any,
    wanted: Sequence[int],
    whole: Tracked,
    *,
    marked: bool,
) -> tuple[list[str], bool]:
    text = str.__str__(whole)
    kinds = [NO] * len(text)
    closing = _odd_closing(template)
    ended = True
    for index in wanted:
        begin, last, behind = _stretch(whole, index, messages)
        start, free = _start(template, messages, tools, index, whole, begin)
        rest = text[last + 1 : behind]
        found = _ENDS.search(rest)
        if found is None and closing:
            names = {closing, "<|observation|>"} if closing == "<|user|>" else {closing}
            found = re.match(rf"(\s|</\w+>)*({'|'.join(map(re.escape, names))})", rest)
        over = index + 1 == len(messages) or messages[index + 1]["role"] not in {
            "tool",
            "assistant",
        }
        if found is None:
            ended = ended and not over
            stop = last + 1
            for position in range(last + 1, behind):
                kinds[position] = FREE
        else:
            stop = last + 1 + found.end()
            again = re.match(rf"\s*({_ENDS.pattern})", rest[found.end() :])
            for position in range(stop, stop + (again.end() if again else 0)):
                kinds[position] = FREE
        for position in range(start, stop):
            kinds[position] = YES
        for position in range(*free):
            kinds[position] = FREE
        if marked:  # the template itself says where the assistant begins
            for position in range(start, begin):
                kinds[position] = FREE
    return kinds, ended


def _odd_closing(template: TrackedTemplate) -> str:
    """The token that a template writes last of all, behind an answer: some say the next speaker's name."""
    plain = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    try:
        rendered = template.render(plain)
        asked = template.render(plain, prompt=True)
    except Exception:  # noqa: BLE001 - whatever a template raises
        return ""
    found = re.fullmatch(r"(?s).*A\s*(<[^<>\s]+>)\s*", str.__str__(rendered))
    return found.group(1) if found and str.__str__(asked) != str.__str__(rendered) else ""


def _stretch(
    whole: Tracked, index: int, messages: Sequence[Mapping[str, Any]]
) -> tuple[int, int, int]:
    """First and last character of a message, and the first one of what is written behind it.

    Raises:
        _LostError: The message is not written, twice, or around another.
    """
    own = [
        place for place, owner in enumerate(whole.owners) if owner is not None and owner[0] == index
    ]
    message = messages[index]
    keys = {owner[1] for owner in whole.owners if owner is not None and owner[0] == index}
    if message.get("tool_calls") and "tool_calls" not in keys:
        raise _LostError(f"the tool calls of message {index} are not written")
    if not own:
        raise _LostError(f"message {index} is not written")
    begin, last = own[0], own[-1]
    for key in ("content", "reasoning_content"):
        part = [whole[place] for place in own if whole.owners[place] == (index, key)]
        if len(part) > len(_text(message, key)):
            raise _LostError(f"message {index} is written twice")
    foreign = [
        place for place, owner in enumerate(whole.owners) if owner is not None and owner[0] != index
    ]
    if any(begin < place < last for place in foreign):
        raise _LostError(f"message {index} is written around another")
    return begin, last, min((place for place in foreign if place > last), default=len(whole))


def _behind_header(text: str, first: int, begin: int) -> tuple[int, int] | None:
    """What is a matter of taste before a call: white space or a reasoning tag behind the header; the rest opens the call."""
    headers = list(_HEADER.finditer(text, first, begin))
    if not headers:
        return None
    end = headers[-1].end()
    free = _FREE.match(text, end, begin)
    return end, free.end() if free else end


def _start(
    template: TrackedTemplate,
    messages: Sequence[Mapping[str, Any]],
    tools: Any,
    index: int,
    whole: Tracked,
    begin: int,
) -> tuple[int, tuple[int, int]]:
    """Where training starts, and the characters before or behind that are a matter of taste."""
    text = str.__str__(whole)
    before = max((n for n in range(begin) if whole.owners[n] is not None), default=-1)
    try:
        prompt = template.render(messages[:index], tools, prompt=True) if index else None
    except Exception:  # noqa: BLE001 - whatever a template raises
        prompt = None
    if prompt is not None:
        plain = str.__str__(prompt)
        if text.startswith(plain):
            return len(plain), (0, 0)
        last = max((n for n in range(len(prompt)) if prompt.owners[n] is not None), default=-1)
        same = (prompt.owners[last] if last >= 0 else None) == (
            whole.owners[before] if before >= 0 else None
        )
        if same and text[before + 1 :].startswith(plain[last + 1 :]):
            return before + 1 + len(plain[last + 1 :]), (0, 0)
    lead = begin
    while lead > before + 1 and _FREE.fullmatch(text[lead - 1 : begin]) is not None:
        lead -= 1
    for earlier in range(lead - 1, before, -1):
        if _FREE.fullmatch(text[earlier:begin]) is not None:
            lead = earlier
    called = _behind_header(text, before + 1, begin) if messages[index].get("tool_calls") else None
    if called is not None and called[0] < lead:
        return called[1], called
    while begin < len(text) and text[begin].isspace():
        begin += 1
    # what the prompt supplies may be written in the content
    supplied = re.match(r"(\s|<think>)*", text[begin:])
    end = begin + (supplied.end() if supplied else 0)
    return begin, (lead, max(begin, end))
