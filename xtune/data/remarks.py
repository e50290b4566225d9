"""What is worth telling about a conversation and its template, besides what is trained on; it changes nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from xtune.data.ends import Ends
from xtune.data.template import ChatTemplate, Unrenderable
from xtune.data.trie import any_of
from xtune.data.types import Conversation

_REPLIES = ("\ue000q\ue001", "\ue000a\ue001", "\ue000n\ue001")
_REASONING = re.compile(r"think|thought|reason", re.IGNORECASE)
_SHOWN = 80
"""Characters of a template's own system prompt that a note quotes."""


@dataclass(frozen=True)
class Additions:
    """What a template writes of its own accord."""

    system_prompt: str = ""
    """Text before the first message of a conversation without a system message; empty without any."""

    dated: bool = False
    """It writes today's date, so that tomorrow's rendering is another."""

    def notes(self, conversation: Conversation) -> Iterator[str]:
        """What of it one conversation meets."""
        if self.system_prompt and all(
            message.role != "system" for message in conversation.messages
        ):
            text = " ".join(self.system_prompt.split())
            short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
            yield f"the template adds a system prompt: '{short}'"
        if self.dated:
            yield "the template writes today's date"


def find_additions(template: ChatTemplate, special: "re.Pattern[str]") -> Additions:
    """Try the template on a conversation without system message.

    What stands before the first question but not before a later one, special tokens aside, is the template's own.
    """
    question, answer, later = _REPLIES
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": later},
    ]
    try:
        text = template.render(messages)
    except Unrenderable:
        return Additions()
    head = text.partition(question)[0]
    usual = text.partition(answer)[2].partition(later)[0]
    shared = 0
    while shared < min(len(head), len(usual)) and head[-1 - shared] == usual[-1 - shared]:
        shared += 1
    own = special.sub("\n", head[: len(head) - shared])
    own = re.sub(r"^\W*(?:system|developer)\b", "", own).strip(" \n\t:<>|[]")
    own = own if len(own.split()) > 2 else ""
    now = datetime.now().astimezone()
    dates = (
        now.strftime("%Y-%m-%d"),
        now.strftime("%d %b %Y"),
        now.strftime("%B %d, %Y"),
        str(now.year),
    )
    dated = "strftime_now" in template.text() and any(date in text for date in dates)
    return Additions(own, dated)


class SpecialTexts:
    """Finds messages whose text holds the names of special tokens, which tokenizers then take for them."""

    def __init__(self, tokenizer: Any) -> None:
        special = {
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        }
        special |= set(tokenizer.all_special_tokens)
        self._pattern = any_of(name for name in special if name.strip())

    def notes(self, conversation: Conversation, ends: Ends, eos: str | None) -> Iterator[str]:
        """One note for each kind of text found."""
        stops = ends.tokens | {eos}
        for message in conversation.messages:
            for name in set(self._pattern.findall(message.content)):
                if message.role != "assistant":
                    yield (
                        f"a message ({message.role}) holds the text of a special token, '{name}', "
                        "which is taken for that token, as at inference"
                    )
                elif name in stops:
                    yield (
                        f"an answer holds the text of the end token, '{name}': the model learns to stop there"
                    )
                elif not _REASONING.search(name):
                    yield (
                        f"an answer holds the text of a special token, '{name}', which is taken for that token"
                    )
