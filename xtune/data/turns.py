"""Turns of any known spelling (role/content, from/value, pairs) become messages; it knows nothing of files and columns."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from xtune.data.blocks import plain_tools, plain_turns
from xtune.data.json_limits import unfit
from xtune.data.problems import described, listed
from xtune.data.types import Message

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "function_result": "tool",
    "tool_result": "tool",
    "ipython": "tool",
    "function_call": "call",
    "tool_call": "call",
}
"""Role names of data sets to ours; `call` is an assistant's turn whose text is a tool call in JSON."""

EXTRA_TEXTS = ("tool_call_id", "name", "reasoning_content", "reasoning", "thinking")
"""Keys of a message that chat templates use besides role, content and tool calls; others are notes of the data set."""

_PAIRS = (
    ("human", "assistant"),
    ("user", "assistant"),
    ("input", "output"),
    ("question", "answer"),
)
"""Keys of turns that are a question and its answer at once."""

_TEXT_PARTS = ("text", "input_text", "output_text")
"""Types of content parts that hold a `text`: chat completions have the first, OpenAI's responses the others."""

_LARGEST = sys.float_info.max
"""Largest weight: an integer of JSON may be larger, and is no float."""

_MEDIA = (
    "image",
    "image_url",
    "input_image",
    "input_file",
    "video",
    "video_url",
    "audio",
    "audio_url",
    "input_audio",
    "file",
)


_OTHER_NAMES = {
    "role": ("speaker", "author", "sender", "type", "user"),
    "content": ("text", "message", "utterance", "body", "data"),
}
"""What other data sets call the two fields of a message."""


_WRAPPED = re.compile(r"<tool_response>\n?(.*?)\n?</tool_response>\s*", re.DOTALL)
"""What a tool said, in the markup of Hermes' chat template."""


class Misfit(Exception):  # noqa: N818 - a row that does not fit is no error until someone wants it to
    """A row does not fit its format: which field, what was found, what is allowed."""

    def __init__(self, what: str, allowed: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.allowed = allowed
        self.advice = advice


def reject(field: str, value: object, allowed: str) -> NoReturn:
    """A field holds something else than it should.

    Raises:
        Misfit: Always.
    """
    raise Misfit(f"`{field}` is {described(value)}", f"it must be {allowed}")


def messages_of(value: Any, field: str, columns: Mapping[str, str]) -> list[Message]:
    """The messages of a list of turns.

    Raises:
        Misfit: The list or one of its turns is malformed.
    """
    turns = parsed_list(value, field)
    if not turns:
        reject(field, turns, "a list of at least one message")
    if field != "messages" and all(isinstance(turn, str) for turn in turns):
        return [
            Message(role=("user", "assistant")[index % 2], content=turn)
            for index, turn in enumerate(turns)
        ]
    for keys in _PAIRS:
        if all(_is_pair(turn, keys) for turn in turns):
            return [
                message
                for index, turn in enumerate(turns)
                for message in _pair(turn, keys, f"{field}[{index}]")
            ]
    return [
        message
        for index, turn in enumerate(turns)
        for plain in plain_turns(turn)
        for message in _bare(_message(plain, f"{field}[{index}]", columns))
    ]


def parsed_list(value: Any, field: str) -> list[Any]:
    """A list, or the JSON text of one (csv cells, and the `tools` of several data sets).

    Raises:
        Misfit: It is neither.
    """
    parsed = _from_json(value, field) if isinstance(value, str) else value
    if isinstance(parsed, dict):
        parsed = [parsed]
    if not isinstance(parsed, list):
        reject(field, value, "a list")
    return parsed


def history_of(value: Any, field: str) -> list[Message]:
    """The messages of earlier rounds, `[[question, answer], ...]`.

    Raises:
        Misfit: A round is not a pair of texts.
    """
    messages = []
    for index, pair in enumerate(parsed_list(value, field)):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            reject(f"{field}[{index}]", pair, "a question and its answer")
        messages.append(Message(role="user", content=text_of(pair[0], f"{field}[{index}][0]")))
        messages.append(Message(role="assistant", content=text_of(pair[1], f"{field}[{index}][1]")))
    return messages


def text_of(value: Any, field: str) -> str:
    """A text, or the texts of a list of content parts joined.

    Raises:
        Misfit: It is something else, an image say.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        reject(field, value, "a text")
    parts = []
    for index, part in enumerate(value):
        if isinstance(part, str):
            parts.append(part)
            continue
        if not isinstance(part, dict):
            reject(f"{field}[{index}]", part, "a text part")
        kind = part.get("type", "text")
        if kind in _MEDIA:
            raise Misfit(
                f"`{field}[{index}]` is a part of type `{kind}`",
                "this version trains on text alone",
            )
        if kind not in _TEXT_PARTS or not isinstance(part.get("text"), str):
            reject(f"{field}[{index}]", part, 'a text part: {"type": "text", "text": ...}')
        parts.append(part["text"])
    return "".join(parts)


def tools_of(value: Any, field: str) -> tuple[Mapping[str, Any], ...]:
    """The tool descriptions of a row: a list of objects or its JSON text; empty and absent are the same.

    Raises:
        Misfit: It is something else.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    tools = list(parsed_list(value, field))
    for index, tool in enumerate(tools):
        if isinstance(tool, str):  # each of them may be JSON text as well
            tools[index] = tool = _from_json(tool, f"{field}[{index}]") or tool
        if not isinstance(tool, dict):
            reject(f"{field}[{index}]", tool, "an object that describes a tool")
    return tuple(plain for tool in tools for plain in plain_tools(tool))


def _is_pair(turn: Any, keys: tuple[str, str]) -> bool:
    return (
        isinstance(turn, dict) and turn.keys() >= set(keys) and not turn.keys() & {"role", "from"}
    )


def _pair(turn: Mapping[str, Any], keys: tuple[str, str], field: str) -> list[Message]:
    asked, answered = keys
    return [
        Message(role="user", content=text_of(turn[asked], f"{field}.{asked}")),
        Message(role="assistant", content=text_of(turn[answered], f"{field}.{answered}")),
    ]


def _message(turn: Any, field: str, columns: Mapping[str, str]) -> Message:
    if not isinstance(turn, dict):
        reject(field, turn, "an object with `role` and `content`, or `from` and `value`")
    role_key = _key(turn, field, (columns.get("role", "role"), "from"))
    name = turn[role_key]
    role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        reject(f"{field}.{role_key}", name, f"one of {', '.join(ROLES)}")
    extra = _extra(turn, field)
    content = _content(turn, field, columns, optional=bool(extra.get("tool_calls")))
    if role == "call":
        extra["tool_calls"] = calls_of(content, f"{field}.value")
        role, content = "assistant", ""
    return Message(role=role, content=content, weight=_weight(turn, field), extra=extra)


def _bare(message: Message) -> list[Message]:
    """A tool's turn without the tags that chat templates put around it; several tagged answers are several turns.

    Rows of Hermes hold the markup of their template, which would otherwise stand twice.
    """
    if message.role != "tool" or not message.content.lstrip().startswith("<tool_response>"):
        return [message]
    answers = _WRAPPED.findall(message.content)
    if _WRAPPED.sub("", message.content).strip() or not answers:
        return [message]  # there is text beside the tags: it is not ours to take apart
    return [replace(message, content=answer) for answer in answers]


def _extra(turn: Mapping[str, Any], field: str) -> dict[str, Any]:
    extra: dict[str, Any] = {
        key: text_of(turn[key], f"{field}.{key}") for key in EXTRA_TEXTS if turn.get(key)
    }
    calls = turn.get("tool_calls") or turn.get("function_call")
    if calls:
        extra["tool_calls"] = calls_of(calls, f"{field}.tool_calls")
    return extra


def _key(turn: Mapping[str, Any], field: str, names: tuple[str, ...]) -> str:
    for name in names:
        if name in turn:
            return name
    found = listed(turn) or "nothing"
    ours = "role" if "from" in names else "content"
    other = next((name for name in _OTHER_NAMES[ours] if name in turn), None)
    raise Misfit(
        f"`{field}` has {found} and no `{names[0]}`",
        f"a message needs {' or '.join(f'`{n}`' for n in names)}",
        f"write `columns: {{{ours}: {other}}}`." if other else "",
    )


def _content(
    turn: Mapping[str, Any], field: str, columns: Mapping[str, str], *, optional: bool
) -> str:
    names = (columns.get("content", "content"), "value")
    if optional and all(turn.get(name) is None for name in names):
        return ""
    key = _key(turn, field, names)
    value = turn[key]
    if isinstance(value, dict):
        value = [value]
    return text_of(value, f"{field}.{key}")


def _weight(turn: Mapping[str, Any], field: str) -> float | None:
    for key in ("train", "loss", "weight"):
        value = turn.get(key)
        if value is None:
            continue
        is_number = isinstance(value, (bool, int, float)) and 0 <= value <= _LARGEST
        if is_number and (key == "weight" or value in {0, 1}):
            return float(value)
        allowed = "a number that is not negative" if key == "weight" else "true or false"
        reject(f"{field}.{key}", value, allowed)
    return None


def calls_of(value: Any, field: str) -> list[dict[str, Any]]:
    """Tool calls as templates expect them: `{"type": "function", "function": {"name", "arguments"}}`, arguments an object.

    Raises:
        Misfit: One of them has no name.
    """
    calls = []
    for index, call in enumerate(parsed_list(value, field)):
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            reject(f"{field}[{index}]", call, "a tool call with a `name` and `arguments`")
        arguments = function.get("arguments", function.get("parameters", {}))
        parsed = (
            _from_json(arguments, f"{field}[{index}].arguments")
            if isinstance(arguments, str)
            else arguments
        )
        keep = {"id": call["id"]} if call.get("id") is not None else {}
        arguments = parsed if isinstance(parsed, dict) else arguments
        calls.append(
            {
                **keep,
                "type": "function",
                "function": {"name": function["name"], "arguments": arguments},
            }
        )
    return calls


def _from_json(text: str, field: str) -> Any:
    """The value of a JSON text; None if it is none.

    Raises:
        Misfit: It says what no row can hold.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fault = unfit(value, text)
    if fault is not None:
        raise Misfit(f"`{field}` {fault[0]}", fault[1])
    return value
