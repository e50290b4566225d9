"""Rows that the fast tokenizer encodes are, bit for bit, what the usual way makes of them; a difference throws all of it away."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_families import FAMILIES
from factories import make_plan
from fast_kinds import KINDS, WORDS, Forgetful, make_kind
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from xtune.data import choosing
from xtune.data.prepare import Prepared, prepare
from xtune.errors import DataError

TEMPLATE = FAMILIES["chatml"].template


def tokenizer_of(kind: str, template: str = TEMPLATE, **settings: Any) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=make_kind(kind), eos_token="<|im_end|>", pad_token="<|pad|>", **settings
    )
    fast.chat_template = template
    return fast


TOKENIZERS = {kind: tokenizer_of(kind) for kind in KINDS}


def run(source: Path, tokenizer: Any, backend: str, *, stage: str = "sft", **data: Any) -> Prepared:
    settings = {"train": str(source), "max_tokens": 128, "cache": False, "max_dropped": 1.0, **data}
    over_length = settings.get("over_length", "drop")
    recipe = {"stage": stage, "data": {**settings, "tokenizer_backend": backend}, "run": {"seed": 3}}  # fmt: skip
    return prepare(make_plan(recipe, over_length=over_length), tokenizer)


def bits(prepared: Prepared) -> list[Any]:
    """Everything that became of the rows."""
    store = prepared.train
    records = [(s.input_ids.tolist(), s.labels.tolist(), s.weights.tolist(), s.loss_weight, s.origin) for s in store]  # fmt: skip
    fields = [store.field(name).tolist() for name in ("length", "trained", "loss_weight", "ordinal", "digest", "prompt", "run_stop", "stop")]  # fmt: skip
    return [records, fields, prepared.report.train, prepared.report.files]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")  # fmt: skip
    return path


def made_up(count: int, seed: int = 0) -> list[Any]:
    """Conversations of one to three rounds, some with empty, long, unusual and decomposed texts."""
    draw = random.Random(seed)
    odd = ["", " ", "\n\n", "e\u0301", "<|im_end|>", "<|im_start|>user\n", "👍🏽", "</think>", " x ", "\u2126", "ſ'S"]  # fmt: skip
    words = WORDS.split(" ")

    def text() -> str:
        some = draw.choices(words, k=draw.randint(0, 9)) + draw.choices(odd, k=draw.random() < 0.2)
        draw.shuffle(some)
        return draw.choice([" ", "", "\n"]).join(some)

    rows = []
    for _ in range(count):
        turns = [{"role": ("user", "assistant")[n % 2], "content": text()} for n in range(2 * draw.randint(1, 3))]  # fmt: skip
        if draw.random() < 0.2:
            turns.insert(0, {"role": "system", "content": text()})
        if draw.random() < 0.1:
            turns[-1]["weight"] = draw.choice([0, 0.5, 2])
        rows.append({"messages": turns})
    return rows


CHOICES: dict[str, dict[str, Any]] = {
    "plain": {},
    "last": {"train_on": "last"},
    "all": {"train_on": "all"},
    "weighted": {"prompt_loss_weight": 0.1, "train_on": "all"},
    "prompt too": {"prompt_loss_weight": 0.3},
    "truncate": {"over_length": "truncate", "max_tokens": 24},
    "split": {"over_length": "split", "max_tokens": 64},
    "drop": {"over_length": "drop", "max_tokens": 60},
    "pretrain": {"stage": "pretrain", "over_length": "split", "max_tokens": 16},
}


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_gives_what_the_usual_way_gives(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", made_up(400, seed=len(name)))
    for kind in ("qwen", "trimmed")[len(name) % 2 :][:1]:
        usual = run(source, TOKENIZERS[kind], "tokenizers", **CHOICES[name])
        assert len(usual.train) > 50
        fast = run(source, TOKENIZERS[kind], "fastokens", **CHOICES[name])
        assert bits(fast) == bits(usual)
        assert fast.report.tokenizer.rows > 250
        assert usual.report.tokenizer.rows == 0


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.lists(st.text(max_size=30), min_size=2, max_size=6), min_size=1, max_size=8),
    kind=st.sampled_from(KINDS),
)
def test_any_texts_give_what_the_usual_way_gives(
    texts: list[list[str]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [
        {"messages": [{"role": ("user", "assistant")[n % 2], "content": one} for n, one in enumerate(some)]}
        for some in texts
    ]  # fmt: skip
    source = write(tmp_path_factory.mktemp("texts") / "a.jsonl", rows)
    results = []
    for backend in ("tokenizers", "fastokens"):
        try:
            results.append(bits(run(source, TOKENIZERS[kind], backend)))
        except DataError as error:
            results.append([str(error)])
    assert results[0] == results[1]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_of_templates_gives_what_the_usual_way_gives(
    family: str, tmp_path: Path
) -> None:
    made = FAMILIES[family]
    tokenizer = tokenizer_of("llama", made.template, bos_token="<|pad|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(made.specials)})  # type: ignore[arg-type]
    rows = [row for row in made_up(80) if row["messages"][0]["role"] != "system"]
    source = write(tmp_path / "a.jsonl", rows)
    results = []
    for backend in ("tokenizers", "fastokens"):
        try:
            results.append(bits(run(source, tokenizer, backend, max_tokens=200)))
        except DataError as error:
            results.append([str(error)])
    assert results[0] == results[1]


def test_workers_give_what_one_process_gives(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", made_up(2_300))
    usual = run(source, TOKENIZERS["qwen"], "tokenizers", workers=1)
    reports = []
    for workers in (1, 2, 3):
        fast = run(source, TOKENIZERS["qwen"], "fastokens", workers=workers)
        assert bits(fast) == bits(usual)
        reports.append(fast.report.tokenizer)
    assert reports[0] == reports[1] == reports[2]
    assert 2_300 / 64 < reports[0].compared < 400


@pytest.mark.parametrize("workers", [1, 2])
def test_one_difference_has_all_rows_encoded_again(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in made_up(1_500) if "harbour" not in str(row)]
    faulty = {"messages": [{"role": "user", "content": "harbour ж"}, {"role": "assistant", "content": "yes"}]}  # fmt: skip
    rows.insert(700, faulty)  # the first row with this letter, so that it is compared
    source = write(tmp_path / "a.jsonl", rows)
    usual = run(source, TOKENIZERS["llama"], "tokenizers")
    monkeypatch.setattr(choosing, "FastTokenizer", Forgetful)
    monkeypatch.setattr(choosing, "probe", lambda *_: None)
    found = run(source, TOKENIZERS["llama"], "fastokens", workers=workers)
    assert bits(found) == bits(usual)
    assert found.report.tokenizer.rows == 0
    assert f"differs from it on {source}:701, near " in found.report.tokenizer.why
    assert any("fastokens" in line and ":701" in line for line in found.report.lines())


def test_a_fault_of_the_rows_is_told_in_the_same_words(tmp_path: Path) -> None:
    rows = made_up(60)
    rows[7] = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x" * 500}]}  # fmt: skip
    rows[31] = rows[7]
    source = write(tmp_path / "a.jsonl", rows)
    told = []
    for backend in ("tokenizers", "fastokens"):
        with pytest.raises(DataError) as caught:
            run(source, TOKENIZERS["gpt2"], backend, over_length="refuse", max_tokens=256)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "a.jsonl:8" in told[0]


def test_small_data_are_left_to_tokenizers_and_the_choice_is_in_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    source = write(tmp_path / "a.jsonl", made_up(50))
    first = run(source, TOKENIZERS["llama"], "auto", cache=True)
    assert first.report.tokenizer.name.startswith("tokenizers ")
    assert first.report.tokenizer.lines() == []
    forced = run(source, TOKENIZERS["llama"], "fastokens", cache=True)
    assert not forced.report.from_cache
    assert forced.report.tokenizer.name.startswith("fastokens ")
    again = run(source, TOKENIZERS["llama"], "fastokens", cache=True)
    assert again.report.from_cache
    assert again.report.tokenizer == forced.report.tokenizer
    assert not run(source, TOKENIZERS["llama"], "tokenizers", cache=True).report.from_cache


def test_large_data_are_encoded_fast_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "LARGE_BYTES", 1)
    monkeypatch.setattr(choosing, "LARGE_BYTES_PER_TOKEN", 0)
    source = write(tmp_path / "a.jsonl", made_up(50))
    report = run(source, TOKENIZERS["llama"], "auto").report
    assert report.tokenizer.rows > 40
    (line,) = report.tokenizer.lines()
    assert f"for {report.tokenizer.rows} rows" in line


class _Own(PreTrainedTokenizerFast):
    def _encode_plus(self, text: Any, *arguments: Any, **settings: Any) -> Any:
        return super()._encode_plus(text, *arguments, **settings)


def test_a_tokenizer_that_encodes_in_its_own_way_is_left_alone(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", made_up(5))
    own = _Own(tokenizer_object=make_kind("llama"), eos_token="<|im_end|>", chat_template=TEMPLATE)
    with pytest.raises(DataError, match="a way of its own"):
        run(source, own, "fastokens")
    splitting = tokenizer_of("llama", split_special_tokens=True)
    with pytest.raises(DataError, match="splits special tokens"):
        run(source, splitting, "fastokens")


def test_what_an_earlier_call_left_in_the_tokenizer_does_no_harm(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", made_up(40))
    tokenizer = tokenizer_of("llama")
    usual = bits(run(source, tokenizer, "tokenizers"))
    tokenizer(["a b c d e f"], truncation=True, max_length=2, padding="max_length")
    assert bits(run(source, tokenizer, "fastokens")) == usual
    assert np.all(np.array(usual[1][0]) > 2)
