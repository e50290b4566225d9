"""From characters to tokens: vocabularies whose tokens span several characters."""

from pathlib import Path

import pytest
from chat_families import (
    FAMILIES,
    Family,
    byte_flags,
    expected_flags,
    make_conversation,
    make_tokenizer,
)
from file_rows import read_rows
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from xtune.data.encode import Encoder
from xtune.data.sources import find_files
from xtune.data.types import Conversation

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


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


@pytest.mark.shared
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="third-party files lie beside the repository, not here"
)
@pytest.mark.parametrize("folder", ["gpt_neox_20b", "torchtune_2k"])
@pytest.mark.parametrize("name", ["chatml", "llama3", "phi"])
def test_real_rows_with_real_vocabularies_give_back_their_answers(folder: str, name: str) -> None:
    family = FAMILIES[name]
    file = SHARED / "tokenizers" / folder / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), eos_token="<eos>")
    names = [token for token in (*family.specials, family.bos) if token]
    tokenizer.add_special_tokens({"extra_special_tokens": names})
    tokenizer.bos_token = family.bos
    tokenizer.chat_template = family.template
    source = str(SHARED / "formats" / "fastchat" / "dummy_conversation.json")
    rows = [row for row in read_rows(find_files([source]))[:40] if isinstance(row, Conversation)]
    encoded = Encoder(tokenizer, max_tokens=100_000).encode_rows(rows)
    for row, sequence in zip(rows, encoded.sequences, strict=True):
        segments = family.oracle([(message.role, message.content) for message in row.messages])
        expected = "".join(text for text, trained in segments if trained)
        ids = sequence.input_ids[sequence.weights > 0].tolist()
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == expected
