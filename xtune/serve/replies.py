"""Answers as the OpenAI API writes them, whole or in pieces; what they say comes from the engine."""

import json
import secrets
import string
from abc import ABC, abstractmethod
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator
from typing import Any

from xtune.generate.pieces import bytes_of
from xtune.serve.asked import Asked
from xtune.serve.calls import Call, CallWatch
from xtune.serve.engine import NO_ROOM, News
from xtune.serve.wire import ApiError, now, usage

CALL_ID_LETTERS = 9
"""Letters and digits of a call's id: Mistral's templates take no other number."""


class Reply(ABC):
    """One request's answers, as they come."""

    object: str
    prefix: str

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.head: dict[str, Any] = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": now(),
            "model": asked.request.served.name,
        }
        self.open = len(asked.request.rows)
        """Choices that are not over."""

    async def news(self) -> AsyncIterator[News]:
        """What the engine has to tell, until all is told or the client is gone.

        Raises:
            ApiError: The engine failed.
        """
        while self.open:
            one = await self.asked.request.news.get()
            if one is None:
                return
            if one.failed is not None:
                # clients ask again after 5xx, and what does not fit now does not fit then
                status = 413 if one.failed == NO_ROOM else 500
                raise ApiError(status, one.failed, kind="server_error")
            self.open -= one.finish is not None
            yield one

    async def whole(self) -> dict[str, Any] | None:
        """The answer in one; None when the client is gone.

        Raises:
            ApiError: The engine failed.
        """
        count = len(self.asked.request.rows)
        texts, finishes = [""] * count, [""] * count
        tokens: list[list[Any]] = [[] for _ in range(count)]
        async for one in self.news():
            texts[one.choice] += one.text
            tokens[one.choice] += one.tokens
            finishes[one.choice] = one.finish or ""
        if self.open:
            return None
        choices = [
            self.choice(place, texts[place], tokens[place], finishes[place])
            for place in range(count)
        ]
        return {**self.head, "object": self.object, "choices": choices, "usage": self.usage()}

    async def pieces(self, *, with_usage: bool) -> AsyncIterator[dict[str, Any]]:
        """The answer in pieces.

        Args:
            with_usage: The last piece is the usage.

        Raises:
            ApiError: The engine failed.
        """
        for first in self.beginning():
            yield self._piece([first], with_usage=with_usage)
        async for one in self.news():
            for choice in self.more(one):
                yield self._piece([choice], with_usage=with_usage)
        if with_usage and not self.open:
            yield {**self._piece([], with_usage=False), "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """Tokens of the prompts and of the answers."""
        return usage(self.asked.prompt_tokens, self.asked.request.completion_tokens)

    def _piece(self, choices: list[dict[str, Any]], *, with_usage: bool) -> dict[str, Any]:
        more = {"usage": None} if with_usage else {}
        return {**self.head, "object": self.piece_object, "choices": choices, **more}

    @property
    @abstractmethod
    def piece_object(self) -> str:
        """What a piece is called."""

    def beginning(self) -> list[dict[str, Any]]:
        """Choices that are told of before there is text."""
        return []

    @abstractmethod
    def choice(self, place: int, text: str, tokens: list[Any], finish: str) -> dict[str, Any]:
        """A whole choice."""

    @abstractmethod
    def more(self, one: News) -> list[dict[str, Any]]:
        """The pieces of a choice that news make."""

    def token_bytes(self, token: int, *, first: bool = False) -> bytes:
        """The bytes of a token; `first` where a text begins with it."""
        return bytes_of(self.asked.request.served.tokenizer, token, first=first)


class ChatReply(Reply):
    """Of /v1/chat/completions."""

    object = "chat.completion"
    prefix = "chatcmpl"

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        format = asked.request.served.calls
        self._format = format if asked.tools else None
        self._logprobs = asked.request.rows[0].top_logprobs is not None
        self._begun: set[int] = set()
        """Choices of which log probabilities were told."""

        self._watches = [
            CallWatch(self._format) if self._format is not None else None
            for _ in asked.request.rows
        ]

    @property
    def piece_object(self) -> str:
        """What a piece is called."""
        return "chat.completion.chunk"

    def choice(self, place: int, text: str, tokens: list[Any], finish: str) -> dict[str, Any]:
        """A whole choice."""
        content: str | None = text
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if self._format is not None:
            content, calls = self._format.parse(text, self.asked.tools)
            if calls:
                message |= {"content": content or None, "tool_calls": [_call(one) for one in calls]}
                finish = "tool_calls"
        return {
            "index": place,
            "message": message,
            "logprobs": self._logprobs_of(place, tokens),
            "finish_reason": finish,
        }

    def beginning(self) -> list[dict[str, Any]]:
        """The role of every choice."""
        return [
            self._delta(place, {"role": "assistant", "content": ""})
            for place in range(len(self.asked.request.rows))
        ]

    def more(self, one: News) -> list[dict[str, Any]]:
        """Text, then the calls that an answer ends with, then why it ended."""
        watch = self._watches[one.choice]
        text = one.text if watch is None else watch.feed(one.text)
        pieces: list[dict[str, Any]] = []
        finish, calls = one.finish, list[Call]()
        if watch is not None and self._format is not None and finish is not None:
            content, calls = self._format.parse(watch.held, self.asked.tools)
            text += "" if calls else watch.held
            text += content if calls else ""
            finish = "tool_calls" if calls else finish
        if text or one.tokens:
            pieces.append(self._delta(one.choice, {"content": text}, one.tokens))
        if calls:
            numbered = [{"index": place, **_call(call)} for place, call in enumerate(calls)]
            pieces.append(self._delta(one.choice, {"tool_calls": numbered}))
        if finish is not None:
            pieces.append(self._delta(one.choice, {}, finish=finish))
        return pieces

    def _delta(
        self,
        place: int,
        delta: dict[str, Any],
        tokens: list[Any] | None = None,
        finish: str | None = None,
    ) -> dict[str, Any]:
        return {
            "index": place,
            "delta": delta,
            "logprobs": self._logprobs_of(place, tokens) if tokens else None,
            "finish_reason": finish,
        }

    def _logprobs_of(self, place: int, tokens: list[Any]) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        content = []
        for token, logprob, likeliest in tokens:
            first = place not in self._begun
            self._begun.add(place)
            others = [self._entry(*other, first=first) for other in likeliest]
            content.append({**self._entry(token, logprob, first=first), "top_logprobs": others})
        return {"content": content, "refusal": None}

    def _entry(self, token: int, logprob: float, *, first: bool) -> dict[str, Any]:
        data = self.token_bytes(token, first=first)
        return {"token": _named(data), "logprob": logprob, "bytes": list(data)}


class CompletionReply(Reply):
    """Of /v1/completions."""

    object = "text_completion"
    prefix = "cmpl"

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        rows = len(asked.request.rows)
        self._offsets = [0] * rows  # in characters
        self._decoders = [getincrementaldecoder("utf-8")("replace") for _ in range(rows)]
        self._echoes = dict(enumerate(asked.echo))
        """Prompts that are still to be told, by choice."""

        self._begun = [False] * rows
        """Whether anything but special tokens of the prompt was told."""

    @property
    def piece_object(self) -> str:
        """What a piece is called."""
        return self.object

    def choice(self, place: int, text: str, tokens: list[Any], finish: str) -> dict[str, Any]:
        """A whole choice."""
        return self._told(place, text, tokens, finish)

    def more(self, one: News) -> list[dict[str, Any]]:
        """Text, with why it ended at its end."""
        if not (one.text or one.tokens or one.finish):
            return []
        return [self._told(one.choice, one.text, one.tokens, one.finish)]

    def _told(self, place: int, text: str, tokens: list[Any], finish: str | None) -> dict[str, Any]:
        """A choice, or a piece of it; the first begins with the prompt where that is wanted."""
        prompt = self._echoes.pop(place, None)
        row = self.asked.request.rows[place]
        logprobs: dict[str, list[Any]] = {
            "tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": [],
        }  # fmt: skip
        if prompt is not None and row.prompt_logprobs is not None:
            self._add(logprobs, place, (row.prompt[0], None, None), within=prompt)
            for token, logprob in zip(row.prompt[1:], row.prompt_logprobs, strict=True):
                self._add(logprobs, place, (token, *logprob), within=prompt)
        for token in tokens:
            self._add(logprobs, place, token)
        if self.asked.echo and finish is not None and row.ending is not None:
            # scoring clients ask for one token more than they judge, and count on it
            self._add(logprobs, place, (row.ending[0], *row.ending[1]))
        return {
            "index": place,
            "text": (prompt or "") + text,
            "logprobs": None if row.top_logprobs is None else logprobs,
            "finish_reason": finish,
        }

    def _add(
        self, logprobs: dict[str, list[Any]], place: int, told: Any, *, within: str | None = None
    ) -> None:
        """Tell of a token.

        Args:
            logprobs: What is told.
            place: Its choice.
            told: The token, its log probability and the likeliest ones with theirs, or None for both.
            within: The prompt that it is of, which may lack special tokens.
        """
        token, logprob, likeliest = told
        special = token in self.asked.request.served.tokenizer.all_special_ids
        first = within is not None and not self._begun[place]
        self._begun[place] |= not special
        data, decoder = self.token_bytes(token, first=first), self._decoders[place]
        if data and not 0x80 <= data[0] < 0xC0:  # a character that was not finished stays so
            self._offsets[place] += len(decoder.decode(b"", final=True))
        offset = self._offsets[place]
        logprobs["tokens"].append(_named(data, "bytes:"))
        logprobs["token_logprobs"].append(logprob)
        logprobs["text_offset"].append(offset)
        logprobs["top_logprobs"].append(
            None
            if likeliest is None
            else {
                _named(self.token_bytes(other, first=first), "bytes:"): value
                for other, value in likeliest
            }
        )
        if within is None or not special or within.startswith(data.decode(), offset):
            self._offsets[place] += len(decoder.decode(data))


def _named(data: bytes, mark: str = "") -> str:
    r"""A token's text; of a part of a character the bytes, as OpenAI writes them: `\xf0\x9f`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return mark + "".join(
            chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data
        )


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def _call(call: Call) -> dict[str, Any]:
    letters = string.ascii_letters + string.digits
    name = "".join(secrets.choice(letters) for _ in range(CALL_ID_LETTERS))
    return {"id": name, "type": "function", "function": call}
