"""Runs of the real command on the tiny model, for the tests of this folder."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from warm import run_warm


def write_recipe(folder: Path, model: Path, train: Path, changes: Mapping[str, Any]) -> Path:
    """A small recipe with dotted changes; its run folder is `folder`/run."""
    recipe: dict[str, Any] = {
        "stage": "sft",
        "model": {"name": str(model)},
        "method": {"type": "lora", "rank": 4},
        "data": {"train": str(train), "max_tokens": 64},
        "train": {
            "learning_rate": 0.003,
            "max_steps": 12,
            "batch_size": 8,
            "micro_batch_size": 4,
            "save_every": 4,
        },
        "run": {"folder": str(folder / "run"), "seed": 7},
    }
    for name, value in changes.items():
        section, _, key = name.partition(".")
        if key:
            recipe[section] = {**recipe.get(section, {}), key: value}
        else:
            recipe[section] = value
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def xtune(*words: str, processes: int = 1, **more: Any) -> subprocess.CompletedProcess[str]:
    """The command, as a person would run it; a single process without further options in a warm one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if processes == 1 and not more.keys() - {"cwd"} and sys.platform == "linux":
        return run_warm(list(words), environment=environment, **more)
    start = [sys.executable, "-m", "xtune"]
    if processes > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run"]
        start = [
            *torchrun,
            "--nproc_per_node",
            str(processes),
            "--master_port",
            "0",
            "--standalone",
            "-m",
            "xtune",
        ]
    return subprocess.run(
        [*start, *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
        **more,
    )


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [
        json.loads(line)
        for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def losses(run: Path) -> list[float]:
    """The training loss of every step."""
    return [row["loss"] for row in metrics(run) if "loss" in row]
