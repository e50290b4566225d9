"""Batched and streamed answers, against a plain loop that feeds one prompt without cache, padding or generate."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xtune.evaluate.generate import Decoding, generate, stream
from xtune.generate.batcher import Batcher
from xtune.generate.pieces import Pieces

STOP = 2  # <|im_end|>


def greedy_by_hand(model: Any, prompt: Sequence[int], limit: int) -> list[int]:
    """The likeliest continuation, each token from a whole forward pass."""
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + limit:
            token = int(
                model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()
            )
            if token == STOP:
                break
            ids.append(token)
    return ids[len(prompt) :]


@pytest.fixture(scope="module")
def prompts(tokenizer: Any) -> list[list[int]]:
    texts = [
        "one two",
        "Send 3 lamps to Oslo, please. " * 4,
        "a",
        "東京",
        "ten nine eight seven",
        "{",
        "Oslo " * 9,
    ]
    return [tokenizer(text)["input_ids"] for text in texts]


def test_greedy_answers_are_those_of_single_prompts_whatever_the_batches(
    model: Any, tokenizer: Any, prompts: list[list[int]]
) -> None:
    expected = [
        tokenizer.decode(greedy_by_hand(model, prompt, 24), skip_special_tokens=True)
        for prompt in prompts
    ]
    assert len(set(expected)) > 3
    for rows in (1, 2, 3, 7):
        answers = generate(model, tokenizer, prompts, Decoding(max_new_tokens=24), max_rows=rows)
        assert [answer.text for answer in answers] == expected, rows


def test_an_answer_ends_at_a_stop_token_which_is_not_part_of_it(
    model: Any, tokenizer: Any, prompts: list[list[int]]
) -> None:
    biased = copy.deepcopy(model)
    # with the stop token's row all but equal to another's, it wins wherever that one would, a little earlier
    ids = greedy_by_hand(model, prompts[0], 12)
    with torch.no_grad():
        biased.lm_head.weight[STOP] = 1.01 * model.lm_head.weight[ids[5]]
    expected = [greedy_by_hand(biased, prompt, 12) for prompt in prompts]
    assert any(len(ids) < 12 for ids in expected)
    answers = generate(biased, tokenizer, prompts, Decoding(max_new_tokens=12))
    assert [answer.tokens for answer in answers] == [len(ids) for ids in expected]
    assert [answer.stopped for answer in answers] == [len(ids) < 12 for ids in expected]
    assert not any("<|" in answer.text for answer in answers)


def test_the_settings_that_come_with_a_model_play_no_part(
    model: Any, tokenizer: Any, prompts: list[list[int]]
) -> None:
    chatty = copy.deepcopy(model)
    chatty.generation_config.update(
        repetition_penalty=5.0,
        do_sample=True,
        temperature=9.0,
        min_new_tokens=3,
        no_repeat_ngram_size=1,
    )
    before = chatty.generation_config
    plain = generate(model, tokenizer, prompts, Decoding(max_new_tokens=8))
    assert generate(chatty, tokenizer, prompts, Decoding(max_new_tokens=8)) == plain
    assert chatty.generation_config is before


def test_a_model_in_training_is_in_training_afterwards(
    model: Any, tokenizer: Any, prompts: list[list[int]]
) -> None:
    training = copy.deepcopy(model).train()
    generate(training, tokenizer, prompts[:1], Decoding(max_new_tokens=1))
    assert training.training


def test_sampling_is_repeated_by_its_seed_and_leaves_the_generators_alone(
    model: Any, tokenizer: Any, prompts: list[list[int]]
) -> None:
    state = torch.get_rng_state()
    hot = Decoding(temperature=1.5, max_new_tokens=16, seed=3)
    first = generate(model, tokenizer, prompts, hot)
    assert torch.equal(torch.get_rng_state(), state)
    assert generate(model, tokenizer, prompts, hot) == first
    other = Decoding(temperature=1.5, max_new_tokens=16, seed=4)
    assert generate(model, tokenizer, prompts, other) != first


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}])
def test_sampling_from_the_likeliest_token_alone_is_greedy(
    model: Any, tokenizer: Any, prompts: list[list[int]], narrow: dict[str, Any]
) -> None:
    greedy = generate(model, tokenizer, prompts, Decoding(max_new_tokens=8))
    assert (
        generate(model, tokenizer, prompts, Decoding(temperature=2.0, max_new_tokens=8, **narrow))
        == greedy
    )


def test_sampled_tokens_follow_the_softmax_at_their_temperature(model: Any, tokenizer: Any) -> None:
    prompt = tokenizer("one two")["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
    expected = torch.softmax(logits / 3.0, dim=-1)
    draws = generate(
        model,
        tokenizer,
        [prompt] * 4000,
        Decoding(temperature=3.0, max_new_tokens=1),
        max_rows=4000,
    )
    likeliest = int(expected.argmax())
    text = tokenizer.decode([likeliest])
    seen = sum(draw.text == text for draw in draws) / 4000
    # five standard errors of a share of 4000
    assert seen == pytest.approx(float(expected[likeliest]), abs=5 * (0.25 / 4000) ** 0.5)


def test_a_batch_that_does_not_fit_is_halved(
    model: Any, tokenizer: Any, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = generate(model, tokenizer, prompts, Decoding(max_new_tokens=6))
    sizes: list[int] = []
    real = Batcher.step

    def small_device(batcher: Batcher) -> None:
        sizes.append(len(batcher.rows))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        real(batcher)

    monkeypatch.setattr(Batcher, "step", small_device)
    assert generate(model, tokenizer, prompts, Decoding(max_new_tokens=6)) == whole
    assert sizes[:2] == [7, 3]
    assert max(sizes[2:]) == 1


def test_progress_counts_every_prompt_once(
    model: Any, tokenizer: Any, prompts: list[list[int]]
) -> None:
    counts: list[int] = []
    generate(
        model, tokenizer, prompts, Decoding(max_new_tokens=1), max_rows=3, progress=counts.append
    )
    assert counts == [1] * 7


def test_no_prompts_have_no_answers(model: Any, tokenizer: Any) -> None:
    assert generate(model, tokenizer, []) == []


@pytest.mark.parametrize(
    "decoding", [Decoding(max_new_tokens=40), Decoding(temperature=1.3, max_new_tokens=40)]
)
def test_the_pieces_of_a_stream_are_the_batched_answer(
    model: Any, tokenizer: Any, prompts: list[list[int]], decoding: Decoding
) -> None:
    for prompt in prompts[:4]:
        pieces = list(stream(model, tokenizer, prompt, decoding))
        assert "".join(pieces) == generate(model, tokenizer, [prompt], decoding)[0].text
        assert len(pieces) > 1


def test_a_stream_that_is_closed_leaves_the_model_as_it_was(
    model: Any, tokenizer: Any, prompts: list[list[int]]
) -> None:
    training = copy.deepcopy(model).train()
    pieces = stream(training, tokenizer, prompts[0], Decoding(max_new_tokens=450))
    next(pieces)
    pieces.close()
    assert training.training


def test_an_error_in_the_model_reaches_the_reader_of_the_stream(model: Any, tokenizer: Any) -> None:
    with pytest.raises(IndexError):
        list(stream(model, tokenizer, [10**6], Decoding(max_new_tokens=3)))


@given(text=st.text(max_size=40))
def test_pieces_never_hold_part_of_a_character_and_add_up_to_the_text(
    tokenizer: Any, text: str
) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = Pieces(tokenizer)
    given_out = [piece for token in ids if (piece := pieces.add(token))]
    assert "".join(given_out) + pieces.rest() == tokenizer.decode(ids, skip_special_tokens=True)
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in given_out)
