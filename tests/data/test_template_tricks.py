"""Masks of templates that play tricks: against oracles by hand, and against characters tracked through Jinja."""

from typing import Any

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
from mask_oracle import FREE, YES, judge
from odd_families import ODD_FAMILIES
from tracked import TrackedTemplate

from xtune.data.encode import Encoder
from xtune.data.types import Conversation, Message, Origin
from xtune.errors import DataError

HERE = Origin(source="rows.jsonl", row=0, line=1)
ALL = FAMILIES | ODD_FAMILIES
TOKENIZERS = {name: make_tokenizer(family) for name, family in ALL.items()}
ENCODERS = {name: Encoder(tokenizer, max_tokens=10**6) for name, tokenizer in TOKENIZERS.items()}
MARKS = [
    "<|end|>", "<|over|>", "<|end|>\n<|assistant|>\n", "[INST]", " [/INST]", "</s>", "<eos>", "<think>", "</think>",
    "<|return|>", "<|eot|>", "assistant", "user", "\n", " ", "\t", "\u3000", "\ue0000\ue001", "𠀀", "가", "{{ 1 }}",
    "Hi", "é", "e\u0301", "ไทย", "👩‍👩‍👧", '{"a": [1]}', "<<SYS>>",
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


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(ODD_FAMILIES)), data=st.data())
def test_masks_are_what_the_layout_says_or_refused(name: str, data: st.DataObject) -> None:
    family = ODD_FAMILIES[name]
    turns = data.draw(chats(system=family.system))
    assume(all(content.strip() for role, content in turns if role == "assistant"))
    try:
        (sequence,) = ENCODERS[name].encode(make_conversation(turns))
    except DataError:
        return
    assert byte_flags(sequence, TOKENIZERS[name]) == expected_flags(family.oracle(turns))


@pytest.mark.parametrize("name", ODD_FAMILIES)
def test_ordinary_conversations_are_never_refused(name: str) -> None:
    for turns in (
        [("user", "Hi"), ("assistant", "Yo")],
        [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello\n\nthere")],
        [("user", "Hi"), ("assistant", "A"), ("user", "Bye"), ("assistant", "Ciao, é 🌍")],
        [("user", "Echo"), ("assistant", "Echo"), ("user", "Echo"), ("assistant", "Echo")],
    ):
        (sequence,) = ENCODERS[name].encode(make_conversation(turns))
        expected = expected_flags(ODD_FAMILIES[name].oracle(turns))
        assert byte_flags(sequence, TOKENIZERS[name]) == expected


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(sorted(ALL)), data=st.data())
def test_no_character_of_another_message_is_ever_trained_on(name: str, data: st.DataObject) -> None:
    turns = data.draw(chats(system=ALL[name].system))
    row = make_conversation(turns)
    try:
        sequences = ENCODERS[name].encode(row)
    except DataError:
        return
    messages = [message.for_template() for message in row.messages]
    tokenizer = TOKENIZERS[name]
    tracked = TrackedTemplate(ALL[name].template, tokenizer.special_tokens_map).render(messages)
    for sequence in sequences:
        _, flags = byte_flags(sequence, tokenizer)
        owners = [
            owner
            for letter, owner in zip(str.__str__(tracked), tracked.owners, strict=True)
            for _ in letter.encode()
        ]
        strangers = [
            owner
            for owner, flag in zip(owners, flags, strict=True)
            if flag and owner is not None and turns[owner[0]][0] != "assistant"
        ]
        assert not strangers


CALL = {
    "type": "function",
    "function": {"name": "weather", "arguments": {"town": 'R"o\nme', "days": 3}},
}
TOOLED = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ '<|im_start|>user\n<result>' + m.content + '</result><|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and m.reasoning_content and "
    "loop.index0 + 1 == messages | length %}{{ '<think>\n' + m.reasoning_content.strip() + '\n</think>\n\n' }}{% endif %}"
    "{{ m.content }}{% for call in m.tool_calls or [] %}{{ '\n<call>' + call.function.name + '\n' }}"
    "{{ call.function.arguments | tojson }}{{ '\n</call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


def conversation(*messages: Message) -> Conversation:
    return Conversation(messages=messages, origin=HERE)


def say(role: str, content: str, **extra: Any) -> Message:
    return Message(role=role, content=content, extra=extra)


def test_calls_results_and_reasoning_in_one_conversation() -> None:
    tokenizer = TOKENIZERS["chatml"]
    row = conversation(
        say("user", "Weather?"),
        say("assistant", "I ask.", tool_calls=[CALL], reasoning_content="Dropped."),
        say("tool", "sunny"),
        say("assistant", "Sunny.", reasoning_content=" It says so. "),
    )
    encoded = Encoder(tokenizer, template=TOOLED).encode_rows([row])
    call = '\n<call>weather\n{"town": "R\\"o\\nme", "days": 3}\n</call><|im_end|>'
    # the generation prompt opens the thought, so that the model does not
    assert trained_text(encoded.sequences[0], tokenizer) == (
        f"I ask.{call}It says so.\n</think>\n\nSunny.<|im_end|>"
    )
    assert "the reasoning of an assistant's message is left out by the template" in encoded.notes


def test_the_oracle_of_tracked_characters_agrees_on_calls() -> None:
    tokenizer = make_tokenizer(FAMILIES["chatml"])
    tokenizer.chat_template = TOOLED
    row = conversation(
        say("user", "Weather?"),
        say("assistant", "", tool_calls=[CALL, CALL]),
        say("tool", "sunny"),
        say("assistant", "Sunny."),
    )
    messages = [message.for_template() for message in row.messages]
    verdict = judge(TrackedTemplate(TOOLED, tokenizer.special_tokens_map), messages, None, [1, 3])
    (sequence,) = Encoder(tokenizer).encode(row)
    text, flags = byte_flags(sequence, tokenizer)
    assert text.decode() == verdict.text
    kinds = [
        kind
        for letter, kind in zip(verdict.text, verdict.kinds, strict=True)
        for _ in letter.encode()
    ]
    assert all(
        kind == FREE or (kind == YES) == flag for kind, flag in zip(kinds, flags, strict=True)
    )


def test_the_oracle_knows_a_message_that_is_written_twice() -> None:
    template = TrackedTemplate("{% for m in messages %}{{ m.content + m.content }}{% endfor %}", {})
    verdict = judge(template, [{"role": "assistant", "content": "a"}], None, [0])
    assert verdict.lost == "message 0 is written twice"


def blocks(inside: str, outside: str = "{{ m.content }}<|im_end|>") -> str:
    return (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
        + inside
        + "{% else %}"
        + outside
        + "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


CHAT = [("user", "Hi"), ("assistant", "Hello there"), ("user", "Bye"), ("assistant", "So long")]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("{{ m.content }}{% generation %}<|im_end|>{% endgeneration %}", "{{ m.content }}<|im_end|>"),
        ("{% generation %}{{ m.content[:3] }}{% endgeneration %}{{ m.content[3:] }}<|im_end|>", "{{ m.content }}<|im_end|>"),
        ("{{ m.content }}<|im_end|>", "{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>"),
        ("{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>", "{{ m.content }}<|im_end|>"),
    ],
    ids=["the end alone", "half of the content", "the user's", "one of two"],
)  # fmt: skip
def test_generation_blocks_that_do_not_hold_the_answers_are_refused(
    inside: str, outside: str
) -> None:
    encoder = Encoder(TOKENIZERS["chatml"], template=blocks(inside, outside))
    with pytest.raises(DataError, match=r"generation %\} block.* message 2.*rows|test row 0"):
        encoder.encode(make_conversation(CHAT))


def test_several_generation_blocks_make_up_one_answer() -> None:
    template = blocks(
        "{% generation %}{{ '<think>' + (m.reasoning_content or '') + '</think>' }}{% endgeneration %}{{ '\n--\n' }}"
        "{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>"
    )
    row = conversation(say("user", "2+2?"), say("assistant", "Four.", reasoning_content="Sum."))
    (sequence,) = Encoder(TOKENIZERS["chatml"], template=template).encode(row)
    text = trained_text(sequence, TOKENIZERS["chatml"])
    assert text == "<think>Sum.</think>Four.<|im_end|>"


def test_a_template_without_end_before_the_next_speaker_is_refused() -> None:
    template = "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|assistant|>' }}{{ m.content }}{% endfor %}"
    with pytest.raises(DataError, match="never learn to stop"):
        Encoder(TOKENIZERS["phi"], template=template).encode(
            make_conversation([*CHAT, ("user", "?")])
        )


def test_content_that_switches_the_generation_prompt_is_seen() -> None:
    template = (
        FAMILIES["chatml"].template.replace("{% if add_generation_prompt %}", "{% if add_generation_prompt %}{{ ''}}")
        .replace("{{ '<|im_start|>assistant\n' }}", "{{ '<|im_start|>assistant\n' }}{% if '/quiet' in messages[-1].content %}{{ 'Ok: ' }}{% endif %}")
    )  # fmt: skip
    encoder = Encoder(TOKENIZERS["chatml"], template=template)
    sequences = encoder.encode_rows(
        [
            make_conversation([("user", question), ("assistant", "Ok: done")])
            for question in ("Please", "Please /quiet")
        ]
    ).sequences
    trained = [trained_text(sequence, TOKENIZERS["chatml"]) for sequence in sequences]
    assert trained == ["Ok: done<|im_end|>", "done<|im_end|>"]


def test_a_fault_in_the_template_is_told_with_its_line() -> None:
    template = "{% for m in messages %}\n{{ m.content }\n{% endfor %}"
    with pytest.raises(DataError, match="unexpected '}' in its line 2"):
        Encoder(make_tokenizer(FAMILIES["chatml"]), template=template).encode(
            Conversation(
                messages=(
                    Message(role="user", content="Q"),
                    Message(role="assistant", content="A"),
                ),
                origin=Origin(source="test", row=0),
            )
        )


def _made(template: str, *specials: str) -> Any:
    return make_tokenizer(Family("made", template, specials, oracle=lambda _: []))


def test_a_call_begins_behind_the_header_though_the_prompt_supplies_an_empty_thought() -> None:
    """As Gemma 4's: the prompt has an empty thought that no rendering has."""
    template = (
        "{% for m in messages %}{{ '<|turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content }}"
        "{% for c in m.tool_calls or [] %}{{ '<|tool_call>call:' + c.function.name + (c.function.arguments | tojson) + '<tool_call|>' }}"
        "{% endfor %}{{ '<turn|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|turn>model\n<|channel>thought\n<channel|>' }}{% endif %}"
    )
    tokenizer = _made(template, "<|turn>", "<turn|>", "<|channel>", "<channel|>")
    row = conversation(say("user", "Rome?"), say("assistant", "", tool_calls=[CALL]))
    (sequence,) = Encoder(tokenizer).encode(row)
    written = '<|tool_call>call:weather{"town": "R\\"o\\nme", "days": 3}<tool_call|><turn|>'
    expected = [
        ("<|turn>user\nRome?<turn|>\n<|turn>model\n", False),
        (written, True),
        ("\n", False),
    ]
    assert byte_flags(sequence, tokenizer) == expected_flags(expected)


def test_a_prompt_that_differs_in_white_space_ends_behind_its_last_letter() -> None:
    template = (
        "{% for m in messages %}{{ ' ' if loop.last else '   ' }}<{{ m.role }}> {{ m.content }} <over>{% endfor %}"
        "{% if add_generation_prompt %}{{ ' <assistant>  ' }}{% endif %}"
    )
    tokenizer = _made(template, "<user>", "<assistant>", "<over>")
    row = make_conversation([("user", "Q"), ("assistant", "A"), ("user", "R"), ("assistant", "B")])
    (sequence,) = Encoder(tokenizer).encode(row)
    expected = [
        ("   <user> Q <over>   <assistant>", False),
        (" A <over>", True),
        ("   <user> R <over> <assistant>", False),
        (" B <over>", True),
    ]
    assert byte_flags(sequence, tokenizer) == expected_flags(expected)
