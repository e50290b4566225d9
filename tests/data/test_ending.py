"""End tokens that the recipe names, for templates that write none behind the last answer: masks and refusals by hand."""

from typing import Any

import pytest
from chat_families import Family, byte_flags, expected_flags, make_conversation, make_tokenizer

from xtune.data.encode import Encoder
from xtune.data.ending import end_turns
from xtune.data.stops import end_tokens
from xtune.data.types import Conversation, Message, Origin
from xtune.errors import DataError

NEXT_SPEAKER = Family(
    name="next_speaker",
    template=(
        "{% for m in messages %}{% if m.role == 'tool' %}{{ '<|observation|>\n' + m.content }}{% else %}"
        "{{ '<|' + m.role + '|>\n' + m.content }}{% for c in m.tool_calls or [] %}"
        "{{ '<call>' + c.function.name + c.function.arguments | tojson + '</call>' }}{% endfor %}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    specials=("<|user|>", "<|assistant|>", "<|system|>", "<|observation|>"),
    oracle=lambda _: [],
)
"""An answer ends where the next speaker's name stands, and the last one nowhere, as GLM's templates do."""

OPEN_END = Family(
    name="open_end",
    template=(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
        "{% if not loop.last %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_end|>\n<|im_start|>assistant\n' }}{% endif %}\n"
    ),
    specials=("<|im_start|>", "<|im_end|>"),
    oracle=lambda _: [],
)
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"town": "Oslo"}}}
TURNS = [("user", "One?"), ("assistant", "Uno."), ("user", "Two?"), ("assistant", "Due.")]


def ended(family: Family, answer: str, call: str | None = None) -> Any:
    tokenizer = make_tokenizer(family)
    end_turns(tokenizer, answer, call)
    return tokenizer


def conversation(*messages: Message) -> Conversation:
    return Conversation(messages=messages, origin=Origin(source="rows.jsonl", row=0, line=1))


def test_the_next_speakers_name_ends_every_answer() -> None:
    tokenizer = ended(NEXT_SPEAKER, "<|user|>")
    (sequence,) = Encoder(tokenizer).encode(make_conversation(TURNS))
    expected = [
        ("<|user|>\nOne?<|assistant|>\n", False),
        ("Uno.<|user|>", True),
        ("\nTwo?<|assistant|>\n", False),
        ("Due.<|user|>", True),
    ]
    assert byte_flags(sequence, tokenizer) == expected_flags(expected)


def test_a_call_ends_in_its_own_token_whether_its_result_follows_or_not() -> None:
    tokenizer = ended(NEXT_SPEAKER, "<|user|>", "<|observation|>")
    question = Message(role="user", content="Oslo?")
    call = Message(role="assistant", content="", extra={"tool_calls": [CALL]})
    written = '<call>weather{"town": "Oslo"}</call><|observation|>'
    (alone,) = Encoder(tokenizer).encode(conversation(question, call))
    head = ("<|user|>\nOslo?<|assistant|>\n", False)
    assert byte_flags(alone, tokenizer) == expected_flags([head, (written, True)])
    rest = [Message(role="tool", content="clear"), Message(role="assistant", content="It is.")]
    (answered,) = Encoder(tokenizer).encode(conversation(question, call, *rest))
    expected = [head, (written, True), ("\nclear<|assistant|>\n", False), ("It is.<|user|>", True)]
    assert byte_flags(answered, tokenizer) == expected_flags(expected)


def test_a_template_that_closes_only_earlier_answers_gets_the_same_end() -> None:
    tokenizer = ended(OPEN_END, "<|im_end|>")
    (sequence,) = Encoder(tokenizer).encode(make_conversation(TURNS))
    expected = [
        ("<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n", False),
        ("Uno.<|im_end|>", True),
        ("\n<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n", False),
        ("Due.<|im_end|>", True),
    ]
    assert byte_flags(sequence, tokenizer) == expected_flags(expected)


@pytest.mark.parametrize(("family", "end"), [(NEXT_SPEAKER, "<|user|>"), (OPEN_END, "<|im_end|>")])
def test_what_inference_sends_is_unchanged_and_generation_stops_at_the_token(
    family: Family, end: str
) -> None:
    plain, tokenizer = make_tokenizer(family), ended(family, end)
    messages = [{"role": role, "content": content} for role, content in TURNS[:3]]
    sent = [
        one.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        for one in (plain, tokenizer)
    ]
    assert sent[0] == sent[1]
    assert end_tokens(tokenizer) == [end]


def test_a_token_is_put_there_once() -> None:
    tokenizer = ended(NEXT_SPEAKER, "<|user|>")
    before = tokenizer.chat_template
    end_turns(tokenizer, "<|user|>", None)
    assert tokenizer.chat_template == before


@pytest.mark.parametrize(
    ("family", "option"),
    [
        (NEXT_SPEAKER, 'data.end_token: "<|user|>"` and `data.call_end_token: "<|observation|>"'),
        (OPEN_END, 'data.end_token: "<|im_end|>"'),
    ],
)
def test_a_refusal_names_the_option_and_the_token(family: Family, option: str) -> None:
    with pytest.raises(DataError) as caught:
        Encoder(make_tokenizer(family)).encode(make_conversation(TURNS[:2]))
    (problem,) = caught.value.problems
    assert "no end-of-turn token" in problem.what
    assert option in problem.advice


def test_a_token_that_the_tokenizer_lacks_is_refused_with_near_ones() -> None:
    with pytest.raises(DataError, match="no special token") as caught:
        end_turns(make_tokenizer(NEXT_SPEAKER), "<|usr|>", None)
    assert "`<|user|>`" in caught.value.problems[0].allowed


def test_a_token_that_the_template_writes_already_is_refused() -> None:
    template = OPEN_END.template.replace("{% if not loop.last %}", "{% if true %}")
    with pytest.raises(DataError, match="of its own accord"):
        end_turns(make_tokenizer(OPEN_END), "<|im_end|>", None, template)


def test_unmaskable_rows_are_dropped_on_demand_and_counted() -> None:
    tokenizer = ended(NEXT_SPEAKER, "<|user|>")
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
        + tokenizer.chat_template
    )
    rows = [make_conversation([("system", "Be terse."), *TURNS]), make_conversation(TURNS)]
    with pytest.raises(DataError, match="No system role") as caught:
        Encoder(tokenizer).encode_rows(rows)
    assert "`data.unmaskable: drop`" in caught.value.problems[0].advice
    encoded = Encoder(tokenizer, unmaskable="drop").encode_rows(rows)
    assert len(encoded.sequences) == 1
    assert [drop.reason for drop in encoded.drops] == [
        "The tokenizer's chat template refuses the row: No system role"
    ]


def test_an_earlier_answer_without_end_is_advised_to_train_on_the_last() -> None:
    template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    tokenizer = make_tokenizer(NEXT_SPEAKER)
    tokenizer.chat_template = template
    end_turns(tokenizer, "<eos>", None)
    with pytest.raises(DataError) as caught:
        Encoder(tokenizer).encode(make_conversation(TURNS))
    assert "`data.train_on: last`" in caught.value.problems[0].advice
    (sequence,) = Encoder(tokenizer, train_on="last").encode(make_conversation(TURNS))
    expected = [
        ("user: One?\nassistant: Uno.\nuser: Two?\nassistant: ", False),
        ("Due.\n<eos>", True),
    ]
    assert byte_flags(sequence, tokenizer) == expected_flags(expected)


@pytest.mark.parametrize(("identity", "accepted"), [("functions.weather:0", True), ("abc", False)])
def test_ids_in_place_of_names_must_hold_them(identity: str, accepted: bool) -> None:
    family = Family(
        name="ids",
        template=NEXT_SPEAKER.template.replace("c.function.name +", "c.id +"),
        specials=NEXT_SPEAKER.specials,
        oracle=lambda _: [],
    )
    row = conversation(
        Message(role="user", content="Oslo?"),
        Message(role="assistant", content="", extra={"tool_calls": [{"id": identity, **CALL}]}),
    )
    encoder = Encoder(ended(family, "<|user|>"))
    if accepted:
        assert encoder.encode(row)
        return
    with pytest.raises(DataError, match="an id must hold the name"):
        encoder.encode(row)
