"""`xtune evaluate` as it is typed: the parts that are asked for, in one JSON file, and what is refused before a model is loaded."""

import json
from functools import partial
from pathlib import Path

import pytest
from typed_command import Command

from xtune.demo.bundled import bundled_path

# peft 0.21 reads a property that transformers 5.23 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing:FutureWarning")


@pytest.fixture
def evaluate(xtune: Command) -> Command:
    """The verb."""
    return partial(xtune, "evaluate")


def test_a_bare_adapter_is_judged_on_a_task_and_its_folder_stays_as_it_was(
    evaluate: Command, tmp_path: Path
) -> None:
    rows = [
        {
            "premise": f"Lamp {n} fell.",
            "choice1": "It broke.",
            "choice2": "It rained.",
            "question": "effect",
            "label": 0,
        }
        for n in range(3)
    ]
    (tmp_path / "xcopa").mkdir()
    (tmp_path / "xcopa" / "test.vi.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    adapter = bundled_path("bundled:tasks")
    before = sorted(adapter.iterdir())
    numbers = tmp_path / "numbers.json"
    code, out, err = evaluate(
        *(adapter, "--tasks", "understanding", "--languages", "vi, ", "--limit", 2),
        *("--task-data", tmp_path, "--json", numbers),
    )
    assert code == 0, err
    assert "xcopa vi" in out
    assert "fewer than 10 rows" in out
    assert sorted(adapter.iterdir()) == before
    (task,) = json.loads(numbers.read_text())["tasks"]["tasks"]
    assert task["questions"] == 2
    assert set(task["measures"]) == {"accuracy", "accuracy_norm"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "xcoppa"], "Did you mean `xcopa`?"),
        (["--tasks", "xcopa", "--languages", "xx"], "has the language `xx`"),
        (["--tasks", "xcopa", "--task-data", "absent"], "no folder absent"),
        (["--language", "klingon"], "`klingon` is no language code"),
        (["--shots", "2"], "`--tasks all`"),
        (["--tasks", " ,"], "` ,` holds no name"),
        (["--lm-eval", ","], "`,` holds no name"),
        (["--tasks", "xcopa", "--json", "absent/x.json"], "x.json"),
    ],
)
def test_mistakes_are_refused_in_one_line(evaluate: Command, words: list[str], said: str) -> None:
    code, _, err = evaluate(bundled_path("bundled:tasks"), *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
