"""Rows that join and leave a batch, against a plain loop that feeds one prompt without cache, padding or batch."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import transformers
from threads import on_one_thread

from xtune.generate.batcher import Batcher
from xtune.generate.decoding import Decoding
from xtune.generate.row import Row

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Gemma2": {"sliding_window": 8, "query_pre_attn_scalar": 8, "attn_implementation": "eager"},
    "Mistral": {"sliding_window": 6},
    "GPTNeoX": {},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "Bloom": {"n_head": 4, "n_layer": 2},
    "Mamba": {"state_size": 4},
    "Jamba": {
        "num_experts": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "Lfm2": {"full_attn_idxs": [1], "block_auto_adjust_ff_dim": False},
    "Rwkv": {"attention_hidden_size": 32},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with on_one_thread():
        yield


def make_model(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """Random weights, large enough that greedy answers differ between prompts."""
    kind = getattr(transformers, f"{family}{'LMHeadModel' if family == 'GPT2' else 'ForCausalLM'}")
    torch.manual_seed(3)
    model = kind(kind.config_class(**{**SIZES, **FAMILIES[family]}))
    return model.to(dtype).eval()


def by_hand(model: Any, prompt: Sequence[int], count: int) -> list[int]:
    """The likeliest continuation, each token from a whole forward pass."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]


def prompts(count: int = 7) -> list[list[int]]:
    draw = random.Random(5)
    return [
        [draw.randrange(3, 64) for _ in range(draw.choice([1, 3, 9, 20]))] for _ in range(count)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_join_and_leave_get_the_answers_of_rows_alone(family: str) -> None:
    model = make_model(family)
    lengths = [4, 12, 7, 1, 9, 12, 3]
    rows = [
        Row(prompt=prompt, decoding=Decoding(max_new_tokens=length))
        for prompt, length in zip(prompts(), lengths, strict=True)
    ]
    batcher = Batcher(model)
    for joining in (rows[:2], [], rows[2:5], [], rows[5:]):
        batcher.admit(joining)
        batcher.step()
    while batcher.rows:
        batcher.step()
    assert [row.finish for row in rows] == ["length"] * 7
    assert [row.tokens for row in rows] == [
        by_hand(model, row.prompt, len(row.tokens)) for row in rows
    ]
    assert len({tuple(row.tokens[:3]) for row in rows}) > 2


def test_a_row_that_was_removed_goes_on_where_it_was() -> None:
    model = make_model("Llama")
    first, second = (
        Row(prompt=prompt, decoding=Decoding(max_new_tokens=10)) for prompt in prompts(2)
    )
    batcher = Batcher(model)
    batcher.admit([first, second])
    batcher.step()
    batcher.remove([first])
    assert batcher.rows == [second]
    batcher.step()
    assert len(first.tokens) == 2
    batcher.admit([first])
    while batcher.rows:
        batcher.step()
    for row in (first, second):
        assert row.tokens == by_hand(model, row.prompt, 10)


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(max_new_tokens=16),
        Decoding(max_new_tokens=16, temperature=1.2, seed=4),
        Decoding(max_new_tokens=16, temperature=1.0, top_p=0.9, top_k=20, seed=4),
    ],
)
def test_answers_in_16_bits_do_not_depend_on_the_batch(decoding: Decoding) -> None:
    model = make_model("Llama", torch.bfloat16)
    found = []
    alone = 0
    for together in (1, 3, 12):
        batcher = Batcher(model)
        rows = [Row(prompt=p, decoding=decoding, answer=n) for n, p in enumerate(prompts(12))]
        for start in range(0, 12, together):
            batcher.admit(rows[start : start + together])
            while batcher.rows:
                batcher.step()
        found.append([row.tokens for row in rows])
        alone += batcher.computed_alone
    assert found[0] == found[1] == found[2]
    assert 0 < alone < 3 * 12 * 16  # it was needed, and not for everything


def test_tokens_beyond_a_rows_vocabulary_are_not_chosen() -> None:
    model = make_model("Llama")
    rows = [
        Row(prompt=p, decoding=Decoding(max_new_tokens=8, temperature=2.0), vocabulary=10, answer=n)
        for n, p in enumerate(prompts())
    ]
    batcher = Batcher(model)
    batcher.admit(rows)
    while batcher.rows:
        batcher.step()
    chosen = {token for row in rows for token in row.tokens}
    assert chosen <= set(range(10))
    assert len(chosen) > 5


def test_log_probabilities_are_those_of_the_model() -> None:
    model = make_model("Llama")
    row = Row(prompt=[5, 6, 7], decoding=Decoding(max_new_tokens=4), top_logprobs=3)
    batcher = Batcher(model)
    batcher.admit([row])
    while batcher.rows:
        batcher.step()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row.prompt + row.tokens]), use_cache=False).logits[0]
    for place, (token, (logprob, likeliest)) in enumerate(
        zip(row.tokens, row.logprobs, strict=True)
    ):
        expected = logits[len(row.prompt) + place - 1].log_softmax(-1)
        assert logprob == pytest.approx(float(expected[token]), abs=1e-4)
        assert [one for one, _ in likeliest] == expected.topk(3).indices.tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_scored_as_a_whole_pass_has_it(family: str) -> None:
    model = make_model(family)
    batcher = Batcher(model)
    rows = [
        Row(
            prompt=prompt,
            decoding=Decoding(max_new_tokens=length),
            top_logprobs=3,
            scores_prompt=True,
        )
        for prompt, length in zip(prompts(3), (1, 1, 2), strict=True)
    ]
    rows.append(
        Row(prompt=[5, 6], decoding=Decoding(), top_logprobs=1, scores_prompt=True, answers=False)
    )
    batcher.admit(rows)
    while batcher.rows:
        batcher.step()
    assert [len(row.tokens) for row in rows] == [1, 1, 2, 0]
    for row in rows:
        assert row.finish == "length"
        assert row.tokens == by_hand(model, row.prompt, len(row.tokens))
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.prompt]), use_cache=False).logits[0]
        logprobs = logits.log_softmax(-1)
        found = row.prompt_logprobs
        assert found is not None
        assert [one for one, _ in found] == pytest.approx(
            [float(logprobs[place, token]) for place, token in enumerate(row.prompt[1:])], abs=1e-4
        )
        for place, (_, likeliest) in enumerate(found):
            best = logprobs[place].topk(len(likeliest))
            assert [value for _, value in likeliest] == pytest.approx(
                best.values.tolist(), abs=1e-4
            )
