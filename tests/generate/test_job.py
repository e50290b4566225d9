"""Rows answered into a file: formats, order, mistakes, kills; the answers of single prompts are computed apart."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from xtune import api
from xtune.cli.app import app
from xtune.errors import DataError, RunError, XtuneError
from xtune.generate.decoding import Decoding
from xtune.generate.journal import Journal
from xtune.generate.options import Options

DEMO = "bundled:demo"
SHORT = Options(decoding=Decoding(max_new_tokens=8))


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_format_of_training_asks_the_same_question() -> None:
    question = "The customer is Kubel."
    rows: list[Any] = [
        question,
        {"prompt": question},
        {"prompt": question, "completion": "x"},
        {"messages": [{"role": "user", "content": question}]},
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": "x"},
            ]
        },
        {"conversations": [{"from": "human", "value": question}]},
        {"instruction": "The customer is Kubel."},
        {"instruction": question, "input": "", "output": "x"},
        {"query": question},
    ]
    found = api.generate(DEMO, rows, options=SHORT)
    assert len({row["answer"] for row in found}) == 1
    assert all(
        row.items() <= answered.items() for row, answered in zip(rows[1:], found[1:], strict=True)
    )
    later = {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "Which goods?"}]}  # fmt: skip
    told = api.generate(DEMO, [later], options=SHORT)[0]["answer"]
    assert told != api.generate(DEMO, ["hello"], options=SHORT)[0]["answer"]


def test_a_system_prompt_is_for_rows_without_one() -> None:
    own = {
        "messages": [{"role": "system", "content": "stone"}, {"role": "user", "content": "hello"}]
    }
    options = Options(decoding=Decoding(max_new_tokens=8), system="stone")
    assert (
        api.generate(DEMO, ["hello"], options=options)[0]["answer"]
        == api.generate(DEMO, [own], options=SHORT)[0]["answer"]
        == api.generate(DEMO, [own], options=options)[0]["answer"]
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"promt": "x"}], "promt"),
        ([{"prompt": "x"}, {"prompt": 3}], "`prompt` is the number 3"),
        ([{"prompt": "x", "answer": "y"}], "column `answer` already"),
        ([{"prompt": "red " * 400}], "no positions for an answer"),
        ([], "The file is empty"),
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


KILLED = """
import os, signal, sys
from xtune import api
from xtune.generate.decoding import Decoding
from xtune.generate.options import Options
def kill(done, total):
    if done > 3:
        os.kill(os.getpid(), signal.SIGKILL)
options = Options(decoding=Decoding(max_new_tokens=60, temperature=1.1, seed=5))
model, rows, out = sys.argv[1:]
api.generate(model, rows, out=out, options=options, progress=kill)
"""


def test_a_killed_job_goes_on_and_ends_with_the_same_file(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Backwards: red {number} blue", "number": number} for number in range(60)]
    file = write(tmp_path / "rows.jsonl", rows)
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tiny_model), str(file), str(out)],
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
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
    options = Options(decoding=Decoding(max_new_tokens=60, temperature=1.1, seed=5))
    same = os.path.relpath(tiny_model)  # the same model, written otherwise
    assert api.generate(same, file, out=out, options=options) == []
    found = lines(out)
    assert [row["number"] for row in found] == list(range(60))
    assert not part.exists()
    assert all(found[row]["answer"] == answer for row, answer in kept.items())
    assert api.generate(tiny_model, file, options=options) == found
    with pytest.raises(RunError, match="is there already"):
        api.generate(tiny_model, file, out=out, options=options)


def lines_of_part(path: Path) -> dict[int, str]:
    whole = path.read_bytes().split(b"\n")[1:-1]
    return {row["row"]: row["answer"] for row in map(json.loads, whole)}


def test_the_command_answers_prompts_on_the_terminal() -> None:
    expected = api.generate(DEMO, ["hello"], options=SHORT)[0]["answer"]
    words = ["generate", DEMO, "--prompt", "hello", "--max-new-tokens", "8"]
    shown = CliRunner().invoke(app, words)
    assert shown.stdout == expected + "\n"
    with pytest.raises(XtuneError, match="Give --prompt or --file"):
        CliRunner().invoke(app, words[:2], catch_exceptions=False)


@pytest.mark.parametrize("content", [b"my download\n", b"my download", b'{"model": 1}\n', b"[1]\n"])
def test_a_file_of_somebody_else_in_the_place_of_the_journal_is_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    part = tmp_path / "out.jsonl.part"
    part.write_bytes(content)
    with pytest.raises(RunError, match=r"Choose another --out|remove the file"):
        Journal(tmp_path / "out.jsonl", {"model": "m"})
    assert part.read_bytes() == content


@pytest.mark.parametrize(
    "torn", [b"", b'{"mod', b'{"model": "m"}', b'{"model": "m"}\n{"other": 1}\n']
)
def test_what_a_kill_left_of_the_first_lines_is_begun_anew(tmp_path: Path, torn: bytes) -> None:
    part = tmp_path / "out.jsonl.part"
    part.write_bytes(torn)
    journal = Journal(tmp_path / "out.jsonl", {"model": "m"})
    journal.close()
    assert (journal.answers, part.read_bytes()) == ({}, b'{"model": "m"}\n')
