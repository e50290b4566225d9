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

_HEADER = re.compile(r"(assistant|Assistant|model|\bai|CHATBOT_TOKEN|Bot)[|｜>\]:]*\n?(<think>)?")
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
        OracleUnsureError: A message is written twice, or its characters have lost their owners.
    """
    whole = template.render(messages, tools)
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
    return Verdict(text, "".join(kinds), ended)


def _odd_closing(template: TrackedTemplate) -> str:
    """The token that a template writes last of all, behind an answer: some say the next speaker's name."""
    plain = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    try:
        rendered = template.render(plain)
        asked = template.render(plain, prompt=True)
    except Exception:  # noqa: BLE001 - whatever a template raises
        return ""
    found = re.fullmatch(r"(?s).*A(<[^<>\s]+>)\s*", str.__str__(rendered))
    return found.group(1) if found and str.__str__(asked) != str.__str__(rendered) else ""


def _stretch(
    whole: Tracked, index: int, messages: Sequence[Mapping[str, Any]]
) -> tuple[int, int, int]:
    """First and last character of a message, and the first one of what is written behind it.

    Raises:
        OracleUnsureError: The message is empty, written twice, or holds another.
    """
    own = [
        place for place, owner in enumerate(whole.owners) if owner is not None and owner[0] == index
    ]
    if not own:
        if str(messages[index].get("content") or "").strip() or messages[index].get("tool_calls"):
            raise OracleUnsureError(f"message {index} has no characters of its own")
        raise OracleUnsureError(f"message {index} is empty")
    begin, last = own[0], own[-1]
    for key in ("content", "reasoning_content"):
        part = [whole[place] for place in own if whole.owners[place] == (index, key)]
        written = "".join(map(str.__str__, part))
        source = str(messages[index].get(key) or "")
        if len(written) > len(source):
            raise OracleUnsureError(f"message {index} is written twice")
    foreign = [
        place for place, owner in enumerate(whole.owners) if owner is not None and owner[0] != index
    ]
    if any(begin < place < last for place in foreign):
        raise OracleUnsureError(f"message {index} holds another")
    return begin, last, min((place for place in foreign if place > last), default=len(whole))


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
    if messages[index].get("tool_calls"):
        headers = list(_HEADER.finditer(text, before + 1, begin))
        lead = min(lead, headers[-1].end()) if headers else lead
    while begin < len(text) and text[begin].isspace():
        begin += 1
    # what the prompt supplies may be written in the content
    supplied = re.match(r"(\s|<think>)*", text[begin:])
    end = begin + (supplied.end() if supplied else 0)
    return begin, (lead, max(begin, end))
