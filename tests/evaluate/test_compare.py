"""The tuned model beside its base, on real run folders, against models changed by hand."""

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted import with_adapter
from rich.console import Console

from xtune.data.types import Origin
from xtune.errors import DataError, RunError
from xtune.evaluate.compare import Comparison, base_only, compare_run
from xtune.evaluate.evaluate import (
    Answer,
    Evaluation,
    Options,
    evaluate,
    evaluation_rows,
    make_encoder,
)
from xtune.evaluate.generate import Decoding
from xtune.evaluate.loss import HeldOutLoss
from xtune.recipe.read import read_recipe

# peft 0.21 reads a property that transformers 5.23 deprecates
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

OPTIONS = Options(decoding=Decoding(max_new_tokens=4))


def measured(model: Any, tokenizer: Any, run: Path) -> Evaluation:
    recipe = read_recipe(run / "recipe.yaml")
    rows = evaluation_rows(recipe)
    return evaluate(
        model, tokenizer, rows, encoder=make_encoder(recipe, tokenizer), options=OPTIONS
    )


def test_an_adapter_is_compared_with_its_base_and_the_result_is_kept(
    model: Any, tokenizer: Any, make_run: Callable[..., Path]
) -> None:
    run = make_run("lora")
    adapted = with_adapter(model)
    adapted.save_pretrained(run / "adapter")
    tokenizer.save_pretrained(run / "adapter")
    comparison = compare_run(run, options=OPTIONS, device="cpu")
    # the base as it is, and the weights with the adapter's product added to them
    before = measured(model, tokenizer, run)
    after = measured(adapted.merge_and_unload(), tokenizer, run)
    assert comparison.before.loss.value == pytest.approx(before.loss.value, rel=1e-5)
    assert comparison.after.loss.value == pytest.approx(after.loss.value, rel=1e-5)
    assert comparison.before.loss.value != pytest.approx(comparison.after.loss.value, rel=1e-2)
    assert [answer.answer for answer in comparison.after.answers] == [
        answer.answer for answer in after.answers
    ]
    written = json.loads((run / "evaluation.json").read_text())
    assert written["after"]["loss"] == comparison.after.loss.value
    places = [Path(row["origin"]).name for row in written["rows"]]
    assert places == ["held-out.jsonl:1", "held-out.jsonl:2", "held-out.jsonl:3"]


def test_a_full_fine_tune_is_compared_with_the_model_it_started_from(
    model: Any, tokenizer: Any, make_run: Callable[..., Path]
) -> None:
    run = make_run("full")
    tuned = copy.deepcopy(model)
    with torch.no_grad():
        tuned.lm_head.weight.mul_(0.5)
    tuned.save_pretrained(run / "model")
    tokenizer.save_pretrained(run / "model")
    comparison = compare_run(run, options=OPTIONS, device="cpu")
    assert comparison.before.loss.value == pytest.approx(
        measured(model, tokenizer, run).loss.value, rel=1e-5
    )
    assert comparison.after.loss.value == pytest.approx(
        measured(tuned, tokenizer, run).loss.value, rel=1e-5
    )


@pytest.mark.parametrize(
    "more", [{"modules_to_save": ["lm_head"]}, {"trainable_token_indices": [5, 6]}]
)
def test_the_base_is_without_saved_modules_and_trained_tokens_too(
    model: Any, tokenizer: Any, more: dict[str, Any]
) -> None:
    ids = torch.tensor([[5, *tokenizer("one two three")["input_ids"], 6]])
    adapted = with_adapter(model, **more)
    with torch.no_grad():
        expected, tuned = model(input_ids=ids).logits, adapted(input_ids=ids).logits
        with base_only(adapted):
            base = adapted(input_ids=ids).logits
    assert torch.equal(base, expected)
    assert not torch.allclose(tuned, expected, atol=1e-2)


def test_a_model_without_adapter_has_no_base(model: Any) -> None:
    with pytest.raises(RunError, match="no adapter"), base_only(model):
        pass


def test_an_unfinished_run_is_refused(make_run: Callable[..., Path]) -> None:
    with pytest.raises(RunError, match="not finished"):
        compare_run(make_run("lora"))


def test_a_bare_model_is_refused_as_its_base_is_unknown(base_folder: Path) -> None:
    with pytest.raises(RunError, match="does not say what it was before"):
        compare_run(base_folder, device="cpu")


def test_an_empty_file_is_refused(
    model: Any, tokenizer: Any, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run("full")
    model.save_pretrained(run / "model")
    tokenizer.save_pretrained(run / "model")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="empty"):
        compare_run(run, [str(tmp_path / "empty.jsonl")], device="cpu")
    assert not (run / "evaluation.json").exists()


def judged(marks: str, *, text: str = "x") -> Evaluation:
    """An evaluation with an answer for each mark: "1" is right, "0" is wrong."""
    answers = tuple(
        Answer(
            origin=str(Origin(source="rows.jsonl", row=row, line=row + 1)),
            prompt=f"question {row}",
            expected="[yes] it is",
            answer=text,
            exact=mark == "1",
            same_json=None,
            stopped=True,
        )
        for row, mark in enumerate(marks)
    )
    return Evaluation(
        rows=len(marks),
        loss=HeldOutLoss(value=1.25, weight=10.0),
        answers=answers,
        dropped={"empty answer": 2},
    )


def test_the_gain_has_the_standard_error_of_paired_differences() -> None:
    before, after = "0000111010", "0110111101"
    comparison = Comparison(before=judged(before), after=judged(after))
    differences = torch.tensor(
        [int(b) - int(a) for a, b in zip(before, after, strict=True)], dtype=torch.float64
    )
    assert (comparison.fixed, comparison.broken) == (4, 1)
    assert comparison.gain_standard_error == pytest.approx(
        float(differences.std(correction=0)) / 10**0.5
    )


def test_the_seed_decides_the_resamples() -> None:
    marks = "0000111010" * 3
    both: Any = {"before": judged(marks), "after": judged(marks[::-1])}
    one, two, again = (Comparison(**both, seed=seed).to_json() for seed in (1, 2, 1))
    assert one["measures"] == again["measures"] != two["measures"]


def test_samples_show_what_was_fixed_and_what_is_still_wrong_first() -> None:
    comparison = Comparison(before=judged("110100"), after=judged("111000"))
    assert [(fate, after.origin) for fate, _, after in comparison.samples()] == [
        ("fixed", "rows.jsonl:3"),
        ("still wrong", "rows.jsonl:5"),
        ("broken", "rows.jsonl:4"),
    ]


def test_the_table_shows_both_models_and_the_samples() -> None:
    stream = io.StringIO()
    comparison = Comparison(
        before=judged("0011", text="bef[ore]"), after=judged("0111", text="aft[er]")
    )
    Console(file=stream, width=140).print(comparison.table())
    text = stream.getvalue()
    assert "1.250 (" in text
    assert "50.0 (" in text
    assert "75.0 (" in text
    assert "+25.0 (" in text
    assert "rows left out: empty answer" in text
    assert "rows.jsonl:2: fixed" in text
    for words in ("question 1", "[yes] it is", "bef[ore]", "aft[er]"):
        assert words in text


def test_no_answer_acts_on_the_terminal() -> None:
    stream = io.StringIO()
    evil = judged("01", text="a\x1b]0;title\x07b\x1b[2J\nnext\u202eline")
    Console(file=stream, width=100).print(Comparison(before=evil, after=evil).table())
    shown = stream.getvalue()
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "␛]0;title␇b␛[2J" in shown
    assert any(line.strip().startswith("next") for line in shown.splitlines())


def test_texts_alone_make_a_table_of_losses() -> None:
    losses = Evaluation(rows=3, loss=HeldOutLoss(value=800.0, weight=10.0), answers=())
    comparison = Comparison(before=losses, after=losses)
    stream = io.StringIO()
    Console(file=stream, width=80).print(comparison.table())
    assert "exact match" not in stream.getvalue()
    assert comparison.to_json()["after"]["perplexity"] is None
    json.dumps(comparison.to_json(), allow_nan=False)
