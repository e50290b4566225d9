"""`xtune plan` as a person or a program runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from machines import LLAMA_7B_CONFIG

FIELDS = {
    "fits", "peak_bytes", "budget_bytes", "items", "choices", "longest_tokens", "host_bytes", "disk_bytes",
    "tokens_per_s",
}  # fmt: skip


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xtune", "plan", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_bare_config_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_7B_CONFIG))
    done = ask(str(path), "--vram", "8GiB", "--tokens", "4096", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.keys() >= FIELDS
    assert answer["fits"] is True
    assert answer["method"] == "qlora"
    assert list(answer["methods"]) == ["full", "lora", "qlora"]
    assert answer["budget_bytes"] == 8 * 2**30 >= answer["peak_bytes"]
    assert answer["longest_tokens"] >= 4096


def test_a_recipe_is_planned_for_a_card_that_is_not_here() -> None:
    done = ask("qwen3-8b-qlora-8gb", "--gpu", "RTX 4060", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["fits"] is True
    assert answer["tokens_per_s"] > 0


def test_one_method_can_be_asked_about() -> None:
    done = ask("meta-llama/Llama-3.1-8B", "method=qlora", "method.rank=32", "--vram", "24GiB")
    assert done.returncode == 0, done.stderr
    assert "qlora" in done.stdout
    assert "full" not in done.stdout


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("nowhere.json", "--vram", "8"), "nowhere.json"),
        (("meta-llama/Llama-3.1-8B", "--gpu", "RTX 9"), "No card called"),
        (("meta-llama/Llama-3.1-8B", "--vram", "much"), "--vram"),
        (("no-such-recipe",), "no recipe"),
        (("meta-llama/Llama-3.1-8B", "--vram", "8", "method.rnk=3"), "rnk"),
    ],
)
def test_a_wrong_question_is_answered_in_a_line(words: tuple[str, ...], part: str) -> None:
    done = ask(*words)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
