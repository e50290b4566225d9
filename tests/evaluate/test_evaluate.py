"""Loss, perplexity and exact match, against transformers' own loss and hand-made answers."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import xtune
from xtune.data.types import Conversation, Document, Message, Origin
from xtune.errors import DataError, XtuneError
from xtune.evaluate.evaluate import Evaluation, Options, evaluate, evaluation_rows, make_encoder
from xtune.evaluate.generate import Decoding, generate
from xtune.recipe import Recipe

ROWS = [
    ("Send 3 lamps to Oslo, please.", '{"item": "lamp", "count": 3, "city": "Oslo"}'),
    ("one two three", '{"next": "four"}'),
    ("Send lamps, please. " * 3, '{"count": null}'),
]


def conversation(number: int, question: str, answer: str | None) -> Conversation:
    messages = [Message(role="user", content=question)]
    if answer is not None:
        messages.append(Message(role="assistant", content=answer))
    return Conversation(
        messages=tuple(messages), origin=Origin(source="rows.jsonl", row=number, line=number + 1)
    )


def recipe(**data: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"name": "tiny"},
            "method": "lora",
            "data": {"train": ["rows.jsonl"], "max_tokens": 128, **data},
            "train": {"learning_rate": 1e-3},
        }
    )


@pytest.fixture(scope="module")
def rows() -> list[Conversation]:
    return [conversation(number, *row) for number, row in enumerate(ROWS)]


def run(model: Any, tokenizer: Any, rows: Any, **options: Any) -> Evaluation:
    return evaluate(
        model,
        tokenizer,
        rows,
        encoder=make_encoder(recipe(), tokenizer),
        options=Options(**options),
    )


def test_the_loss_is_the_mean_over_all_answer_tokens_with_their_end(
    model: Any, tokenizer: Any, rows: list[Conversation]
) -> None:
    total, count = 0.0, 0
    for question, answer in ROWS:
        prompt = tokenizer(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")[
            "input_ids"
        ]
        ids = torch.tensor([prompt + tokenizer(f"{answer}<|im_end|>")["input_ids"]])
        labels = ids.clone()
        labels[:, : len(prompt)] = -100
        with torch.no_grad():
            mean = float(model(input_ids=ids, labels=labels).loss)  # transformers' own loss
        trained = ids.shape[1] - len(prompt)
        total, count = total + mean * trained, count + trained
    result = run(model, tokenizer, rows, answers=False)
    assert result.loss.weight == count
    assert result.loss.value == pytest.approx(total / count, rel=1e-5)
    assert result.loss.perplexity == pytest.approx(math.exp(total / count), rel=1e-4)
    assert result.answers == ()
    assert result.exact_match is None


def test_answers_are_those_of_generation_from_the_prompt_up_to_the_answer(
    model: Any, tokenizer: Any, rows: list[Conversation]
) -> None:
    prompts = [
        tokenizer(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        for question, _ in ROWS
    ]
    expected = generate(model, tokenizer, prompts, Decoding(max_new_tokens=9))
    result = run(model, tokenizer, rows, decoding=Decoding(max_new_tokens=9))
    assert [answer.answer for answer in result.answers] == [text.text.strip() for text in expected]
    assert [answer.prompt for answer in result.answers] == [question for question, _ in ROWS]
    assert result.answers[1].origin == "rows.jsonl:2"


def test_a_reference_that_the_model_says_is_an_exact_match_and_another_is_not(
    model: Any, tokenizer: Any
) -> None:
    """The model's own answers, cut at the limit, serve as references for all rows but one."""
    decoding = Decoding(max_new_tokens=9)
    prompts = [
        tokenizer(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        for question, _ in ROWS
    ]
    said = [answer.text for answer in generate(model, tokenizer, prompts, decoding)]
    rows = [
        conversation(number, question, "something else" if number == 1 else f"  {text}\n")
        for number, ((question, _), text) in enumerate(zip(ROWS, said, strict=True))
    ]
    result = run(model, tokenizer, rows, decoding=decoding)
    assert [answer.exact for answer in result.answers] == [True, False, True]
    assert result.exact_match is not None
    assert result.exact_match.value == pytest.approx(2 / 3)
    assert result.exact_match.standard_error == pytest.approx(math.sqrt(2 / 9 / 3))
    assert result.json_match is None


def test_answers_are_compared_as_json_when_every_reference_is_json(
    model: Any, tokenizer: Any, rows: list[Conversation]
) -> None:
    result = run(model, tokenizer, rows, decoding=Decoding(max_new_tokens=3))
    assert result.json_match is not None
    assert (result.json_match.right, result.json_match.rows) == (0, 3)
    assert result.cut == 3


def test_texts_have_a_loss_and_no_answers(model: Any, tokenizer: Any) -> None:
    text = "one two three four five"
    result = run(model, tokenizer, [Document(text=text, origin=Origin(source="a.txt", row=0))])
    ids = torch.tensor([tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]])
    with torch.no_grad():
        expected = float(model(input_ids=ids, labels=ids).loss)
    assert result.loss.value == pytest.approx(expected, rel=1e-5)
    assert result.answers == ()
    assert json.loads(json.dumps(result.to_json()))["exact_match"] is None


def test_rows_above_the_longest_sequence_are_left_out_and_counted(
    model: Any, tokenizer: Any, rows: list[Conversation]
) -> None:
    long = conversation(7, "one two " * 200, "four")
    result = run(model, tokenizer, [*rows, long], decoding=Decoding(max_new_tokens=1))
    assert result.rows == len(result.answers) == 3
    assert result.dropped == {"longer than 128 tokens": 1}


def test_the_model_is_in_training_again_afterwards(
    model: Any, tokenizer: Any, rows: list[Conversation]
) -> None:
    model.train()
    try:
        run(model, tokenizer, rows, decoding=Decoding(max_new_tokens=1))
        assert model.training
    finally:
        model.eval()


def test_no_rows_are_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(DataError, match="There are no rows to evaluate on"):
        run(model, tokenizer, [])


def test_rows_without_an_assistant_message_are_refused_with_their_place(
    model: Any, tokenizer: Any
) -> None:
    with pytest.raises(
        DataError, match=r"None of the 1 rows can be evaluated.*rows.jsonl:1.*assistant message"
    ):
        run(model, tokenizer, [conversation(0, "Hello?", None)])


def test_an_empty_file_is_refused_by_name(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match=r"empty\.jsonl"):
        evaluation_rows(recipe(), [str(empty)])


def test_a_recipe_without_held_out_rows_asks_for_a_file() -> None:
    with pytest.raises(DataError, match=r"no held-out rows.*--data"):
        evaluation_rows(recipe())


def test_a_fraction_holds_out_the_rows_that_training_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": str(n)},
                    {"role": "assistant", "content": "x"},
                ]
            }
        )
        for n in range(20)
    ]
    file.write_text("\n".join(lines))
    rows = evaluation_rows(recipe(train=[str(file)], evaluate=0.25))
    assert len(rows) == 5
    assert len({row.origin for row in rows}) == 5


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"language": "klingon"}, "`language`: `klingon` is no language code"),
        ({"max_rows": -1}, "`max_rows` is -1; it must be 1 or more"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_opened(
    option: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")  # a model's folder, and none that can be opened
    with pytest.raises(XtuneError, match=said):
        xtune.evaluate(tmp_path, **option)
