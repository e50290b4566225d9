"""Guesses how many tokens a text is, on the high side, where no tokenizer is at hand."""

from collections.abc import Iterable, Mapping

from selfinstruct.types import Request

_MESSAGE_TOKENS = 8
"""What a chat template adds to a message: roles and separators. OpenAI counts 4; templates with headers more."""


def estimate_tokens(text: str) -> int:
    """Tokens of a text, rather too many than too few.

    English has about four letters a token in today's vocabularies; other scripts in the older ones up to one token
    for two bytes of UTF-8 (cl100k on Thai and Arabic).
    """
    if text.isascii():
        return len(text) // 3 + 1
    data = text.encode("utf-8", "replace")
    ascii_bytes = len(data.translate(None, _NOT_ASCII))
    return ascii_bytes // 3 + (len(data) - ascii_bytes) // 2 + 1


_NOT_ASCII = bytes(range(128, 256))


def estimate_messages(messages: Iterable[Mapping[str, str]]) -> int:
    """Tokens of a conversation, rather too many than too few."""
    return sum(estimate_tokens(message["content"]) + _MESSAGE_TOKENS for message in messages)


def most_tokens(request: Request) -> int:
    """What a request may come to, its answer included."""
    return estimate_messages(request.messages) + request.max_tokens
