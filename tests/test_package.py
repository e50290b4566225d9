"""The wheel holds what an installed xtune needs: recipes, demo model, rows; and stays small."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_recipes_demo_model_and_rows(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("xtune-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "xtune/_recipes/quickstart.yaml",
        "xtune/_recipes/demo/pretrain.yaml",
        "xtune/_recipes/schema.json",
        "xtune/demo/model/model.safetensors",
        "xtune/demo/model/tokenizer.json",
        "xtune/demo/data/train.jsonl",
        "xtune/report/page/rows.css",
        "xtune/report/page/run.css",
        "xtune/report/page/rows.js",
        "xtune/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "runs/"))]
    assert wheel.stat().st_size < 14 * 2**20


def test_the_constraints_name_versions_and_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in line for line in pins)
    assert "://" not in "".join(lines)
    assert "torch==2.13.0" in pins
