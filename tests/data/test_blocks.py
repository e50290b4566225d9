"""Rows as the makers of hosted models want them, from their published layouts: what they become is written out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from xtune.data.reading import read_all
from xtune.data.types import Conversation, Message
from xtune.errors import DataError
from xtune.recipe.models import Data

CALL = {"type": "function", "function": {"name": "weather", "arguments": {"town": "Oslo"}}}
SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it", "parameters": SCHEMA},
}
NAMED = {"name": "weather", "description": "Tells it"}


def read(tmp_path: Path, row: Any, **columns: str) -> Conversation:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (found,) = read_all([str(path)], Data.model_validate({"train": str(path), "columns": columns}))
    assert isinstance(found, Conversation)
    return found


ANTHROPIC = {
    "system": "Be terse.",
    "tools": [{**NAMED, "input_schema": SCHEMA}],
    "messages": [
        {"role": "user", "content": "Oslo?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Ask.", "signature": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"town": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "clear"}]},
                {"type": "text", "text": "Well?"},
            ],
        },
        {"role": "assistant", "content": "Clear.", "weight": 0},
    ],
}  # fmt: skip
BEDROCK = {
    "schemaVersion": "bedrock-conversation-2024",
    "system": [{"text": "Be terse."}],
    "tools": [{"toolSpec": {**NAMED, "inputSchema": {"json": SCHEMA}}}],
    "messages": [
        {"role": "user", "content": [{"text": "Oslo?"}]},
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Ask.", "signature": "x"}}},
                {"text": "I look."},
                {"toolUse": {"toolUseId": "toolu_1", "name": "weather", "input": {"town": "Oslo"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "toolu_1", "content": [{"text": "clear"}]}},
                {"text": "Well?"},
            ],
        },
        {"role": "assistant", "content": [{"text": "Clear."}], "weight": 0},
    ],
}
BLOCKS = (
    Message(role="system", content="Be terse."),
    Message(role="user", content="Oslo?"),
    Message(
        role="assistant",
        content="I look.",
        extra={"reasoning_content": "Ask.", "tool_calls": [{"id": "toolu_1", **CALL}]},
    ),
    Message(role="tool", content="clear", extra={"tool_call_id": "toolu_1"}),
    Message(role="user", content="Well?"),
    Message(role="assistant", content="Clear.", weight=0.0),
)


@pytest.mark.parametrize("row", [ANTHROPIC, BEDROCK])
def test_blocks_become_reasoning_calls_and_results(tmp_path: Path, row: Any) -> None:
    found = read(tmp_path, row)
    assert found.messages == BLOCKS
    assert found.tools == (TOOL,)


@pytest.mark.parametrize("system", ["systemInstruction", "system_instruction"])
def test_contents_of_parts_become_messages(tmp_path: Path, system: str) -> None:
    row = {
        system: {"parts": [{"text": "Be terse."}]},
        "tools": [{"functionDeclarations": [{**NAMED, "parameters": SCHEMA}]}],
        "contents": [
            {"role": "user", "parts": [{"text": "Os"}, {"text": "lo?"}]},
            {"role": "model", "parts": [{"text": "Ask.", "thought": True}, {"functionCall": {"name": "weather", "args": {"town": "Oslo"}}}]},
            {"role": "function", "parts": [{"functionResponse": {"name": "weather", "response": {"sky": "clear"}}}]},
            {"role": "model", "parts": [{"text": "Clear."}]},
        ],
    }  # fmt: skip
    found = read(tmp_path, row)
    assert found.messages == (
        Message(role="system", content="Be terse."),
        Message(role="user", content="Oslo?"),
        Message(
            role="assistant",
            content="",
            extra={"reasoning_content": "Ask.", "tool_calls": [CALL]},
        ),
        Message(role="tool", content='{"sky": "clear"}', extra={"name": "weather"}),
        Message(role="assistant", content="Clear."),
    )
    assert found.tools == (TOOL,)


def test_encrypted_reasoning_is_no_reasoning(tmp_path: Path) -> None:
    blocks = [{"type": "redacted_thinking", "data": "abc"}, {"type": "text", "text": "Yo"}]
    row = {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": blocks}]
    }
    assert read(tmp_path, row).messages[1] == Message(role="assistant", content="Yo")


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "data": "x"}},
        {"fileData": {"fileUri": "gs://x"}},
        {"functionCall": {"args": {}}},
    ],
)
def test_parts_that_are_no_text_are_refused_by_place(tmp_path: Path, part: Any) -> None:
    row = {
        "contents": [{"role": "user", "parts": [part]}, {"role": "model", "parts": [{"text": "b"}]}]
    }
    with pytest.raises(DataError, match=r"contents\[0\]"):
        read(tmp_path, row)


def test_functions_of_older_chat_files_are_tools(tmp_path: Path) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Oslo?"},
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"town": "Oslo"}'}},
        ],
        "functions": [NAMED],
    }  # fmt: skip
    assert read(tmp_path, row).tools == (NAMED,)


PAIR = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"chat": PAIR}, {"conversations": "chat"}),
        ({"dialog": ["Q", "A"]}, {"conversations": "dialog"}),
        ({"human": "Q", "assistant": "A"}, {"prompt": "human", "completion": "assistant"}),
        ({"input_text": "Q", "output_text": "A"}, {"prompt": "input_text", "completion": "output_text"}),
        ({"messages": [{"author": "user", "content": "Q"}, {"author": "bot", "content": "A"}]}, {"role": "author"}),
        ({"conversations": [{"role": "USER", "text": "Q"}, {"role": "ASSISTANT", "text": "A"}]}, {"content": "text"}),
    ],
)  # fmt: skip
def test_advice_on_other_names_leads_to_the_rows(
    tmp_path: Path, row: Any, columns: dict[str, str]
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, row)
    written = ", ".join(f"{ours}: {theirs}" for ours, theirs in columns.items())
    assert f"`columns: {{{written}}}`" in caught.value.problems[0].advice
    assert [message.content for message in read(tmp_path, row, **columns).messages] == ["Q", "A"]


def test_the_context_of_an_instruction_is_not_forgotten_in_the_advice(tmp_path: Path) -> None:
    row = {"instruction": "Q", "context": "C", "response": "A"}
    with pytest.raises(DataError) as caught:
        read(tmp_path, row)
    assert "`columns: {input: context, output: response}`" in caught.value.problems[0].advice
    found = read(tmp_path, row, input="context", output="response")
    assert [message.content for message in found.messages] == ["Q\nC", "A"]


def test_chosen_conversations_are_trained_on_when_mapped(tmp_path: Path) -> None:
    row = {"chosen": PAIR, "rejected": PAIR}
    with pytest.raises(DataError, match="preference pairs") as caught:
        read(tmp_path, row)
    assert "`columns: {messages: chosen}`" in caught.value.problems[0].advice
    assert len(read(tmp_path, row, messages="chosen").messages) == 2


def test_preferred_outputs_are_preference_pairs(tmp_path: Path) -> None:
    row = {
        "input": {"messages": PAIR[:1]},
        "preferred_output": PAIR[1:],
        "non_preferred_output": PAIR[1:],
    }
    with pytest.raises(DataError, match="preference pairs"):
        read(tmp_path, row)


def test_answers_that_are_calls_are_mapped_as_calls(tmp_path: Path) -> None:
    calls = json.dumps([CALL["function"]])
    row = {"id": 1, "query": "Oslo?", "answers": calls, "tools": json.dumps([NAMED])}
    with pytest.raises(DataError) as caught:
        read(tmp_path, row)
    assert "`columns: {tool_calls: answers}`" in caught.value.problems[0].advice
    found = read(tmp_path, row, tool_calls="answers")
    assert found.messages[1] == Message(role="assistant", content="", extra={"tool_calls": [CALL]})
