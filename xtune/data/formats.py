"""Recognises the shape of a file's rows by its columns and turns them into conversations and documents; it reads no files."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from xtune.data.problems import Problems, described, listed, refuse
from xtune.data.turns import Misfit, history_of, messages_of, text_of, tools_of
from xtune.data.types import Conversation, Document, Message, Origin, Record

Row: TypeAlias = Conversation | Document
Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A known shape of rows: the columns that tell it, and how a row of it becomes ours."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    convert: Callable[[Fields, Origin, Mapping[str, str]], Row]


def to_rows(
    records: Sequence[Record], *, format: str = "auto", columns: Mapping[str, str] | None = None
) -> list[Row]:
    """All records in our one shape; the format is recognised for each file.

    Raises:
        DataError: A file in no known format, or rows that do not fit theirs.
    """
    problems = Problems()
    rows: list[Row] = []
    for _, group in groupby(records, key=lambda record: record.origin.source):
        rows += parse_file(list(group), format=format, columns=columns or {}, problems=problems)[1]
    problems.raise_any()
    return rows


def parse_file(
    records: Sequence[Record], *, format: str, columns: Mapping[str, str], problems: Problems
) -> tuple[str, list[Row]]:
    """One file's format and rows; rows that do not fit go to `problems`.

    Raises:
        DataError: The file as a whole is in no known format, or in one that is not trained on.
    """
    _check_columns(columns)
    name = records[0].origin.source
    keys = _keys(records)
    found = set(keys)
    _check_mapping(columns, found, name)
    named = {ours for ours, theirs in columns.items() if theirs in found}
    if format == "auto":
        _refuse_others(records, found - set(columns.values()) | named, name)
        format = _recognise(records, found | named, name)
    shape = SHAPES[format]
    rows = []
    for record in records:
        try:
            fields = _fields(record.value, shape, format)
            _refuse_media(fields)
            rows.append(shape.convert(_mapped(fields, columns), record.origin, columns))
        except Misfit as error:
            problems.add(
                error.what, where=str(record.origin), allowed=error.allowed, advice=error.advice
            )
    return format, rows


def _keys(records: Iterable[Record]) -> dict[str, None]:
    """Columns of a file in the order met; a column that is null in every row is none."""
    keys: dict[str, None] = {}
    for record in records:
        if isinstance(record.value, Mapping):
            keys.update(
                dict.fromkeys(key for key, value in record.value.items() if value is not None)
            )
    return keys


def _mapped(fields: Fields, columns: Mapping[str, str]) -> Fields:
    if not columns:
        return fields
    return {
        **fields,
        **{ours: fields[theirs] for ours, theirs in columns.items() if theirs in fields},
    }


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


def _check_columns(columns: Mapping[str, str]) -> None:
    for ours in columns:
        if ours not in OUR_COLUMNS:
            near = difflib.get_close_matches(ours, OUR_COLUMNS, n=1)
            refuse(
                f"`data.columns` names `{ours}`, which no format has",
                allowed=f"our columns are {listed(OUR_COLUMNS, 40)}",
                advice=f"did you mean `{near[0]}`?"
                if near
                else "the left side is our name, the right side the file's.",
            )


def _check_mapping(columns: Mapping[str, str], found: set[str], name: str) -> None:
    for ours, theirs in columns.items():
        if found and theirs not in found and ours not in {"role", "content"}:
            near = difflib.get_close_matches(theirs, found, n=1)
            refuse(
                f"`data.columns` maps `{ours}` to `{theirs}`, which the file does not have",
                where=name,
                allowed=f"its columns are {listed(sorted(found))}",
                advice=f"did you mean `{near[0]}`?" if near else "",
            )


def _refuse_others(records: Sequence[Record], keys: set[str], name: str) -> None:
    """Refuse by name what looks like a known format at first sight but means something else."""
    if {"chosen", "rejected"} <= keys or {"chosen_response", "rejected_response"} <= keys:
        refuse(
            "The rows are preference pairs (`chosen` and `rejected`)",
            where=name,
            allowed="stages sft and pretrain train on one answer",
            advice="to train on the chosen answers alone, map it: `data.columns: {prompt: ..., completion: chosen}`.",
        )
    if _is_kto(records, keys):
        refuse(
            "The rows are KTO judgements (an answer and a label true or false)",
            where=name,
            allowed="stages sft and pretrain train on every answer, the bad ones too",
            advice="keep the rows whose label is true, or pin `data.format` to train on all of them.",
        )
    if {"message_id", "replies"} <= keys:
        refuse(
            "The rows are message trees (Open Assistant)",
            where=name,
            allowed="a row is one conversation",
            advice="write each path from a root to a leaf as one row with `messages`.",
        )


def _is_kto(records: Sequence[Record], keys: set[str]) -> bool:
    if "kto_tag" in keys:
        return True
    if "label" not in keys or not keys & {
        "messages",
        "conversations",
        "completion",
        "response",
        "output",
    }:
        return False
    return all(
        isinstance(r.value, Mapping) and isinstance(r.value.get("label"), bool) for r in records
    )


def _recognise(records: Sequence[Record], keys: set[str], name: str) -> str:
    for format, shape in SHAPES.items():
        if set(shape.required) <= keys:
            return format
    if "conversation" in keys:
        return "sharegpt"
    if keys:
        refuse(
            f"The columns {listed(sorted(keys))} fit no known format",
            where=name,
            allowed="known are "
            + "; ".join(f"{format}: {listed(shape.required)}" for format, shape in SHAPES.items()),
            advice=_mapping_advice(keys),
        )
    return "text" if isinstance(records[0].value, str) else "messages"


_PAIRS = (("query", "response"), ("question", "answer"), ("prompt", "response"), ("instruction", "response"),
          ("input", "output"), ("question", "response"), ("prompt", "answer"), ("source", "target"))  # fmt: skip


def _mapping_advice(keys: set[str]) -> str:
    for prompt, completion in _PAIRS:
        if {prompt, completion} <= keys:
            return f"write `data.columns: {{prompt: {prompt}, completion: {completion}}}`."
    for text in ("content", "response", "body", "document", "code"):
        if text in keys:
            return (
                f"if `{text}` is text to train on as it is, write `data.columns: {{text: {text}}}`."
            )
    return "name the columns with `data.columns: {prompt: ..., completion: ...}` or `{text: ...}`."


def _refuse_media(fields: Fields) -> None:
    for key in ("images", "image", "videos", "video", "audios", "audio"):
        if fields.get(key):
            raise Misfit(
                f"`{key}` is {described(fields[key])}",
                "this version trains on text alone",
                "leave such rows out.",
            )


def _chat(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Conversation:
    key = next(
        (
            key
            for key in ("messages", "conversations", "conversation")
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
    return Conversation(
        messages=(*system, *messages), origin=origin, tools=tools_of(fields.get("tools"), "tools")
    )


def _system(fields: Fields) -> list[Message]:
    value = fields.get("system")
    text = text_of(value, "system") if value is not None else ""
    return [Message(role="system", content=text)] if text else []


def _question_and_answer(
    fields: Fields, origin: Origin, question: str, answer: Any
) -> Conversation:
    history = fields.get("history")
    earlier = history_of(history, "history") if history not in (None, "") else []
    messages = (
        *_system(fields),
        *earlier,
        Message(role="user", content=question),
        Message(role="assistant", content=answer),
    )
    return Conversation(
        messages=messages, origin=origin, tools=tools_of(fields.get("tools"), "tools")
    )


def _alpaca(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Conversation:
    del columns  # applied already
    instruction = text_of(_given(fields, "instruction"), "instruction")
    value = fields.get("input")
    context = text_of(value, "input") if value is not None else ""
    question = f"{instruction}\n{context}" if instruction and context else instruction or context
    return _question_and_answer(
        fields, origin, question, text_of(_given(fields, "output"), "output")
    )


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
        fields, origin, text_of(prompt, "prompt"), text_of(completion, "completion")
    )


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "from" in value)


def _text(fields: Fields, origin: Origin, columns: Mapping[str, str]) -> Document:
    del columns  # applied already
    return Document(text=text_of(_given(fields, "text"), "text"), origin=origin)


def _given(fields: Fields, key: str) -> Any:
    if fields.get(key) is None:
        found = "is null" if key in fields else f"is missing among {listed(fields) or 'no columns'}"
        raise Misfit(f"`{key}` {found}", "it must be a text")
    return fields[key]


_CHAT_EXTRAS = ("system", "tools", "role", "content")

SHAPES: dict[str, Shape] = {
    "messages": Shape(required=("messages",), optional=_CHAT_EXTRAS, convert=_chat),
    "sharegpt": Shape(required=("conversations",), optional=_CHAT_EXTRAS, convert=_chat),
    "alpaca": Shape(
        required=("instruction", "output"),
        optional=("input", "history", "system", "tools"),
        convert=_alpaca,
    ),
    "prompt_completion": Shape(
        required=("prompt", "completion"),
        optional=("history", "system", "tools"),
        convert=_prompt_completion,
    ),
    "text": Shape(required=("text",), optional=(), convert=_text),
}
"""The formats in the order in which a file with the columns of several is taken for one."""

OUR_COLUMNS = tuple(
    dict.fromkeys(name for shape in SHAPES.values() for name in (*shape.required, *shape.optional))
)
"""Every name that may stand on the left of `data.columns`."""
