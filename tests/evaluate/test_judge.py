"""Tasks on real run folders: both models' numbers against plain transformers, and what is written and shown."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted import with_adapter
from rich.console import Console

from xtune.evaluate.judge import TaskOptions, judge_run
from xtune.evaluate.tasks.items import Drawing

# peft 0.21 reads a property that transformers 5.23 deprecates
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

TABLE = """
colours:
  title: Colours
  area: understanding
  languages: {en: {}, de: {}}
  test: ["{code}.jsonl"]
  prompt: "{{ q }}"
  choices: ["{{ a }}", "{{ b }}"]
  right: "{{ label }}"
  measures: [accuracy, accuracy_norm]
sums:
  title: Sums
  area: generation
  languages: {en: {}}
  test: ["{code}.jsonl"]
  prompt: "{{ q }}:"
  references: a
  measures: [exact_match, word_f1, rouge_l]
  max_new_tokens: 4
"""


@pytest.fixture
def judged(
    model: Any, tokenizer: Any, make_run: Callable[..., Path], tmp_path: Path
) -> tuple[Path, Any]:
    """A run with an adapter beside two tasks, and the adapter merged into the model."""
    run = make_run("lora")
    adapted = with_adapter(model)
    adapted.save_pretrained(run / "adapter")
    tokenizer.save_pretrained(run / "adapter")
    (tmp_path / "own.yaml").write_text(TABLE)
    for code, words in (("en", ("one", "two", "three", "four")), ("de", ("lamp", "Oslo", "red"))):
        rows = [
            {"q": f"send {word}", "a": f"{word} lamps", "b": f"no {word} city", "label": place % 2}
            for place, word in enumerate(words)
        ]
        (tmp_path / f"{code}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run, adapted.merge_and_unload()


@torch.no_grad()
def chosen(model: Any, tokenizer: Any, row: dict[str, Any]) -> int:
    """The likelier of two answers, each scored by a pass of its own."""
    given = tokenizer(row["prompt"])["input_ids"]
    scores = []
    for choice in row["choices"]:
        whole = tokenizer(f"{row['prompt']} {choice}")["input_ids"]
        assert whole[: len(given)] == given
        table = torch.log_softmax(model(input_ids=torch.tensor([whole])).logits[0], dim=-1)
        scores.append(sum(float(table[at - 1, whole[at]]) for at in range(len(given), len(whole))))
    return scores.index(max(scores))


def test_choices_of_both_models_are_those_of_plain_transformers(
    judged: tuple[Path, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    run, merged = judged
    told: list[tuple[int, int]] = []
    judgement = judge_run(
        run,
        [str(tmp_path / "own.yaml")],
        TaskOptions(folder=tmp_path),
        device="cpu",
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (2 * (4 + 3 + 4), 2 * (4 + 3 + 4))
    written = json.loads((run / "tasks.json").read_text())
    for part in written["tasks"][:2]:
        for side, alone in (("base", model), ("tuned", merged)):
            right = [chosen(alone, tokenizer, row) == row["right"] for row in part["rows"]]
            measured = part["measures"]["accuracy"][side]["value"]
            assert measured == pytest.approx(sum(right) / len(right))
            assert [row[side]["answer"] == row["right"] for row in part["rows"]] == right
    mean = written["averages"]["colours"]["accuracy"]["tuned"]["value"]
    each = [part["measures"]["accuracy"]["tuned"]["value"] for part in written["tasks"][:2]]
    assert mean == pytest.approx(sum(each) / 2)
    stream = io.StringIO()
    Console(file=stream, width=100).print(judgement.table())
    for words in ("zero-shot", "colours", "mean", "ROUGE-L"):
        assert words in stream.getvalue()
    assert (run / "tasks.png").read_bytes().startswith(b"\x89PNG")
    again = TaskOptions(languages=("de",), folder=tmp_path)
    for _ in range(2):
        judge_run(run, [str(tmp_path / "own.yaml")], again, device="cpu")
    first, second = sorted((run / "tasks").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    assert json.loads(first.read_text()) == written
    assert json.loads(second.read_text()) == json.loads((run / "tasks.json").read_text())
    assert ".de.zero-shot." in second.name
    assert second.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_written_answers_are_those_of_plain_transformers_up_to_the_line_end(
    judged: tuple[Path, Any], model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    run, merged = judged
    drawing = Drawing(shots=1, limit=2, seed=4)
    judge_run(
        run,
        [str(tmp_path / "own.yaml")],
        TaskOptions(folder=tmp_path, drawing=drawing),
        device="cpu",
    )
    written = json.loads((run / "tasks.json").read_text())
    sums = written["tasks"][2]
    assert sums["questions"] == 2
    assert "came from the rows to be scored" in " ".join(written["notes"])
    asked = {row["prompt"] for row in sums["rows"]}
    rows = [json.loads(line) for line in (tmp_path / "en.jsonl").read_text().splitlines()]
    # the example is one of the other rows; which, the seed says
    texts = {
        f"{row['q']}: {row['a']}\n\n{prompt}": prompt
        for row in rows
        for prompt in asked
        if f"{row['q']}:" not in asked
    }
    for side, alone in (("base", model), ("tuned", merged)):
        possible: dict[str, set[str]] = {prompt: set() for prompt in asked}
        for text, prompt in texts.items():
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            out = alone.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=2)
            answer = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
            possible[prompt].add(answer.strip(" ").partition("\n")[0].strip())
        for row in sums["rows"]:
            assert row[side]["answer"] in possible[row["prompt"]]


def test_the_chat_template_asks_with_examples_as_turns(
    judged: tuple[Path, Any], tokenizer: Any, tmp_path: Path
) -> None:
    from xtune.adapter.open import open_run
    from xtune.evaluate.asking import Asking
    from xtune.evaluate.evaluate import make_encoder
    from xtune.evaluate.tasks.items import Item

    opened = open_run(judged[0], device="cpu")
    shot = Item(prompt="one", join=" ", choices=("red", "blue"), right=1)
    asked = Item(prompt="two", join=" ", choices=("red", "blue"), right=0)
    asking = Asking(tokenizer, [shot], encoder=make_encoder(opened.recipe, tokenizer), longest=512)
    before = tokenizer.apply_chat_template(
        [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "blue"},
            {"role": "user", "content": "two"},
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    endings = asking.endings(asked)
    assert [tokenizer.decode([*each.given, *each.ids]) for each in endings] == [
        before + "red",
        before + "blue",
    ]
    judge_run(
        judged[0],
        [str(tmp_path / "own.yaml")],
        TaskOptions(languages=("de",), folder=tmp_path, template=True),
        device="cpu",
    )
    assert json.loads((judged[0] / "tasks.json").read_text())["template"] is True


KILLED = """
import os, signal, sys
from pathlib import Path
from xtune.evaluate.judge import TaskOptions, judge_run
def kill(done, total):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
run, folder = Path(sys.argv[1]), Path(sys.argv[2])
judge_run(run, [str(folder / "own.yaml")], TaskOptions(folder=folder), device="cpu", progress=kill)
"""


def test_a_killed_evaluation_goes_on_with_what_was_answered(
    judged: tuple[Path, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, _ = judged
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    command = [sys.executable, "-c", KILLED, str(run), str(tmp_path), "10"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, check=False, capture_output=True, env=environment)
    assert killed.returncode == -9, killed.stderr
    part = run / "tasks.part"
    before = part.read_text().splitlines()
    assert len(before) > 3
    assert not (run / "tasks.json").exists()
    part.write_text(part.read_text() + '{"part": "base/su')  # as a kill may leave it
    told: list[int] = []

    def judge(folder: Path) -> Any:
        options = TaskOptions(folder=tmp_path)
        tasks = [str(tmp_path / "own.yaml")]
        return judge_run(
            folder, tasks, options, device="cpu", progress=lambda done, _: told.append(done)
        )

    assert judge(run).to_json() == judge(whole).to_json()
    assert told[0] > 1  # what was answered counts at once
    assert not part.exists()
    assert (run / "tasks.json").read_bytes() == (whole / "tasks.json").read_bytes()
    part.write_text(before[0].replace('"evaluation": "', '"evaluation": "0') + "\n")
    with caplog.at_level("WARNING"):
        judge(run)
    assert "another evaluation" in caplog.text
