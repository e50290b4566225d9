"""Templates that take contents as parts, or arguments as JSON text: masks by hand, and the shape that is found."""

import json

import pytest
from chat_families import FAMILIES, Family, byte_flags, expected_flags, make_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from xtune.data.encode import Encoder
from xtune.data.template import ChatTemplate
from xtune.data.types import Conversation, Message, Origin
from xtune.data.wants import Wants

HEAD = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
TAIL = "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
PARTS = {
    "loop": "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}",
    "first": "{{ m.content[0].text }}",
    "select": "{% for p in m.content | selectattr('type', 'equalto', 'text') %}{{ p['text'] }}{% endfor %}",
}
ARGUMENTS = {
    "plus": "{{ '{\"name\": \"' + c.function.name + '\", \"arguments\": ' + c.function.arguments + '}' }}",
    "print": '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments }}}',
}


def family(body: str) -> Family:
    return Family(
        name="made",
        template=HEAD + body + TAIL,
        specials=("<|im_start|>", "<|im_end|>"),
        oracle=lambda _: [],
    )


def row(*messages: Message) -> Conversation:
    return Conversation(messages=messages, origin=Origin(source="rows.jsonl", row=0))


@pytest.mark.parametrize("name", PARTS)
@given(
    question=st.text(max_size=20),
    answer=st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=20),
)
def test_text_is_given_as_parts_where_a_template_takes_nothing_else(
    name: str, question: str, answer: str
) -> None:
    tokenizer = make_tokenizer(family(PARTS[name]))
    (sequence,) = Encoder(tokenizer).encode(
        row(Message(role="user", content=question), Message(role="assistant", content=answer))
    )
    expected = [
        (f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", False),
        (f"{answer}<|im_end|>", True),
        ("\n", False),
    ]
    assert byte_flags(sequence, tokenizer) == expected_flags(expected)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_json_text_where_an_object_fails_or_comes_out_as_python(name: str) -> None:
    body = "{{ m.content }}{% for c in m.tool_calls or [] %}" + ARGUMENTS[name] + "{% endfor %}"
    tokenizer = make_tokenizer(family(body))
    call = {
        "type": "function",
        "function": {"name": "weather", "arguments": {"town": "Zürich", "days": 3}},
    }
    (sequence,) = Encoder(tokenizer).encode(
        row(
            Message(role="user", content="Hi"),
            Message(role="assistant", content="", extra={"tool_calls": [call]}),
        )
    )
    written = json.dumps(
        {"name": "weather", "arguments": {"town": "Zürich", "days": 3}}, ensure_ascii=False
    )
    expected = [
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", False),
        (f"{written}<|im_end|>", True),
        ("\n", False),
    ]
    assert byte_flags(sequence, tokenizer) == expected_flags(expected)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_templates_that_take_texts_get_texts(name: str) -> None:
    assert ChatTemplate(make_tokenizer(FAMILIES[name])).wants() == Wants()


def test_a_template_that_takes_objects_gets_objects() -> None:
    body = "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}"
    assert ChatTemplate(make_tokenizer(family(body))).wants() == Wants()
