"""The fast tokenizer gives the ids and the letters of each token that `tokenizers` gives, or is not used."""

import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fast_kinds import KINDS, SPECIALS, WORDS, make_kind
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from xtune.data.comparing import SAMPLE, Comparisons, compare, probe
from xtune.data.fast_tokens import FastTokenizer, Unsuitable
from xtune.data.types import Conversation, Document, Message, Origin

FAST = {kind: FastTokenizer(make_kind(kind).to_str()) for kind in KINDS}

PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from([*WORDS.split(" "), *SPECIALS, " ", "  ", "\n", "\r\n", "'s", "'S", "12", "é", "e\u0301"]),
    st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x24F), max_size=8),
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_ids_and_letters_are_those_of_tokenizers(kind: str, texts: list[str]) -> None:
    tokenizer, tiles = make_kind(kind), FAST[kind].encode(texts)
    assert compare(texts, texts, tiles, tokenizer) is None
    for number, (text, encoding) in enumerate(zip(texts, tokenizer.encode_batch(texts), strict=True)):  # fmt: skip
        part = slice(tiles.first[number], tiles.first[number + 1])
        if kind in {"gpt2", "trimmed", "llama"}:
            assert tiles.sound[number]  # no text is normalized
        if not tiles.sound[number]:
            continue
        assert tiles.ids[part].tolist() == encoding.ids
        raw = text.encode()
        # a token begins and ends within the letters that `tokenizers` names, blanks at its beginning aside
        for start, end, (first, last) in zip(tiles.starts[part], tiles.ends[part], encoding.offsets, strict=True):  # fmt: skip
            begin = int(tiles.begins[number])
            letters = raw[: int(end) - begin].decode(errors="ignore")
            assert len(letters) in {last, last - 1}
            assert len(raw[: int(start) - begin].decode(errors="ignore")) <= first


def test_a_text_that_would_be_normalized_is_not_sound() -> None:
    tiles = FAST["qwen"].encode(["cafe\u0301", "caf\u00e9", "\u2126"])
    assert tiles.sound.tolist() == [False, True, False]  # the Ohm sign is normalized to Omega


def test_texts_around_an_unsound_one_keep_their_places() -> None:
    texts = ["the lamp", "cafe\u0301 \u2126", "", "the harbour"]
    tiles = FAST["demo"].encode(texts)
    assert tiles.sound.tolist() == [True, False, True, True]
    assert np.all(np.diff(tiles.ends) >= 0)
    assert compare(texts, texts, tiles, make_kind("demo")) is None


def test_a_tokenizer_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(FAST["llama"]))
    one, other = again.encode([WORDS]), FAST["llama"].encode([WORDS])
    assert one.ids.tolist() == other.ids.tolist()
    assert one.sound.all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_probe_finds_nothing_in_a_tokenizer_that_is_read_rightly(kind: str) -> None:
    probe(FAST[kind], make_kind(kind))  # raises Unsuitable where a text is cut differently


def _altered(kind: str, change: Callable[[dict[str, Any]], None]) -> str:
    described = json.loads(make_kind(kind).to_str())
    change(described)
    return json.dumps(described)


def _pattern(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(described: dict[str, Any]) -> None:
        split = described["pre_tokenizer"]["pretokenizers"][0]["pattern"]
        assert old in split["Regex"]
        split["Regex"] = split["Regex"].replace(old, new)

    return change


def _no_merge(described: dict[str, Any]) -> None:
    merges = described["model"]["merges"]
    del merges[merges.index(["t", "he"])]


ALTERED = {
    "digits in twos": ("llama", _pattern("{1,3}", "{1,2}")),
    "letters of ASCII only": ("qwen", _pattern(r"\p{L}+", "[A-Za-z]+")),
    "blanks before a word": ("llama", _pattern(r"|\s+(?!\S)", "")),
    "line ends after punctuation": ("llama", _pattern(r"]+[\r\n]*", "]+")),
    "a merge less": ("gpt2", _no_merge),
    "a special token less": ("gpt2", lambda d: d["added_tokens"].pop()),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_the_probe_finds_a_tokenizer_that_is_read_wrongly(name: str) -> None:
    kind, change = ALTERED[name]
    fast = FastTokenizer(_altered(kind, change))
    with pytest.raises(Unsuitable, match="differs from tokenizers on a text made to try it, near"):
        probe(fast, make_kind(kind))


def test_the_probe_finds_tokens_that_stand_for_other_letters() -> None:
    tokenizer = _with("trimmed")
    tokenizer.add_special_tokens([AddedToken("<|odd|> ", special=True)])
    described = json.loads(tokenizer.to_str())
    probe(FastTokenizer(json.dumps(described)), tokenizer)
    described["post_processor"] = None  # so that the blank is not left out
    with pytest.raises(Unsuitable, match="near"):
        probe(FastTokenizer(json.dumps(described)), tokenizer)


def _metaspace() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab={"▁": 0, "a": 1}, merges=[], byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def _with(kind: str, **parts: Any) -> Tokenizer:
    tokenizer = Tokenizer.from_str(make_kind(kind).to_str())
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def _truncating() -> Tokenizer:
    tokenizer = _with("gpt2")
    tokenizer.enable_truncation(5)
    return tokenizer


UNSUITABLE: dict[str, Callable[[], Tokenizer]] = {
    "WordPiece": lambda: Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")),
    "Unigram": lambda: Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0)),
    "WordLevel": lambda: Tokenizer(models.WordLevel({"a": 0}, unk_token="a")),
    "SentencePiece's BPE": _metaspace,
    "a prefix space": lambda: _with("gpt2", pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "NFKC": lambda: _with("gpt2", normalizer=normalizers.NFKC()),
    "lower case": lambda: _with("gpt2", normalizer=normalizers.Lowercase()),
    "truncation": _truncating,
    "a first blank of its own": lambda: _with("gpt2", post_processor=processors.ByteLevel(add_prefix_space=True, trim_offsets=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUITABLE)
def test_other_kinds_are_left_to_tokenizers(name: str) -> None:
    with pytest.raises(Unsuitable):
        FastTokenizer(UNSUITABLE[name]().to_str())


@pytest.mark.parametrize("sides", [{"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"normalized": True}])  # fmt: skip
def test_added_tokens_that_take_blanks_are_equal_or_unsound(sides: dict[str, bool]) -> None:
    tokenizer = _with("qwen")
    tokenizer.add_tokens([AddedToken("<odd>", special=False, **sides)])
    fast = FastTokenizer(tokenizer.to_str())
    texts = ["a <odd> b", "a<odd>b", "a<odd>", " <odd> <odd>\n", "no", "x\u00a0<odd>\u3000y"]
    tiles = fast.encode(texts)
    assert compare(texts, texts, tiles, tokenizer) is None
    assert tiles.sound[4]
    probe(fast, tokenizer)


def test_rows_with_new_letters_and_a_sample_of_the_others_are_compared() -> None:
    here = Origin(source="x", row=0)
    rows = [Document(text="abc", origin=here) for _ in range(4000)]
    rows[100] = Document(text="abcd", origin=here)
    talk = (Message(role="user", content="a", extra={"tool_calls": [{"n": "ж"}]}),)
    rows[200:201] = [Conversation(messages=talk, origin=here)]  # type: ignore[list-item]
    chosen = Comparisons().choose(rows, 0)
    assert {0, 100, 200} <= chosen
    assert 4000 / SAMPLE * 0.6 < len(chosen) < 4000 / SAMPLE * 1.5
    assert Comparisons().choose(rows, 0) == chosen
    seen = Comparisons()
    assert seen.choose(rows[:300], 0) >= {0, 100, 200}
    assert not {0, 1, 2, 3} <= seen.choose(rows[300:400], 300)
