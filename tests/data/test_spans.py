"""Where messages stand in a rendering, against oracles written by hand, for all families of templates."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chat_families import (
    FAMILIES,
    Family,
    byte_flags,
    expected_flags,
    make_conversation,
    make_tokenizer,
    trained_text,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xtune.data.encode import Encoder
from xtune.data.types import IGNORED, Conversation, Message, Origin, Sequence
from xtune.errors import DataError

HERE = Origin(source="rows.jsonl", row=0, line=1)


TOKENIZERS = {name: make_tokenizer(family) for name, family in FAMILIES.items()}


CHAT = (
    ("system", "Be brief."),
    ("user", "Hi"),
    ("assistant", "Hello there"),
    ("user", "Bye"),
    ("assistant", "So long"),
)


def chat_for(family: Family) -> tuple[tuple[str, str], ...]:
    return CHAT if family.system else CHAT[1:]


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_and_their_end_of_turn_are_trained_on_and_nothing_else(name: str) -> None:
    family, tokenizer = FAMILIES[name], TOKENIZERS[name]
    (sequence,) = Encoder(tokenizer).encode(make_conversation(chat_for(family)))
    assert byte_flags(sequence, tokenizer) == expected_flags(family.oracle(chat_for(family)))
    trained = sequence.labels != IGNORED
    np.testing.assert_array_equal(sequence.labels[trained], sequence.input_ids[trained])
    np.testing.assert_array_equal(trained, sequence.weights > 0)


def test_chatml_mask_written_out_by_hand() -> None:
    tokenizer = TOKENIZERS["chatml"]
    (sequence,) = Encoder(tokenizer).encode(
        make_conversation([("user", "Hi"), ("assistant", "Yo")])
    )
    tokens = [
        "<|im_start|>",
        *"userĊHi",
        "<|im_end|>",
        "Ċ",
        "<|im_start|>",
        *"assistantĊ",
        "Y",
        "o",
        "<|im_end|>",
        "Ċ",
    ]
    assert tokenizer.convert_ids_to_tokens(sequence.input_ids.tolist()) == tokens
    assert sequence.weights.tolist() == [0.0] * (len(tokens) - 4) + [1.0, 1.0, 1.0, 0.0]


MARKS = [
    "<|im_start|>", "<|im_end|>", "<|im_end|>\n<|im_start|>assistant\n", "[INST]", " [/INST]", "</s>", "<s>",
    "<start_of_turn>model\n", "<end_of_turn>", "<|eot_id|>", "<|end|>\n", "<|assistant|>\n", "<eos>", "assistant", "user",
    "\n", " ", "\t", "\u00a0", "\u2028", "\r\n", "\ue0000\ue001", "\ue0001\ue001", "{{ 1 }}", "{% if %}", "Hi", "é", "e\u0301", "ไทย", "👩‍👩‍👧",
]  # fmt: skip


CONTENT = st.lists(
    st.sampled_from(MARKS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    max_size=4,
).map("".join)


@st.composite
def chats(draw: Any, *, system: bool) -> list[tuple[str, str]]:
    contents = st.sampled_from(draw(st.lists(CONTENT, min_size=1, max_size=3))) | CONTENT
    turns = [("system", draw(contents))] if system and draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns += [("user", draw(contents)), ("assistant", draw(contents))]
    return turns


PLAIN = [name for name in FAMILIES if name not in {"qwen3", "deepseek"}]


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(PLAIN), data=st.data(), note=st.booleans())
def test_masks_are_exact_whatever_the_contents_hold(
    name: str, data: st.DataObject, note: bool
) -> None:
    family = FAMILIES[name]
    turns = data.draw(chats(system=family.system))
    assume(any(role == "assistant" and content.strip() for role, content in turns))
    row = make_conversation(turns)
    if note:  # a key that no template here reads keeps the shortcut from being taken
        row = replace(row, messages=tuple(replace(m, extra={"note": "x"}) for m in row.messages))
    (sequence,) = Encoder(TOKENIZERS[name], max_tokens=100_000).encode(row)
    assert byte_flags(sequence, TOKENIZERS[name]) == expected_flags(family.oracle(turns))


THOUGHTS = st.sampled_from(["<think>", "</think>", "<think>\nhm\n</think>\n\n", "\n"])


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(["qwen3", "deepseek"]), data=st.data())
def test_masks_of_templates_that_rewrite_reasoning_are_exact_or_refused(
    name: str, data: st.DataObject
) -> None:
    family = FAMILIES[name]
    turns = [
        (
            role,
            data.draw(THOUGHTS) + content
            if role == "assistant" and data.draw(st.booleans())
            else content,
        )
        for role, content in data.draw(chats(system=True))
    ]
    assume(any(role == "assistant" and content.strip() for role, content in turns))
    sequences: list[Sequence] = []
    with suppress(DataError):
        sequences = Encoder(TOKENIZERS[name], max_tokens=100_000).encode(make_conversation(turns))
    assume(sequences)
    assert byte_flags(sequences[0], TOKENIZERS[name]) == expected_flags(family.oracle(turns))


@pytest.mark.parametrize("name", ["qwen3", "deepseek"])
def test_reasoning_is_trained_on_in_the_last_turn_and_dropped_with_a_note_in_earlier_ones(
    name: str,
) -> None:
    answer = "<think>\nSomething polite.\n</think>\n\nHello"
    turns = [("user", "Hi"), ("assistant", answer), ("user", "Bye"), ("assistant", answer)]
    encoded = Encoder(TOKENIZERS[name]).encode_rows([make_conversation(turns)])
    assert byte_flags(encoded.sequences[0], TOKENIZERS[name]) == expected_flags(
        FAMILIES[name].oracle(turns)
    )
    assert list(encoded.notes) == [
        "part of a message (assistant) is left out or rewritten by the template"
    ]


def test_reasoning_that_the_template_sets_anew_is_still_located() -> None:
    turns = [("user", "Hi"), ("assistant", "<think>Polite?</think>Hello")]
    (sequence,) = Encoder(TOKENIZERS["qwen3"]).encode(make_conversation(turns))
    text, flags = byte_flags(sequence, TOKENIZERS["qwen3"])
    trained = bytes(byte for byte, flag in zip(text, flags, strict=True) if flag)
    assert trained == b"<think>\nPolite?\n</think>\n\nHello<|im_end|>"


def test_a_template_without_an_end_of_turn_is_refused() -> None:
    bare = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    with pytest.raises(DataError, match="never learn to stop"):
        Encoder(TOKENIZERS["chatml"], template=bare).encode(make_conversation(CHAT))


def test_a_template_that_refuses_a_row_is_quoted_with_the_row() -> None:
    with pytest.raises(
        DataError, match=r"refuses the row: System role not supported \(test row 0\)"
    ):
        Encoder(TOKENIZERS["gemma"]).encode(make_conversation(CHAT))


def test_a_template_that_changes_the_answer_is_refused() -> None:
    shouting = FAMILIES["chatml"].template.replace("message.content", "message.content | upper")
    with pytest.raises(DataError, match="cannot be located in the given chat template"):
        Encoder(TOKENIZERS["chatml"], template=shouting).encode(make_conversation(CHAT))


def test_a_template_that_writes_the_answer_twice_is_refused() -> None:
    double = FAMILIES["chatml"].template.replace(
        "message.content", "message.content + message.content"
    )
    with pytest.raises(DataError, match="2 times"):
        Encoder(TOKENIZERS["chatml"], template=double).encode(make_conversation(CHAT))


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"town": "Rome"}}}


TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\n' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% for call in m.tool_calls or [] %}"
    "{{ '\n<tool_call>' + (call.function | tojson) + '</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_tool_calls_are_trained_on_with_the_answer() -> None:
    messages = (
        Message(role="user", content="Weather in Rome?"),
        Message(role="assistant", content="", extra={"tool_calls": [CALL]}),
        Message(role="tool", content="sunny"),
        Message(role="assistant", content="Sunny."),
    )
    tools = ({"type": "function", "function": {"name": "weather"}},)
    encoder = Encoder(TOKENIZERS["chatml"], template=TOOLS)
    encoded = encoder.encode_rows([Conversation(messages=messages, origin=HERE, tools=tools)])
    call = '\n<tool_call>{"name": "weather", "arguments": {"town": "Rome"}}</tool_call><|im_end|>'
    assert trained_text(encoded.sequences[0], TOKENIZERS["chatml"]) == call + "Sunny.<|im_end|>"
    assert not encoded.notes


def test_tool_calls_that_the_template_leaves_out_are_refused_and_tools_noted() -> None:
    tools = ({"type": "function", "function": {"name": "weather"}},)
    plain = make_conversation(CHAT, tools=tools)
    encoded = Encoder(TOKENIZERS["chatml"]).encode_rows([plain])
    assert list(encoded.notes) == ["tool descriptions are left out by the template"]
    messages = (
        Message(role="user", content="?"),
        Message(role="assistant", content="", extra={"tool_calls": [CALL]}),
    )
    with pytest.raises(DataError, match="leaves out the tool calls"):
        Encoder(TOKENIZERS["chatml"]).encode(Conversation(messages=messages, origin=HERE))


def test_reasoning_content_is_part_of_the_answer() -> None:
    template = FAMILIES["chatml"].template.replace(
        "message.content",
        "('<think>' + message.reasoning_content + '</think>' if message.reasoning_content else '') + message.content",
    )
    answer = Message(role="assistant", content="Four.", extra={"reasoning_content": "2+2"})
    row = Conversation(messages=(Message(role="user", content="2+2?"), answer), origin=HERE)
    (sequence,) = Encoder(TOKENIZERS["chatml"], template=template).encode(row)
    assert trained_text(sequence, TOKENIZERS["chatml"]) == "<think>2+2</think>Four.<|im_end|>"
