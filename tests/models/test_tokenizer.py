"""Tokenizers: padding that is not the end token, and their templates."""

from pathlib import Path

import pytest
from factories import make_tokenizer, save_model

from xtune.errors import ModelError
from xtune.models.tokenizer import load_tokenizer, pad_token_id
from xtune.recipe.models import Model


def load(folder: Path, template: str | None = None):
    return load_tokenizer(Model(name=str(folder)), template)


def test_a_declared_padding_token_is_kept(tmp_path: Path) -> None:
    tokenizer = load(save_model(tmp_path / "base"))
    assert (tokenizer.pad_token, pad_token_id(tokenizer)) == ("<|pad|>", 259)


@pytest.mark.parametrize("pad", [None, "<|endoftext|>"], ids=["none", "the end token"])
def test_a_spare_token_becomes_the_padding_where_it_would_be_the_end_token(
    tmp_path: Path, pad: str | None
) -> None:
    made = make_tokenizer(pad=pad)
    tokenizer = load(save_model(tmp_path / "base", tokenizer=made))
    assert tokenizer.pad_token == "<|pad|>"  # in the vocabulary, and of a usual name
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert len(tokenizer) == len(made)


def test_an_unused_token_serves_when_none_is_named_padding(tmp_path: Path) -> None:
    made = make_tokenizer(pad=None)
    state = made.backend_tokenizer.to_str().replace("<|pad|>", "<|reserved_special_token_0|>")
    made = make_tokenizer_from(state)
    tokenizer = load(save_model(tmp_path / "base", tokenizer=made))
    assert tokenizer.pad_token == "<|reserved_special_token_0|>"


def make_tokenizer_from(state: str):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(state), eos_token="<|endoftext|>"
    )


def test_without_a_spare_token_rows_are_padded_with_id_zero(tmp_path: Path) -> None:
    made = make_tokenizer(pad=None)
    made = make_tokenizer_from(made.backend_tokenizer.to_str().replace("<|pad|>", "<|tool|>"))
    tokenizer = load(save_model(tmp_path / "base", tokenizer=made))
    assert tokenizer.pad_token is None
    assert pad_token_id(tokenizer) == 0


def test_a_template_file_replaces_the_tokenizers_own(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base")
    path = tmp_path / "own.jinja"
    path.write_text("{% for m in messages %}Ünïcode {{ m.content }}{% endfor %}", encoding="utf-8")
    text = load(folder, str(path)).apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False
    )
    assert text == "Ünïcode x"
    load(folder, str(path)).save_pretrained(tmp_path / "saved")
    saved = (tmp_path / "saved" / "chat_template.jinja").read_text(encoding="utf-8")
    assert saved == path.read_text(encoding="utf-8")
    with pytest.raises(ModelError, match=r"`data\.template` is .*nothing.jinja"):
        load(folder, str(tmp_path / "nothing.jinja"))


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"tokenizer"):
        load(folder)
