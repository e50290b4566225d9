"""Rows answered into a file: formats, order, mistakes, kills; the answers of single prompts are computed apart."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import xtune

from xtune import api
from xtune.errors import DataError, RunError
from xtune.generate.decoding import Decoding
from xtune.generate.job import Options

SHORT = Options(decoding=Decoding(max_new_tokens=8))


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_format_of_training_asks_the_same_question(tiny_model: Path) -> None:
    question = "Backwards: red blue"
    rows: list[Any] = [
        question,
        {"prompt": question},
        {"prompt": question, "completion": "blue red"},
        {"messages": [{"role": "user", "content": question}]},
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "x"}]},
        {"conversations": [{"from": "human", "value": question}]},
        {"instruction": "Backwards: red blue"},
        {"instruction": question, "input": "", "output": "blue red"},
        {"query": question},
    ]
    found = api.generate(tiny_model, rows, options=SHORT)
    assert len({row["answer"] for row in found}) == 1
    assert all(row.items() <= answered.items() for row, answered in zip(rows[1:], found[1:], strict=True))
    later = {"messages": [{"role": "user", "content": "red"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "blue"}]}  # fmt: skip
    told = api.generate(tiny_model, [later], options=SHORT)[0]["answer"]
    assert told != api.generate(tiny_model, ["red"], options=SHORT)[0]["answer"]


def test_a_system_prompt_is_for_rows_without_one(tiny_model: Path) -> None:
    own = {"messages": [{"role": "system", "content": "stone"}, {"role": "user", "content": "red"}]}
    options = Options(decoding=Decoding(max_new_tokens=8), system="stone")
    assert (
        api.generate(tiny_model, ["red"], options=options)[0]["answer"]
        == api.generate(tiny_model, [own], options=SHORT)[0]["answer"]
        == api.generate(tiny_model, [own], options=options)[0]["answer"]
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"promt": "x"}], "promt"),
        ([{"prompt": "x"}, {"prompt": 3}], "`prompt` is 3"),
        ([{"prompt": "x", "answer": "y"}], "column `answer` already"),
        ([{"prompt": "red " * 400}], "no positions for an answer"),
        ([], "no rows"),
    ],
)
def test_rows_that_cannot_be_asked_are_told_before_any_is_answered(
    tiny_model: Path, tmp_path: Path, rows: list[Any], said: str
) -> None:
    file = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError) as caught:
        api.generate(tiny_model, file, out=tmp_path / "out.jsonl", options=SHORT)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_killed_job_goes_on_and_ends_with_the_same_file(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Backwards: red {number} blue", "number": number} for number in range(60)]
    file = write(tmp_path / "rows.jsonl", rows)
    decoding = ["--max-new-tokens", "60", "--temperature", "1.1", "--seed", "5"]
    command = ["generate", str(tiny_model), "--file", str(file), *decoding]
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    process = subprocess.Popen(
        [sys.executable, "-m", "xtune", *command, "--out", str(out)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not (part.exists() and part.read_bytes().count(b"\n") > 3):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    with part.open("ab") as stream:
        stream.write(b'{"row": 59, "answ')  # what a kill in the middle of a line leaves
    kept = lines_of_part(part)
    assert 0 < len(kept) < 60
    with pytest.raises(RunError, match="begun with another seed"):
        api.generate(
            tiny_model,
            file,
            out=out,
            options=Options(decoding=Decoding(max_new_tokens=60, temperature=1.1, seed=6)),
        )
    assert xtune(*command, "--out", str(out)).returncode == 0
    found = lines(out)
    assert [row["number"] for row in found] == list(range(60))
    assert not part.exists()
    assert all(found[row]["answer"] == answer for row, answer in kept.items())
    options = Options(decoding=Decoding(max_new_tokens=60, temperature=1.1, seed=5))
    assert api.generate(tiny_model, file, options=options) == found
    again = xtune(*command, "--out", str(out))
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "is there already" in again.stderr


def lines_of_part(path: Path) -> dict[int, str]:
    whole = path.read_bytes().split(b"\n")[1:-1]
    return {row["row"]: row["answer"] for row in map(json.loads, whole)}


def test_the_command_answers_prompts_on_the_terminal(tiny_model: Path) -> None:
    expected = api.generate(tiny_model, ["red"], options=SHORT)[0]["answer"]
    run = xtune("generate", str(tiny_model), "--prompt", "red", "--max-new-tokens", "8")
    assert run.stdout == expected + "\n"
    assert xtune("generate", str(tiny_model)).returncode == 2
