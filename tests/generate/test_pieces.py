"""Text from tokens of tokenizers that write spaces as part of words, which lose them where a text begins."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune.generate.pieces import Pieces, bytes_of

WORDS = {"<unk>": 0, "</s>": 1, "▁": 2, "▁red": 3, "▁blue": 4, "s": 5, "<0xF0>": 6, "<0x9F>": 7, "<0x99>": 8, "<0x82>": 9}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """As Llama 2's and Mistral's: SentencePiece's spaces, and bytes for characters that no token has."""
    made = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>")


def test_the_bytes_of_tokens_are_those_of_the_text(tokenizer: Any) -> None:
    ids = [3, 5, 4, 2, 6, 7, 8, 9, 4]
    text = "reds blue 🙂 blue"
    assert tokenizer.decode(ids) == text
    written = [bytes_of(tokenizer, token, first=place == 0) for place, token in enumerate(ids)]
    assert b"".join(written).decode() == text
    assert bytes_of(tokenizer, 4) == b" blue"
    assert bytes_of(tokenizer, 1) == b"</s>"


def test_what_goes_on_with_a_text_keeps_its_space(tokenizer: Any) -> None:
    ids = [4, 2, 6, 7, 8, 9]
    for before, written in (((), "blue 🙂"), ((3,), " blue 🙂"), ((3, 5), " blue 🙂")):
        pieces = Pieces(tokenizer, before=before)
        assert "".join(pieces.add(token) for token in ids) + pieces.rest() == written
