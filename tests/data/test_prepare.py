"""The one door: from a plan to encoded rows and a report that adds up."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from chat_families import FAMILIES
from factories import make_plan, make_tokenizer

from xtune.data.prepare import Listener, Prepared, prepare
from xtune.errors import DataError

TOKENIZER = make_tokenizer(template=FAMILIES["chatml"].template)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def qa(number: int, answer: str = "yes") -> dict[str, Any]:
    return {"prompt": f"q{number:03}", "completion": answer}


def run(data: dict[str, Any], *, stage: str = "sft", **choices: Any) -> Prepared:
    recipe = {"stage": stage, "data": {"max_tokens": 64, **data}, "run": {"seed": 3}}
    return prepare(make_plan(recipe, **choices), TOKENIZER)


def rows_of(prepared: Prepared) -> tuple[list[int], list[int]]:
    return [s.origin.row for s in prepared.train], [s.origin.row for s in prepared.evaluate]


def test_the_report_adds_up(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.jsonl", [qa(n) for n in range(30)] + [qa(30, ""), qa(31, "x" * 60)]
    )
    prepared = run({"train": source})
    report = prepared.report
    # <|im_start|>user\nqNNN<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n
    assert {len(s) for s in prepared.train} == {1 + 5 + 4 + 2 + 1 + 10 + 3 + 2}
    assert (report.train.rows_read, report.train.rows_kept, report.train.sequences) == (32, 30, 30)
    assert (report.train.tokens, report.train.trained_tokens, report.train.loss_weight) == (
        840,
        120,
        120.0,
    )
    assert {why: count.rows for why, count in report.train.dropped.items()} == {
        "empty answer": 1,
        "longer than 64 tokens": 1,
    }
    assert report.train.dropped["empty answer"].examples == (f"{source}:31",)
    (file,) = report.files
    assert (file.name, file.format, file.rows) == (source, "prompt_completion", 32)
    assert file.sha256 == hashlib.sha256(Path(source).read_bytes()).hexdigest()
    assert report.efficiency == 1.0
    assert report.template == FAMILIES["chatml"].template
    assert json.loads(json.dumps(report.to_json()))["train"]["tokens"] == 840
    lines = "\n".join(report.lines())
    assert "30 of 32 rows, 840 tokens, 120 trained on" in lines
    assert f"dropped: empty answer: 1 row (such as {source}:31)" in lines


def test_a_fraction_is_held_out_by_seed_and_max_rows_counts_what_is_left(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [qa(n) for n in range(20)])
    train, evaluate = rows_of(run({"train": source, "evaluate": 0.25}))
    assert len(evaluate) == 5
    assert sorted(train + evaluate) == list(range(20))
    assert (train, evaluate) == (sorted(train), sorted(evaluate))
    assert rows_of(run({"train": source, "evaluate": 0.25})) == (train, evaluate)
    few, same = rows_of(run({"train": source, "evaluate": 0.25, "max_rows": 4}))
    assert (few, same) == (train[:4], evaluate)


def test_held_out_rows_that_are_trained_on_too_are_told(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", [qa(n) for n in range(20)])
    evaluate = write(tmp_path / "b.jsonl", [qa(5), qa(7), qa(99)])
    report = run({"train": train, "evaluate": evaluate}).report
    assert report.evaluation_rows_also_trained == 2
    assert (
        "warning: in the training set too, word for word: 2 rows of the evaluation set"
        in report.lines()
    )
    assert [file.name for file in report.files] == [train, evaluate]


def test_more_than_a_tenth_lost_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [qa(n, "x" * 99 if n < 3 else "y") for n in range(20)])
    with pytest.raises(DataError) as caught:
        run({"train": source})
    for words in (
        "3 of 20 rows",
        "longer than 64 tokens: 3",
        f"{source}:1",
        "raise `data.max_tokens`",
        "truncate",
    ):
        assert words.lower() in str(caught.value).lower()
    assert len(run({"train": source, "over_length": "drop"}).train) == 17
    assert (
        len(run({"train": source, "over_length": "truncate"}, over_length="truncate").train) == 20
    )


def test_files_of_a_folder_that_are_not_read_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "a.jsonl", [qa(1)])
    for name in ("x.pdf", "y.pdf", ".hidden.jsonl"):
        (folder / name).write_bytes(b"%PDF")
    report = run({"train": str(folder)}).report
    assert report.left_out == {str(folder): {".pdf": 2, "hidden": 1}}


def test_of_a_folder_of_many_files_a_few_are_named(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.txt").write_text(f"Text number {number}, a short one.\n")
    write(tmp_path / "99.jsonl", [{"text": "One more."}, {"text": "And another."}])
    report = run({"train": str(tmp_path)}, stage="pretrain").report
    assert len(report.files) == 31
    told = [line for line in report.lines() if ", format" in line]
    assert [line.rpartition("/")[2] for line in told[:-1]] == [
        f"{number:02}.txt: 1 row, format text" for number in range(7)
    ]
    assert told[-1] == "24 other files: 25 rows, format text"


def test_replies_that_are_not_taken_from_trees_are_reported(tmp_path: Path) -> None:
    answers = [{"role": "assistant", "text": f"A{n}", "rank": n} for n in range(3)]
    tree = {"message_id": "1", "role": "prompter", "text": "Q", "replies": answers}
    source = write(tmp_path / "a.jsonl", [tree])
    for _ in range(2):  # encoded, and from the cache
        report = run({"train": source}).report
        assert report.files[0].left_out == {"replies beside the best-ranked path": 2}
        line = f"{source}: left out: replies beside the best-ranked path: 2"
        assert line in report.lines()


@pytest.mark.parametrize("how", ["drop", "truncate"])
def test_where_all_rows_are_too_long_the_way_out_is_not_what_was_done(
    how: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "a.jsonl", [{"prompt": "q" * 99, "completion": "x"}])
    with pytest.raises(DataError, match=r"[Rr]aise `data.max_tokens` \(now 64\)\.$"):
        run({"train": source, "over_length": how}, over_length=how)


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [qa(n, "") for n in range(3)])
    with pytest.raises(
        DataError, match=r"All 3 rows of `data.train` were dropped \(empty answer: 3\)"
    ):
        run({"train": source})
    with pytest.raises(DataError, match="takes 1 of 1 rows"):
        run({"train": write(tmp_path / "b.jsonl", [qa(1)]), "evaluate": 0.5})


@pytest.mark.parametrize(("stage", "decided"), [("sft", "drop"), ("pretrain", "split")])
def test_left_to_auto_long_texts_are_split_and_long_conversations_dropped(
    stage: str, decided: str, tmp_path: Path
) -> None:
    texts = write(tmp_path / "a.jsonl", [{"text": "t" * 150}])
    chats = write(tmp_path / "b.jsonl", [qa(n, "x" * 99 if n == 0 else "y") for n in range(20)])
    prepared = run({"train": [texts, chats]}, stage=stage, over_length=decided)
    assert [len(s) for s in prepared.train if s.origin.source == texts] == [64, 64, 23]
    assert prepared.report.train.dropped["longer than 64 tokens"].rows == 1
    assert [file.format for file in prepared.report.files] == ["text", "prompt_completion"]


def test_packing_is_reported(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"text": "t" * 31} for _ in range(8)])
    report = run({"train": source}, stage="pretrain", packing=True, over_length="split").report
    assert (report.batch_rows, report.efficiency) == (4, 1.0)
    assert "packed: 8 sequences in 4 packs, 100.0% full" in report.lines()


def test_a_template_file_replaces_the_tokenizers(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
    (tmp_path / "t.jinja").write_text(template)
    source = write(tmp_path / "a.jsonl", [qa(1)])
    prepared = run({"train": source, "template": str(tmp_path / "t.jinja")})
    assert (
        TOKENIZER.decode(prepared.train[0].input_ids.tolist())
        == "q001<|endoftext|>yes<|endoftext|>"
    )
    assert prepared.report.template == template
    with pytest.raises(DataError, match=r"none.jinja` does not exist"):
        run({"train": source, "template": str(tmp_path / "none.jinja")})


def test_faulty_rows_of_several_files_are_told_together(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", [qa(1), {"prompt": "q"}])
    two = write(tmp_path / "b.jsonl", [qa(1), {"completion": "a"}])
    with pytest.raises(DataError) as caught:
        run({"train": [one, two]})
    assert [problem.where for problem in caught.value.problems] == [f"{one}:2", f"{two}:2"]


def test_the_bundled_orders_are_ready_to_train_on() -> None:
    prepared = run({"train": "bundled:orders/test.jsonl", "max_tokens": 400})
    assert prepared.report.train.rows_kept == prepared.report.train.rows_read > 100
    assert prepared.report.files[0].format == "messages"


def test_repeats_and_shared_prompts_are_counted_and_named(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", [qa(n) for n in range(20)] + [qa(3), qa(3), qa(7)])
    evaluate = write(tmp_path / "b.jsonl", [qa(5), qa(7, "no"), qa(99)])
    report = run({"train": train, "evaluate": evaluate}).report
    assert report.train.duplicates.rows == 3
    assert report.train.duplicates.examples == (f"{train}:21", f"{train}:22", f"{train}:23")
    assert report.evaluation_rows_also_trained == 1
    assert report.evaluation_prompts_also_trained == 2
    lines = "\n".join(report.lines())
    assert "exact repeats of an earlier row: 3" in lines
    assert "what a training row asks too, with another answer: 1 row of" in lines


def test_the_histogram_counts_every_sequence_once(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"text": "t" * length} for length in (2, 3, 4, 7, 8, 30)])
    report = run({"train": source}, stage="pretrain", over_length="split").report
    # each with its end-of-text token: 3, 4, 5, 8, 9 and 31 tokens
    assert report.train.histogram == ((4, 2), (8, 2), (16, 1), (32, 1))


def test_the_limit_of_losses_is_the_recipes(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [qa(n, "" if n < 5 else "y") for n in range(20)])
    with pytest.raises(DataError, match=r"5 of 20 rows .*`data.max_dropped` is 0.2"):
        run({"train": source, "max_dropped": 0.2})
    assert len(run({"train": source, "max_dropped": 0.25}).train) == 15


def test_sources_are_told_apart_with_their_weights_and_limits(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", [qa(n) for n in range(30)])
    two = write(tmp_path / "b.jsonl", [{"messages": [{"role": "user", "content": "m"}, {"role": "assistant", "content": "w"}]} for _ in range(9)])  # fmt: skip
    sources = [
        {"source": one, "weight": [0.75, 0.25], "max_rows": 10},
        {"source": two, "weight": [0.25, 0.75]},
    ]
    report = run({"train": sources}).report  # 4 steps of 2 rows
    assert [(s.rows_read, s.sequences, s.drawn) for s in report.sources] == [(10, 10, 4), (9, 9, 4)]
    assert report.sources[0].repeats == 0.4
    assert "weight 0.75 to 0.25: 4 drawn" in "\n".join(report.lines())
    with pytest.raises(DataError, match="weights of all sources are 0 at the end"):
        run({"train": [{"source": one, "weight": [1, 0]}, {"source": two, "weight": [1, 0]}]})


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would be kept under the fingerprint of other bytes."""
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "growing.jsonl"
    row = '{"prompt": "q", "completion": "a"}\n'
    path.write_text(row * 3000)

    def grow(rows: int, part: float | None) -> None:
        del rows, part
        with path.open("a") as file:
            file.write(row)

    plan = make_plan({"data": {"train": str(path)}, "train": {"max_steps": 1, "batch_size": 1, "learning_rate": 1e-3}})  # fmt: skip
    with pytest.raises(DataError, match=r"changed while it was read.*growing\.jsonl"):
        prepare(plan, TOKENIZER, listener=Listener(watch=grow))
    assert prepare(plan, TOKENIZER).train.read > 3000
