"""SIGKILL at random moments, of a run through the batch API and of a translation: the end is that of a call nobody disturbed, and nothing is paid twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_server import BatchServer, serving_batches
from georgian import pretend
from scripted_llm import Say, ScriptedLLM, completion, serving

from selfinstruct.seeds import read_seeds, seed_row, shipped_seeds

IMPATIENT = (
    "import selfinstruct.llm.batch as batch; batch._GATHER_S, batch._FIRST_POLL_S = 0.2, 0.05;"
    "from selfinstruct.cli.start import main; main()"
)
"""The command, which waits for batches less long."""

AT_ONCE = 4
LONGEST_S = 300


def start(*arguments: str, code: str | None = None) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OPENAI_API_KEY": "sk-kill-secret-1234", "OMP_NUM_THREADS": "1"}
    program = ("-c", code) if code else ("-m", "selfinstruct")
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def kill_often(
    begin: Callable[[], "subprocess.Popen[str]"], kills: int, heard: Callable[[], int], seed: int
) -> int:
    """Begin again and again, and kill each time at a random moment after the server has heard of it; then let it end.

    Args:
        begin: Starts the command.
        kills: Most SIGKILLs.
        heard: Requests that the server has had.
        seed: Of the moments.

    Returns:
        How often it was killed.
    """
    draw = random.Random(seed)
    for done in range(kills):
        process = begin()
        wanted = heard() + draw.randint(1, 6)
        limit = time.monotonic() + LONGEST_S
        while heard() < wanted and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LONGEST_S)
        if process.returncode != -signal.SIGKILL:
            return done  # it had come to its end before
    process = begin()
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, err
    return kills


def grow(folder: Path, url: str, rounds: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(
        "languages: [en, es]\n"
        f"seeds: {shipped_seeds('en')}\n"
        "rules: {wrong_language: false}\n"
        f"llm: {{model: scripted, base_url: '{url}', output: text}}\n"
        f"generate: {{rounds: {rounds}, first_round_prompts: 3, prompts_per_round: 5}}\n"
        f"run: {{folder: {folder / 'run'}}}\n",
        encoding="utf-8",
    )
    return ["run", str(folder / "recipe.yaml")]


def pools(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "run" / "pool").iterdir()}


@pytest.mark.parametrize(
    ("kills", "rounds"), [(3, 4), pytest.param(15, 20, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_run_of_batches_killed_often_ends_with_the_same_pool_and_asks_for_nothing_twice(
    tmp_path: Path, kills: int, rounds: int
) -> None:
    with serving(ScriptedLLM()) as single:
        process = start(*grow(tmp_path / "whole", single.url, rounds))
        _, err = process.communicate(timeout=LONGEST_S)
        assert process.returncode == 0, err

    server = BatchServer(polls=3)
    with serving_batches(server):
        arguments = [*grow(tmp_path / "killed", server.url, rounds), "--batch"]
        killed = kill_often(
            lambda: start(*arguments, code=IMPATIENT), kills, lambda: server.heard, kills
        )
    assert killed == kills
    assert pools(tmp_path / "killed") == pools(tmp_path / "whole")
    asked = Counter(
        json.loads(line)["custom_id"]
        for batch in server.batches.values()
        for line in server.files[batch["input_file_id"]].splitlines()
    )
    assert set(asked.values()) == {1}
    assert len(asked) == 2 * (3 + 5 * (rounds - 1))


def translated(folder: Path) -> tuple[bytes, list[dict[str, str]]]:
    """The seeds, and what is noted of each."""
    made = (folder / "out" / ".ka.made.jsonl").read_text(encoding="utf-8").splitlines()
    return (folder / "out" / "ka.jsonl").read_bytes(), sorted(map(json.loads, made), key=str)


def translating(folder: Path, url: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    recipe, seeds = folder / "recipe.yaml", folder / "seeds.jsonl"
    recipe.write_text(
        f"languages: [ka]\nrun: {{folder: {folder / 'run'}}}\nllm: {{model: scripted, base_url: '{url}', concurrency: {AT_ONCE}}}\n",
        encoding="utf-8",
    )
    chosen = [seed for seed in read_seeds("en") if seed.translate == "yes"][:60]
    lines = [json.dumps(seed_row(seed), ensure_ascii=False) for seed in chosen]
    seeds.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["translate", str(recipe), "--to", "ka", "--out", str(folder / "out"), "--seeds", str(seeds)]  # fmt: skip


def in_georgian(delay_s: float) -> Callable[[int, dict[str, object]], Say]:
    """Answers in pretended Georgian; every fourth task's first answer is in English and refused."""

    def answer(_: int, body: dict[str, object]) -> Say:
        messages = body["messages"]
        assert isinstance(messages, list)
        task, _end = json.JSONDecoder().raw_decode(messages[1]["content"])
        is_first = len(messages) == 2
        wrong = is_first and len(task["instruction"]) % 4 == 0
        told = {name: text if wrong else pretend(text) for name, text in task.items()}
        return Say(body=completion(json.dumps(told)), delay_s=delay_s)

    return answer


class Paying(ScriptedLLM):
    """Counts requests by all that was asked, refused answers included."""

    @property
    def asked(self) -> Counter[str]:
        """Requests by their messages."""
        return Counter(json.dumps(body["messages"]) for body in list(self.requests))


@pytest.mark.parametrize(
    ("kills", "seed"), [(3, 3), pytest.param(15, 4, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_translation_killed_often_ends_with_the_same_seeds_and_pays_for_no_answer_twice(
    tmp_path: Path, kills: int, seed: int
) -> None:
    with serving(Paying(in_georgian(0))) as server:
        process = start(*translating(tmp_path / "whole", server.url))
        _, err = process.communicate(timeout=LONGEST_S)
        assert process.returncode == 0, err
        whole = server.asked
    assert set(whole.values()) == {1}
    assert len(whole) > 60, "some answers are to be refused"

    with serving(Paying(in_georgian(0.1))) as server:
        arguments = translating(tmp_path / "killed", server.url)
        killed = kill_often(lambda: start(*arguments), kills, lambda: len(server.requests), seed)
        again = server.asked - whole
    assert killed == kills
    assert translated(tmp_path / "killed") == translated(tmp_path / "whole")
    assert again.total() <= AT_ONCE * kills
    assert set(server.asked) == set(whole)
    assert sorted(path.name for path in (tmp_path / "killed" / "out").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole" / "out").iterdir()
    )
