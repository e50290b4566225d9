"""Real data files train and improve: the held-out loss of each falls well below what it was after the first steps."""

from pathlib import Path

import pytest
from running import metrics, write_recipe, xtune

from xtune.demo.bundled import bundled_path

SKILLS = Path(__file__).parents[2].parent / "shared" / "data" / "skills"

CASES = {
    "gsm8k/train_2k.jsonl": {"prompt": "question", "completion": "answer"},
    "wikisql/train.jsonl": {"prompt": "question", "completion": "sql"},
    "svamp/train_mawps_asdiv.csv": {"prompt": "Question", "completion": "Answer"},
    "tldr_shell/en.jsonl": {"prompt": "instruction", "completion": "output"},
    "tldr_shell/th.jsonl": {"prompt": "instruction", "completion": "output"},
}


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(
    not SKILLS.exists(), reason="the third-party skill files are not beside the repository"
)
@pytest.mark.parametrize("name", CASES)
def test_a_real_skill_file_trains_and_its_held_out_loss_falls(name: str, tmp_path: Path) -> None:
    changes = {
        "method": {"type": "lora", "rank": 16},
        "data.format": "prompt_completion",
        "data.columns": CASES[name],
        "data.evaluate": 0.05,
        "data.max_tokens": 768,
        "train.learning_rate": 2e-3,
        "train.max_steps": 40,
        "train.micro_batch_size": 8,
        "train.evaluate_every": 4,
    }
    recipe = write_recipe(tmp_path, bundled_path("bundled:demo"), SKILLS / name, changes)
    done = xtune("train", str(recipe))
    assert done.returncode == 0, done.stderr
    held_out = [
        row["evaluation_loss"] for row in metrics(tmp_path / "run") if "evaluation_loss" in row
    ]
    assert held_out[-1] < 0.8 * held_out[0], held_out
