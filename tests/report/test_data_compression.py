"""Tokenizers compared on texts: what is unknown, what is spelt in bytes, and which is best, counted by hand."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune.errors import DataError
from xtune.report.compression import compare_tokenizers


def save(folder: Path, tokenizer: Tokenizer) -> str:
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return str(folder)


@pytest.fixture
def words(tmp_path: Path) -> str:
    """A tokenizer that knows two words and loses all others."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "red": 1, "blue": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return save(tmp_path / "words", tokenizer)


@pytest.fixture
def spelt(tmp_path: Path) -> str:
    """A tokenizer that knows letters of `red` and the space, and spells the rest in bytes."""
    names = ["<unk>", *"red ", *(f"<0x{byte:02X}>" for byte in range(256))]
    model = models.BPE(
        vocab={name: place for place, name in enumerate(names)},
        merges=[],
        unk_token="<unk>",
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return save(tmp_path / "spelt", tokenizer)


def test_unknown_and_byte_tokens_are_told_apart_and_the_best_comes_first(
    tmp_path: Path, words: str, spelt: str
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("red กา red", encoding="utf-8")  # 10 characters, 2 of them of three bytes
    report = compare_tokenizers([spelt, words], [str(file)])
    best, other = report.rows
    assert (best.model, best.tokens, best.unknown_tokens, best.byte_tokens) == (words, 3, 1, 0)
    assert (other.model, other.tokens, other.unknown_tokens, other.byte_tokens) == (
        spelt,
        8 + 6,
        0,
        6,
    )
    assert (best.characters, best.bytes) == (10, 14)
    assert list(report.means()) == [words, spelt]
    assert report.means()[words] == pytest.approx(10 / 3)
    shown = str(report)
    assert "33.3%" in shown  # one of three is unknown
    assert "42.9%" in shown  # six of fourteen are bytes


def test_a_long_file_is_looked_at_from_its_beginning(
    tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtune.report.compression.MOST_CHARACTERS", 8)
    (tmp_path / "long.txt").write_text("red red red red", encoding="utf-8")
    report = compare_tokenizers([words], [str(tmp_path / "long.txt")])
    assert (report.rows[0].characters, report.rows[0].tokens) == (8, 2)
    assert report.cut == (str(tmp_path / "long.txt"),)


def test_xml_gives_its_text_alone_and_says_where_it_is_broken(tmp_path: Path, words: str) -> None:
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_text(
        '<doc xml:lang="xx-YY" note="blue"><p>red</p>\n<p>blue</p></doc>', encoding="utf-8"
    )
    (row,) = compare_tokenizers([words], [str(good)]).rows
    assert (row.language, row.characters, row.tokens) == ("xx", len("red\nblue"), 2)
    bad.write_text("<doc><p>red</doc>", encoding="utf-8")
    with pytest.raises(DataError, match="mismatched tag"):
        compare_tokenizers([words], [str(bad)])
