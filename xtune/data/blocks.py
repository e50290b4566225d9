"""Takes turns of typed blocks apart, as Anthropic, Bedrock and Gemini write them: reasoning, calls and results; plain turns pass unchanged."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_REASONING = ("thinking", "redacted_thinking", "reasoningContent")
_RESULTS = ("tool_result", "toolResult", "functionResponse", "function_response")
_KINDS = (*_REASONING, *_RESULTS, "tool_use", "toolUse", "functionCall", "function_call")
"""Types of blocks, or the key that holds them: Anthropic's messages, Bedrock's Converse, Gemini's parts in both spellings."""


def plain_turns(turn: Any) -> list[Any]:
    """A turn of blocks as turns with `role`, `content`, `reasoning_content` and `tool_calls`; any other as it is.

    Results of tools that a user's turn holds become turns of their own before it.
    """
    if not isinstance(turn, Mapping):
        return [turn]
    key = "parts" if "parts" in turn and "content" not in turn else "content"
    blocks = turn.get(key)
    if not isinstance(blocks, list) or not (key == "parts" or any(map(_kind, blocks))):
        return [turn]
    rest = {name: value for name, value in turn.items() if name != key}
    found = _Blocks()
    for block in blocks:
        found.add(block)
    if found.calls and rest.get("role") == "user":
        return [turn]  # refused where its blocks are read
    if found.results and not found.texts and not found.calls:
        return found.results
    more: dict[str, Any] = {"content": found.texts}
    if found.calls:
        more["tool_calls"] = found.calls
    if kept := [part for part in found.reasoning if part]:
        more["reasoning_content"] = kept
    return [*found.results, {**rest, **more}]


@dataclass
class _Blocks:
    """The blocks of a turn by what they are."""

    texts: list[Any] = field(default_factory=list)
    reasoning: list[Any] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def add(self, block: Any) -> None:
        kind = _kind(block)
        if kind is None:
            own = isinstance(block, Mapping) and block.get("thought") is True
            (self.reasoning if own else self.texts).append(block)
            return
        held = block.get(kind, block)
        if kind in _REASONING:
            self.reasoning.append(_reasoning(block, kind))
        elif kind in _RESULTS:
            self.results.append(_result(held))
        else:
            self.calls.append(_call(held))


def plain_tools(tool: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A tool of these makers as functions with `parameters`; any other as it is."""
    for key in ("functionDeclarations", "function_declarations"):
        if isinstance(tool.get(key), list):
            return [_function(one) for one in tool[key] if isinstance(one, Mapping)]
    held = tool.get("toolSpec", tool)
    if isinstance(held, Mapping) and ("input_schema" in held or "inputSchema" in held):
        return [_function(held)]
    return [tool]


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    schema = tool.get("input_schema", tool.get("inputSchema", tool.get("parameters")))
    if isinstance(schema, Mapping) and isinstance(schema.get("json"), Mapping):
        schema = schema["json"]
    named = {key: tool[key] for key in ("name", "description") if key in tool}
    parameters = {} if schema is None else {"parameters": schema}
    return {"type": "function", "function": {**named, **parameters}}


def _kind(block: Any) -> str | None:
    if not isinstance(block, Mapping):
        return None
    kind = block.get("type")
    if kind in _KINDS:
        return str(kind)
    return next((name for name in _KINDS if isinstance(block.get(name), Mapping)), None)


def _reasoning(block: Mapping[str, Any], kind: str) -> Any:
    """The text of a block of reasoning; nothing if it is encrypted."""
    if kind == "reasoningContent":
        held = block[kind].get("reasoningText")
        return held.get("text") if isinstance(held, Mapping) else None
    return block.get("thinking")


def _call(held: Mapping[str, Any]) -> dict[str, Any]:
    given: Any = next((held[key] for key in ("input", "args", "arguments") if key in held), {})
    identity = held.get("id", held.get("toolUseId"))
    call = {"name": held.get("name"), "arguments": given}
    return call if identity is None else {"id": identity, **call}


def _result(held: Mapping[str, Any]) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "tool"}
    identity = held.get("tool_use_id", held.get("toolUseId", held.get("id")))
    if identity is not None:
        turn["tool_call_id"] = identity
    if held.get("name") is not None:
        turn["name"] = held["name"]
    content = held.get("content", held.get("response", ""))
    if isinstance(content, list):
        content = [
            json.dumps(part["json"], ensure_ascii=False)
            if isinstance(part, Mapping) and "json" in part
            else part
            for part in content
        ]
    elif isinstance(content, Mapping):
        content = json.dumps(content, ensure_ascii=False)
    return {**turn, "content": content}
