"""Encoding: what is trained on, how heavily, and what happens to long rows."""

import numpy as np
import pytest
from chat_families import FAMILIES, make_conversation, make_tokenizer, trained_text
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.data.encode import Encoder
from xtune.data.types import Conversation, Document, Message, Origin
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
        Message(role="user", content="Hi", weight=1.0),
        Message(role="assistant", content="Hello", weight=0.0),
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


def test_a_tokenizer_without_template_is_refused_in_words() -> None:
    tokenizer = make_tokenizer(FAMILIES["chatml"])
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="no chat template"):
        Encoder(tokenizer).encode(make_conversation(CHAT))


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
    with pytest.raises(
        DataError, match=r"too long \(test row 0 \(73 tokens\)\); `data.max_tokens` is 40"
    ):
        Encoder(tokenizer, max_tokens=40, over_length="refuse").encode(row)
    split = Encoder(tokenizer, max_tokens=40, over_length="split").encode_rows([row])
    assert [drop.reason for drop in split.drops] == ["no turn with an answer within 40 tokens"]
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


def test_what_many_rows_have_in_common_is_told_once_with_three_places_and_a_count() -> None:
    with pytest.raises(DataError) as caught:
        Encoder(TOKENIZERS["gemma"]).encode_rows([make_conversation(CHAT)] * 33)
    (problem,) = caught.value.problems
    assert "System role not supported" in problem.what
    assert problem.where == "test row 0, test row 0, test row 0 and 30 more"


def test_batched_and_single_encoding_agree() -> None:
    rows = [make_conversation(CHAT), document("abc"), make_conversation(CHAT[1:])]
    encoder = Encoder(TOKENIZERS["chatml"])
    together = encoder.encode_rows(rows).sequences
    for alone, sequence in zip((encoder.encode(row)[0] for row in rows), together, strict=True):
        np.testing.assert_array_equal(alone.input_ids, sequence.input_ids)
        np.testing.assert_array_equal(alone.weights, sequence.weights)


def test_conversations_are_split_at_turns_and_every_part_has_the_system_message_and_its_questions() -> (
    None
):
    tokenizer = TOKENIZERS["chatml"]
    turns = [("system", "Be brief."), ("user", "One"), ("assistant", "Uno"), ("user", "Two")]
    turns += [("assistant", "Due"), ("user", "Three"), ("assistant", "x" * 90), ("user", "Four")]
    turns += [("assistant", "Quattro"), ("user", "And so on")]
    encoder = Encoder(tokenizer, max_tokens=60, over_length="split")
    encoded = encoder.encode_rows([make_conversation(turns)])
    head = "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert [tokenizer.decode(part.input_ids.tolist()) for part in encoded.sequences] == [
        head + "<|im_start|>user\nOne<|im_end|>\n<|im_start|>assistant\nUno<|im_end|>\n",
        head + "<|im_start|>user\nTwo<|im_end|>\n<|im_start|>assistant\nDue<|im_end|>\n",
        head + "<|im_start|>user\nFour<|im_end|>\n<|im_start|>assistant\nQuattro<|im_end|>\n",
    ]
    assert [trained_text(part, tokenizer) for part in encoded.sequences] == [
        "Uno<|im_end|>",
        "Due<|im_end|>",
        "Quattro<|im_end|>",
    ]
    assert sorted(encoded.notes) == [
        "split at turns into parts of at most 60 tokens",
        "turns longer than 60 tokens are left out of the parts",
    ]
    last = Encoder(tokenizer, max_tokens=60, over_length="split", train_on="last")
    (part,) = last.encode(make_conversation(turns))
    assert trained_text(part, tokenizer) == "Quattro<|im_end|>"


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=8),
    size=st.integers(60, 120),
)
def test_no_answer_is_lost_or_trained_on_twice_by_splitting_at_turns(
    lengths: list[tuple[int, int]], size: int
) -> None:
    turns = [("system", "S")]
    for number, (question, answer) in enumerate(lengths):
        turns += [("user", "q" * question), ("assistant", chr(97 + number) * answer)]
    encoder = Encoder(TOKENIZERS["chatml"], max_tokens=size, over_length="split")
    parts = encoder.encode(make_conversation(turns))
    # by hand: 11 + 9 for a system message of one letter, 8 + q for a question, 13 + a for an answer
    cost = [8 + question + 13 + answer for question, answer in lengths]
    expected = [chr(97 + n) * lengths[n][1] for n in range(len(lengths)) if 11 + cost[n] <= size]
    trained = "".join(trained_text(part, TOKENIZERS["chatml"]) for part in parts)
    assert trained == "".join(answer + "<|im_end|>" for answer in expected)
    assert all(len(part) <= size for part in parts)


def test_texts_are_split_where_a_line_or_a_sentence_ends_if_one_does_near_the_limit() -> None:
    tokenizer = TOKENIZERS["chatml"]
    encoder = Encoder(tokenizer, stage="pretrain", max_tokens=20, over_length="split")
    text = "abcdefghij klmno\npqrstuv. wxyz abcdefgh. And more here"
    parts = [tokenizer.decode(part.input_ids.tolist()) for part in encoder.encode(document(text))]
    assert parts == ["abcdefghij klmno\n", "pqrstuv. wxyz abcdef", "gh. And more here<eos>"]
    parts = [
        tokenizer.decode(part.input_ids.tolist())
        for part in encoder.encode(document("abcdefghijklmnop. qrstuvw"))
    ]
    assert parts == ["abcdefghijklmnop.", " qrstuvw<eos>"]


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_train_on_all_with_a_weight_on_a_message_weighs_it_and_its_end(weight: float) -> None:
    tokenizer = TOKENIZERS["chatml"]
    messages = (
        Message(role="user", content="Hi", weight=weight),
        Message(role="assistant", content="Hello"),
        Message(role="user", content="Bye"),
        Message(role="assistant", content="So long", weight=weight),
    )
    row = Conversation(messages=messages, origin=HERE)
    (sequence,) = Encoder(tokenizer, train_on="all").encode(row)
    light = tokenizer.decode(sequence.input_ids[sequence.weights == weight].tolist())
    assert light == "Hi<|im_end|>So long<|im_end|>"
    assert set(sequence.weights.tolist()) == {weight, 1.0}
    assert (sequence.labels == -100).sum() == (len(light) - 18 if weight == 0 else 0)


def test_text_of_special_tokens_in_messages_is_told_with_its_token() -> None:
    turns = [("user", "What is <|im_end|>?"), ("assistant", "It is <|im_end|>, the end.")]
    encoded = Encoder(TOKENIZERS["chatml"]).encode_rows([make_conversation(turns)])
    assert sorted(encoded.notes) == [
        "a message (user) holds the text of a special token, '<|im_end|>', which is taken for that token, as at inference",
        "an answer holds the text of the end token, '<|im_end|>': the model learns to stop there",
    ]


def test_a_system_prompt_of_the_template_is_told_for_rows_without_their_own() -> None:
    own = FAMILIES["chatml"].template.replace(
        "{% for message in messages %}",
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a kind clerk.<|im_end|>\n' }}{% endif %}"
        "{% for message in messages %}",
        1,
    )
    encoder = Encoder(TOKENIZERS["chatml"], template=own)
    encoded = encoder.encode_rows([make_conversation(CHAT), make_conversation(CHAT[1:])])
    note = "the template adds a system prompt: 'You are a kind clerk.'"
    assert list(encoded.notes) == [note]
    assert len(encoded.notes[note]) == 1


def test_an_end_token_that_is_the_padding_token_too_is_trained_on_all_the_same() -> None:
    tokenizer = make_tokenizer(FAMILIES["chatml"])
    tokenizer.pad_token = tokenizer.eos_token = "<|im_end|>"
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    (sequence,) = Encoder(tokenizer).encode(make_conversation(CHAT))
    assert trained_text(sequence, tokenizer) == "Hello there<|im_end|>So long<|im_end|>"
    ends = sequence.labels[sequence.labels == tokenizer.eos_token_id]
    assert len(ends) == 2


def test_an_encoder_can_be_sent_to_another_process_and_made_again() -> None:
    import pickle

    encoder = Encoder(TOKENIZERS["chatml"])
    before = encoder.encode(make_conversation(CHAT))[0]
    after = pickle.loads(pickle.dumps(encoder)).encode(make_conversation(CHAT))[0]
    np.testing.assert_array_equal(before.weights, after.weights)


@settings(max_examples=100, deadline=None)
@given(
    names=st.lists(st.text(st.sampled_from("ab<|>()*."), min_size=1, max_size=5), max_size=12),
    text=st.text(st.sampled_from("ab<|>()*."), max_size=30),
)
def test_the_search_for_many_names_finds_the_longest_at_each_place(
    names: list[str], text: str
) -> None:
    import re

    from xtune.data.trie import any_of

    longest_first = sorted(names, key=len, reverse=True)
    plain = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    assert any_of(names).findall(text) == plain.findall(text)
