"""Known shapes of rows by their columns, and how a row of each becomes a conversation or a document; it reads no files."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from xtune.data.problems import described, listed, refuse
from xtune.data.trees import is_message, tree_messages
from xtune.data.turns import Misfit, calls_of, history_of, messages_of, text_of, tools_of
from xtune.data.types import Conversation, Document, Message, Origin

Row: TypeAlias = Conversation | Document
Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A known shape of rows: the columns that tell it, and how a row of it becomes ours."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    convert: Callable[[Fields, Origin, Mapping[str, str]], Row]


def convert(value: Any, format: str, origin: Origin, columns: Mapping[str, str]) -> Row:
    """A row of a known format in our one shape.

    Raises:
        Misfit: A field is missing or holds something else than its format says.
    """
    shape = SHAPES[format]
    fields = _fields(value, shape, format)
    _refuse_media(fields)
    row = shape.convert(_mapped(fields, columns), origin, columns)
    if isinstance(row, Conversation):
        _refuse_media_tags(row)
    return row


def _mapped(fields: Fields, columns: Mapping[str, str]) -> Fields:
    if not columns:
        return fields
    mapped = {
        ours: _at(fields, theirs)
        for ours, theirs in columns.items()
        if theirs in fields or theirs.partition(".")[0] in fields
    }
    return {**fields, **mapped}


def _at(fields: Fields, path: str) -> Any:
    """A column, or with dots in its name what an object in a column holds: `sql.human_readable`."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _fields(value: Any, shape: Shape, format: str) -> Fields:
    """A row as an object: a bare text is the text of a document, a bare list the messages of a conversation.

    Raises:
        Misfit: It is neither.
    """
    if isinstance(value, Mapping):
        return value
    whole: type | None = {"text": str, "messages": list, "sharegpt": list}.get(format)
    if whole is None or not isinstance(value, whole):
        raise Misfit(
            f"The row is {described(value)}",
            f"a row of format {format} is an object with {listed(shape.required)}",
        )
    return {shape.required[0]: value}


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse a mapping whose left side is none of our names.

    Raises:
        DataError: It names a column that no format has.
    """
    for ours in columns:
        if ours not in OUR_COLUMNS:
            near = difflib.get_close_matches(ours, OUR_COLUMNS, n=1)
            refuse(
                f"`columns` names `{ours}`, which no format has",
                allowed=f"our columns are {listed(OUR_COLUMNS, 40)}",
                advice=f"did you mean `{near[0]}`?"
                if near
                else "the left side is our name, the right side the file's.",
            )


def _refuse_media(fields: Fields) -> None:
    for key in ("images", "image", "videos", "video", "audios", "audio"):
        if fields.get(key):
            raise Misfit(
                f"`{key}` is {described(fields[key])}",
                "this version trains on text alone",
                "leave such rows out.",
            )


def _refuse_media_tags(row: Conversation) -> None:
    """Refuse a question with a file named in a tag pair, as Qwen-VL and ms-swift write images.

    Raises:
        Misfit: There is one; no markup language has these pairs.
    """
    for index, message in enumerate(row.messages):
        for tag in ("img", "audio", "video") if message.role == "user" else ():
            text = message.content
            if f"</{tag}>" in text and f"<{tag}>" in text:
                named = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
                raise Misfit(
                    f"Message {index} names a file in `<{tag}>`: {described(named)}",
                    "this version trains on text alone",
                    "leave such rows out.",
                )


def _chat(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Conversation:
    key = next(
        (
            key
            for key in ("messages", "conversations", "conversation", "contents")
            if fields.get(key) is not None
        ),
        None,
    )
    if key is None:
        raise Misfit(
            f"The row has {listed(fields) or 'no column'} and no list of messages",
            "it needs `messages`",
        )
    system = _system(fields)
    messages = messages_of(fields[key], key, columns)
    if system and messages[0].role == "system":
        raise Misfit(
            f"`system` is given beside a system message in `{key}`", "one of them alone is meant"
        )
    described = "tools" if fields.get("tools") else "functions"
    return Conversation(
        messages=(*system, *messages),
        origin=origin,
        tools=tools_of(fields.get(described), described),
    )


def _system(fields: Fields) -> list[Message]:
    key = next((key for key in _SYSTEMS if fields.get(key) is not None), "system")
    value = fields.get(key)
    if key != "system" and isinstance(value, Mapping):
        value = value.get("parts")
    text = text_of(value, key) if value is not None else ""
    return [Message(role="system", content=text)] if text else []


def _question_and_answer(
    fields: Fields, origin: Origin, question: str, answer: Message
) -> Conversation:
    history = fields.get("history")
    earlier = history_of(history, "history") if history not in (None, "") else []
    messages = (
        *_system(fields),
        *earlier,
        Message(role="user", content=question),
        answer,
    )
    return Conversation(
        messages=messages, origin=origin, tools=tools_of(fields.get("tools"), "tools")
    )


def _answer(fields: Fields, key: str) -> Message:
    reasoning = fields.get("reasoning_content")
    extra = {"reasoning_content": text_of(reasoning, "reasoning_content")} if reasoning else {}
    return Message(role="assistant", content=text_of(_given(fields, key), key), extra=extra)


def _alpaca(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Conversation:
    del columns  # applied already
    instruction = text_of(_given(fields, "instruction"), "instruction")
    value = fields.get("input")
    context = text_of(value, "input") if value is not None else ""
    question = f"{instruction}\n{context}" if instruction and context else instruction or context
    return _question_and_answer(fields, origin, question, _answer(fields, "output"))


def _prompt_completion(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Conversation:
    prompt, completion = _given(fields, "prompt"), _given(fields, "completion")
    turns = [
        value
        for value in (prompt, completion)
        if isinstance(value, list) and value and _is_turn(value[0])
    ]
    if len(turns) == 2:
        messages = [
            *messages_of(prompt, "prompt", columns),
            *messages_of(completion, "completion", columns),
        ]
        tools = tools_of(fields.get("tools"), "tools")
        return Conversation(messages=(*_system(fields), *messages), origin=origin, tools=tools)
    return _question_and_answer(
        fields, origin, text_of(prompt, "prompt"), _answer(fields, "completion")
    )


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "from" in value)


def _query_response(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Conversation:
    del columns  # applied already
    query = text_of(_given(fields, "query"), "query")
    if fields.get("response") is None and fields.get("tool_calls"):
        calls = calls_of(fields["tool_calls"], "tool_calls")
        answer = Message(role="assistant", content="", extra={"tool_calls": calls})
    else:
        answer = _answer(fields, "response")
    return _question_and_answer(fields, origin, query, answer)


def _tree(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Conversation:
    del columns  # applied already
    return Conversation(messages=tuple(tree_messages(fields)), origin=origin)


def _text(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Document:
    del columns  # applied already
    return Document(text=text_of(_given(fields, "text"), "text"), origin=origin)


def _given(fields: Fields, key: str) -> Any:
    if fields.get(key) is None:
        found = "is null" if key in fields else f"is missing among {listed(fields) or 'no columns'}"
        raise Misfit(f"`{key}` {found}", "it must be a text")
    return fields[key]


_CHAT_EXTRAS = ("system", "tools", "role", "content")
_SYSTEMS = ("system", "systemInstruction", "system_instruction")
"""Columns of a system prompt; the others are Gemini's, beside `contents`."""

SHAPES: dict[str, Shape] = {
    "messages": Shape(required=("messages",), optional=_CHAT_EXTRAS, convert=_chat),
    "sharegpt": Shape(
        required=("conversations",), optional=("conversation", *_CHAT_EXTRAS), convert=_chat
    ),
    "alpaca": Shape(
        required=("instruction", "output"),
        optional=("input", "history", "system", "tools", "reasoning_content"),
        convert=_alpaca,
    ),
    "prompt_completion": Shape(
        required=("prompt", "completion"),
        optional=("history", "system", "tools", "reasoning_content"),
        convert=_prompt_completion,
    ),
    "query_response": Shape(
        required=("query", "response"),
        optional=("history", "system", "tools", "tool_calls", "reasoning_content"),
        convert=_query_response,
    ),
    "oasst": Shape(required=("message_id", "replies"), optional=(), convert=_tree),
    "text": Shape(required=("text",), optional=(), convert=_text),
}
"""The formats in the order in which a file with the columns of several is taken for one."""

OUR_COLUMNS = tuple(
    dict.fromkeys(name for shape in SHAPES.values() for name in (*shape.required, *shape.optional))
)
"""Every name that may stand on the left of `columns`."""


def format_of(keys: frozenset[str], ours: frozenset[str] = frozenset()) -> str | None:
    """The format of a row with these columns, `ours` being those that were mapped; None if it fits none.

    A row that was given a mapping is of a format that the mapping speaks of, if there is one.
    """
    fitting = [format for format in SHAPES if fits(format, keys)]
    meant = [format for format in fitting if ours & set(SHAPES[format].required)]
    return next(iter(meant or fitting), None)


def fits(format: str, keys: frozenset[str]) -> bool:
    """Whether a row with these columns has what a format asks for."""
    if format == "messages":
        return "messages" in keys or "contents" in keys
    if format == "sharegpt":
        return "conversations" in keys or "conversation" in keys
    if format == "query_response":
        return "query" in keys and ("response" in keys or "tool_calls" in keys)
    if format == "oasst":
        return is_message(keys)
    return keys.issuperset(SHAPES[format].required)
