"""Reads a server's answer: a reply, a reason to ask again, or a reason to stop. It sends nothing and waits for nothing."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson

from selfinstruct.llm.wire import Answer
from selfinstruct.types import FinishReason, Reply, Usage

FaultKind = Literal["again", "account", "request", "parameter"]

WEB_PAGE = "the answer is a web page"
_LONGEST_QUOTE = 200
_OUT_OF_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
_PARAMETERS = ("response_format", "max_tokens", "temperature", "top_p", "seed", "stop")
"""Parameters that some models refuse and an answer can do without (`max_tokens` under its newer name)."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why an answer is no reply."""

    kind: FaultKind
    """`again`: ask again; `account`: stop the run; `request`: this request alone; `parameter`: ask without it."""

    what: str
    """What happened, as a clause for people."""

    is_pushback: bool = False
    """Whether asking for less at a time may help."""

    retry_after_s: float | None = None
    """What the server named as the time to wait."""

    status: int = 0
    parameter: str = ""
    usage: Usage = field(default_factory=Usage)
    """What the server bills for an answer that says nothing."""

    @property
    def billed(self) -> Reply | None:
        """The answer as one that is no reply and costs as much; None where the server counted nothing."""
        if self.usage == Usage():
            return None
        return Reply(text="", usage=self.usage, is_usable=False)


def read_answer(answer: Answer) -> Reply | Fault:
    """What an answer means."""
    if answer.status == 200:
        return _read_reply(answer.body)
    error = _error_object(answer.body)
    message = _quote(error, answer.body)
    code = str(error.get("code") or error.get("type") or "")
    said = f"HTTP {answer.status}" + (f": {message}" if message else "")
    if answer.status in {401, 402, 403, 404} or code in _OUT_OF_MONEY:
        # some gateways and servers answer 402 or 429 for the same thing: no money
        status = 402 if code in _OUT_OF_MONEY else answer.status
        return Fault(kind="account", what=said, status=status)
    if answer.status in {408, 409, 425, 429} or answer.status >= 500:
        wait = retry_after_s(answer.headers)
        return Fault(
            kind="again", what=said, is_pushback=True, retry_after_s=wait, status=answer.status
        )
    if answer.status in {400, 413, 422}:
        parameter = "" if code in _TOO_LONG else _parameter(error, message)
        kind: FaultKind = "parameter" if parameter else "request"
        return Fault(kind=kind, what=said, status=answer.status, parameter=parameter)
    return Fault(kind="account", what=said, status=answer.status)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait by `Retry-After` (RFC 9110: seconds or a date) or OpenAI's `retry-after-ms`; None without."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    date = _date(value)
    if date is None:
        return None
    # by the server's clock where it tells it: this machine's may be wrong by hours
    since = _date(headers.get("date", "")) or now or datetime.now(timezone.utc)
    return max(0.0, (date - since).total_seconds())


def _date(text: str) -> datetime | None:
    """A date of HTTP; None where there is none."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d{1,9}(\.\d{0,9})?\s*", text) else None


def _read_reply(body: bytes) -> Reply | Fault:
    value = _json(body)
    found = _reply_of(value, body)
    if isinstance(found, Fault) and isinstance(value, dict):
        return replace(found, usage=_usage(value.get("usage")))
    return found


def _reply_of(value: Any, body: bytes) -> Reply | Fault:
    if not isinstance(value, dict):
        is_page = body[:_LONGEST_QUOTE].lstrip().lower().startswith((b"<!doctype", b"<html"))
        what = WEB_PAGE if is_page else "the answer is not JSON"
        return Fault(kind="again", what=what)
    if isinstance(value.get("error"), dict) and not value.get("choices"):
        return Fault(kind="again", what=f"the answer is an error: {_quote(value['error'], b'')}")
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Fault(kind="again", what="the answer has no choices")
    reason = _finish_reason(choice.get("finish_reason"))
    text = _joined_parts(message.get("content")) or message.get("refusal") or ""
    if not isinstance(text, str):
        return Fault(kind="again", what="the answer's content is no text")
    if not text and reason == "stop":
        return Fault(kind="again", what="the answer is empty")
    model = value.get("model")
    return Reply(
        text=text,
        finish_reason=reason,
        usage=_usage(value.get("usage")),
        model=model if isinstance(model, str) else "",
    )


def _joined_parts(content: Any) -> Any:
    """The text of a message that comes in parts (Mistral's reasoning models answer so), without what is no text."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    texts = [part.get("text") for part in parts]
    return "".join(text for text in texts if isinstance(text, str)) if texts else content


def _finish_reason(found: Any) -> FinishReason:
    if not isinstance(found, str):
        return "stop"
    if found in {"length", "max_tokens"}:
        return "length"
    return "content_filter" if found == "content_filter" else "stop"


def _usage(found: Any) -> Usage:
    if not isinstance(found, dict):
        return Usage()
    return Usage(
        prompt_tokens=_count(found.get("prompt_tokens")),
        completion_tokens=_count(found.get("completion_tokens")),
    )


def _count(found: Any) -> int:
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def _json(body: bytes) -> Any:
    """A body's value, whose texts fit into files; None where it has none.

    `json` takes what orjson does not: UTF-16, a mark in front, halves of surrogate pairs, which fit into no file.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(body)
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _error_object(body: bytes) -> Mapping[str, Any]:
    value = _json(body)
    if isinstance(value, dict):
        error = value.get("error", value)
        if isinstance(error, dict):
            return error
        if isinstance(error, str):
            return {"message": error}
    return {}


def _quote(error: Mapping[str, Any], body: bytes) -> str:
    """The server's words on one short printable line."""
    found = error.get("message") or error.get("detail")
    text = found if isinstance(found, str) else ""
    if not text and not error:
        text = body[: 4 * _LONGEST_QUOTE].decode("utf-8", "replace")
        text = "" if text.lstrip().startswith("<") else text  # a gateway's HTML page
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split()).rstrip(".")
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"


def _parameter(error: Mapping[str, Any], message: str) -> str:
    named = str(error.get("param") or "")
    for parameter in _PARAMETERS:
        if named == parameter or named.startswith(f"{parameter}."):
            return parameter
    if not re.search(
        r"unsupported|not support|unrecognized|unknown|unexpected|not permitted|extra",
        message,
        re.I,
    ):
        return ""
    return next((name for name in _PARAMETERS if re.search(rf"\b{name}\b", message)), "")
