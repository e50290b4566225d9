"""The run's numbers as JSON lines, appended step by step and cut back to a checkpoint on resume.

metrics.jsonl holds only what the recipe determines, so that a resumed run's file equals the
uninterrupted run's byte for byte; what the machine determines (speed, memory) is in speed.jsonl.
"""

import json
import os
from pathlib import Path
from typing import Any

from xtune.durable import write_text
from xtune.run.observer import EvaluationMetrics, StepMetrics


class MetricsLog:
    """The two files of a run's numbers, opened for appending."""

    def __init__(self, folder: Path, *, keep_steps: int, evaluates_again: bool = False) -> None:
        """Open the files; whatever lies after step `keep_steps` is cut off, torn lines too.

        With `evaluates_again` that step's evaluation is cut off as well.
        """
        for name in ("metrics.jsonl", "speed.jsonl"):
            _cut(folder / name, keep_steps, keep_steps - evaluates_again)
        self._metrics = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._speed = (folder / "speed.jsonl").open("a", encoding="utf-8")

    def write_step(self, metrics: StepMetrics) -> None:
        """Append one step."""
        _append(
            self._metrics,
            {
                "step": metrics.step,
                "loss": metrics.loss,
                "learning_rate": metrics.learning_rate,
                "grad_norm": metrics.grad_norm,
                "tokens": metrics.tokens,
                "trained_tokens": metrics.trained_tokens,
                "epoch": metrics.epoch,
            },
        )
        _append(
            self._speed,
            {
                "step": metrics.step,
                "tokens_per_s": round(metrics.tokens_per_s, 1),
                "elapsed_s": round(metrics.elapsed_s, 3),
                "memory_bytes": metrics.memory_bytes,
            },
        )

    def write_evaluation(self, metrics: EvaluationMetrics) -> None:
        """Append one evaluation."""
        _append(
            self._metrics,
            {
                "step": metrics.step,
                "evaluation_loss": metrics.loss,
                "evaluation_tokens": metrics.tokens,
            },
        )

    def sync(self) -> None:
        """Make what was appended durable; a checkpoint must not outlive the lines before it in a power cut."""
        for stream in (self._metrics, self._speed):
            os.fsync(stream.fileno())

    def close(self) -> None:
        """Close both files."""
        self._metrics.close()
        self._speed.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a metrics file; a torn last line is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _append(stream: Any, row: dict[str, Any]) -> None:
    # One write per line: a kill can tear the last line, which `_cut` removes, and no other.
    stream.write(json.dumps(row) + "\n")
    stream.flush()


def _cut(path: Path, keep_steps: int, keep_evaluations: int) -> None:
    kept = [
        row
        for row in read_metrics(path)
        if row["step"] <= (keep_evaluations if "evaluation_loss" in row else keep_steps)
    ]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
