"""Masks of conversations against oracles written by hand, for all families of templates."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from chat_families import FAMILIES, Family, Segments, make_conversation, make_tokenizer
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from xtune.data.encode import Encoder
from xtune.data.types import IGNORED, Conversation, Document, Message, Origin, Sequence
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


def byte_flags(sequence: Sequence, tokenizer: PreTrainedTokenizerFast) -> tuple[bytes, list[bool]]:
    """The bytes of a sequence and whether each is trained on, by looking up every single token."""
    letters = {letter: value for value, letter in _bytes_to_letters().items()}
    added = {
        index: token.content.encode() for index, token in tokenizer.added_tokens_decoder.items()
    }
    text, flags = b"", []
    for index, weight in zip(sequence.input_ids.tolist(), sequence.weights.tolist(), strict=True):
        token = tokenizer.convert_ids_to_tokens(index)
        piece = added.get(index) or bytes(letters[letter] for letter in token)
        text += piece
        flags += [weight > 0] * len(piece)
    return text, flags


def _bytes_to_letters() -> dict[int, str]:
    """GPT-2's table: printable bytes stand for themselves, the others for letters from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + n) for n, byte in enumerate(others)
    }


def expected_flags(segments: Segments) -> tuple[bytes, list[bool]]:
    text = "".join(piece for piece, _ in segments).encode()
    return text, [trained for piece, trained in segments for _ in piece.encode()]


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
@given(name=st.sampled_from(PLAIN), data=st.data())
def test_masks_are_exact_whatever_the_contents_hold(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    turns = data.draw(chats(system=family.system))
    assume(any(role == "assistant" and content.strip() for role, content in turns))
    (sequence,) = Encoder(TOKENIZERS[name], max_tokens=100_000).encode(make_conversation(turns))
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


def trained_text(sequence: Sequence, tokenizer: PreTrainedTokenizerFast) -> str:
    return str(tokenizer.decode(sequence.input_ids[sequence.weights > 0].tolist()))


def test_train_on_last_leaves_earlier_answers_out() -> None:
    tokenizer = TOKENIZERS["chatml"]
    (sequence,) = Encoder(tokenizer, train_on="last").encode(make_conversation(CHAT))
    assert trained_text(sequence, tokenizer) == "So long<|im_end|>"


def test_train_on_all_counts_every_token() -> None:
    (sequence,) = Encoder(TOKENIZERS["chatml"], train_on="all").encode(make_conversation(CHAT))
    assert sequence.weights.tolist() == [1.0] * len(sequence)


def test_a_message_of_its_own_mind_overrides_train_on() -> None:
    tokenizer = TOKENIZERS["chatml"]
    messages = (
        Message(role="user", content="Hi", train=True),
        Message(role="assistant", content="Hello", train=False),
        Message(role="user", content="Bye"),
        Message(role="assistant", content="So long"),
    )
    row = Conversation(messages=messages, origin=HERE)
    (sequence,) = Encoder(tokenizer).encode(row)
    assert trained_text(sequence, tokenizer) == "Hi<|im_end|>So long<|im_end|>"
    (sequence,) = Encoder(tokenizer, train_on="all", prompt_loss_weight=0.25).encode(row)
    light = sequence.input_ids[sequence.weights == 0.25].tolist()
    assert tokenizer.decode(light) == "Hello<|im_end|>"


def test_prompt_tokens_keep_their_labels_at_the_weight_asked_for() -> None:
    row = make_conversation(CHAT)
    (plain,) = Encoder(TOKENIZERS["chatml"]).encode(row)
    (weighted,) = Encoder(TOKENIZERS["chatml"], prompt_loss_weight=0.1).encode(row)
    np.testing.assert_array_equal(weighted.labels, weighted.input_ids)
    np.testing.assert_allclose(weighted.weights, np.where(plain.weights > 0, 1.0, 0.1), rtol=1e-6)


def test_the_prompt_is_what_inference_sends() -> None:
    tokenizer = TOKENIZERS["deepseek"]
    ids = Encoder(tokenizer).prompt(make_conversation([("user", "Hi"), ("assistant", "Hello")]))
    assert tokenizer.convert_ids_to_tokens(ids) == [
        "<bos>",
        "<|User|>",
        "H",
        "i",
        "<|Assistant|>",
        *"<think>Ċ",
    ]


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


def test_a_tokenizer_without_template_is_refused_in_words() -> None:
    tokenizer = make_tokenizer(FAMILIES["chatml"])
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="no chat template"):
        Encoder(tokenizer).encode(make_conversation(CHAT))


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


def make_merging_tokenizer(family: Family, *, trim_offsets: bool) -> PreTrainedTokenizerFast:
    """A byte-level BPE whose tokens span several characters, the space before a word among them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(
        ["Hello there So long  Bye   Hi", " Hello there\n\n So long"] * 9, trainer
    )
    names = [name for name in (*family.specials, family.bos, family.eos) if name]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=family.eos, bos_token=family.bos
    )
    fast.chat_template = family.template
    return fast


@pytest.mark.parametrize("trim_offsets", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_of_several_characters_are_cut_at_the_same_places(
    name: str, trim_offsets: bool
) -> None:
    family = FAMILIES[name]
    tokenizer = make_merging_tokenizer(family, trim_offsets=trim_offsets)
    turns = [
        ("user", " Hello  there "),
        ("assistant", "So long   Hello\n\n  there"),
        ("user", "Bye"),
        ("assistant", "   Hi  "),
    ]
    (sequence,) = Encoder(tokenizer).encode(make_conversation(turns))
    assert any(
        len(token) > 4 for token in tokenizer.convert_ids_to_tokens(sequence.input_ids.tolist())
    )
    assert byte_flags(sequence, tokenizer) == expected_flags(family.oracle(turns))


def make_sentencepiece_like() -> PreTrainedTokenizerFast:
    """A BPE over U+2581 with a dummy space before the text, as Llama 2 and Mistral have it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(
        ["Hi", "Hello there", "Bye", "So long", "[INST]", "[/INST]"] * 9, trainer
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>")
    fast.chat_template = FAMILIES["mistral"].template
    return fast


def test_the_first_word_of_an_answer_is_trained_on_though_its_token_begins_with_the_templates_space() -> (
    None
):
    tokenizer = make_sentencepiece_like()
    (sequence,) = Encoder(tokenizer).encode(
        make_conversation([("user", "Hi"), ("assistant", "Hello there")])
    )
    tokens = tokenizer.convert_ids_to_tokens(sequence.input_ids.tolist())
    trained = [token for token, weight in zip(tokens, sequence.weights, strict=True) if weight]
    assert "".join(trained) == "▁Hello▁there</s>"


def test_a_header_token_that_swallows_white_space_of_the_answer_is_not_trained_on() -> None:
    tokenizer = make_tokenizer(FAMILIES["phi"], rstrip=True)
    (sequence,) = Encoder(tokenizer).encode(
        make_conversation([("user", "Hi"), ("assistant", "\n Yo")])
    )
    tokens = tokenizer.convert_ids_to_tokens(sequence.input_ids.tolist())
    trained = [token for token, weight in zip(tokens, sequence.weights, strict=True) if weight]
    assert trained == ["Y", "o", "<|end|>"]


def document(text: str) -> Document:
    return Document(text=text, origin=HERE)


def test_documents_are_trained_on_in_full_with_an_end() -> None:
    tokenizer = TOKENIZERS["chatml"]
    (sequence,) = Encoder(tokenizer, stage="pretrain").encode(document("abc"))
    assert tokenizer.convert_ids_to_tokens(sequence.input_ids.tolist()) == ["a", "b", "c", "<eos>"]
    assert sequence.weights.tolist() == [1.0] * 4
    assert sequence.loss_weight == 3.0


@settings(max_examples=60, deadline=None)
@given(length=st.integers(2, 200), size=st.integers(8, 40))
def test_split_documents_lose_no_token_and_leave_no_lonely_one(length: int, size: int) -> None:
    text = "".join(chr(97 + n % 26) for n in range(length - 1))
    encoder = Encoder(TOKENIZERS["chatml"], stage="pretrain", max_tokens=size, over_length="split")
    parts = encoder.encode(document(text))
    ids = np.concatenate([part.input_ids for part in parts])
    assert TOKENIZERS["chatml"].decode(ids.tolist()) == text + "<eos>"
    assert all(2 <= len(part) <= size for part in parts)


def test_long_rows_are_refused_dropped_truncated_or_split_as_asked() -> None:
    tokenizer, row = (
        TOKENIZERS["chatml"],
        make_conversation([("user", "Hi"), ("assistant", "x" * 50)]),
    )
    with pytest.raises(DataError, match=r"has 73 tokens \(test row 0\); `data.max_tokens` is 40"):
        Encoder(tokenizer, max_tokens=40, over_length="refuse").encode(row)
    with pytest.raises(DataError, match="cannot be split"):
        Encoder(tokenizer, max_tokens=40, over_length="split").encode(row)
    dropped = Encoder(tokenizer, max_tokens=40, over_length="drop").encode_rows([row])
    assert [drop.reason for drop in dropped.drops] == ["longer than 40 tokens"]
    assert not dropped.sequences
    cut = Encoder(tokenizer, max_tokens=40, over_length="truncate").encode_rows([row])
    assert trained_text(cut.sequences[0], tokenizer) == "x" * 19
    assert list(cut.notes) == ["truncated to 40 tokens"]
    parts = Encoder(tokenizer, max_tokens=40, over_length="split", stage="pretrain").encode(row)
    assert [len(part) for part in parts] == [40, 33]


def test_rows_with_nothing_to_train_on_are_dropped_with_a_reason() -> None:
    rows = [
        make_conversation([("user", "Hi")]),
        make_conversation([("user", "Hi"), ("assistant", " ")]),
        make_conversation([("user", "x" * 60), ("assistant", "Yo")]),
        document(" \n"),
    ]
    encoded = Encoder(TOKENIZERS["chatml"], max_tokens=32, over_length="truncate").encode_rows(rows)
    assert [drop.reason for drop in encoded.drops] == [
        "no message to train on",
        "empty answer",
        "empty text",
        "no trained token among the first 32",
    ]
    assert not encoded.sequences


def test_many_faulty_rows_are_told_as_twenty_and_a_count() -> None:
    with pytest.raises(DataError) as caught:
        Encoder(TOKENIZERS["gemma"]).encode_rows([make_conversation(CHAT)] * 33)
    assert len(caught.value.problems) == 21
    assert "And 13 more" in str(caught.value.problems[-1])


def test_batched_and_single_encoding_agree() -> None:
    rows = [make_conversation(CHAT), document("abc"), make_conversation(CHAT[1:])]
    encoder = Encoder(TOKENIZERS["chatml"])
    together = encoder.encode_rows(rows).sequences
    for alone, sequence in zip((encoder.encode(row)[0] for row in rows), together, strict=True):
        np.testing.assert_array_equal(alone.input_ids, sequence.input_ids)
        np.testing.assert_array_equal(alone.weights, sequence.weights)
