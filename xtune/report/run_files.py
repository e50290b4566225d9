"""What a run folder holds, read for people: a damaged or missing file is an empty one, and only a folder without a run is refused."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from xtune.errors import RunError
from xtune.report.pace import bytes_text, duration_text, rate_text
from xtune.run.metrics import read_metrics

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A held-out row with two answers."""

    origin: str
    prompt: str
    expected: str
    before: str
    """The base model's answer."""

    after: str
    """The tuned model's."""

    before_right: bool
    after_right: bool

    @property
    def fate(self) -> str:
        """What the training did to the row."""
        if self.after_right:
            return "right before and after" if self.before_right else "fixed"
        return "broken" if self.before_right else "still wrong"

    def as_row(self) -> dict[str, Any]:
        """For a table."""
        return {
            "prompt": self.prompt,
            "expected": self.expected,
            "base model": self.before,
            "tuned": self.after,
            "": self.fate,
        }


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The files of a run, parsed and not judged."""

    folder: Path
    recipe_text: str
    recipe: Mapping[str, Any]
    plan: Mapping[str, Any]
    data: Mapping[str, Any]
    environment: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    status: Mapping[str, Any]
    metrics: Sequence[Row]
    speed: Sequence[Row]
    damaged: tuple[str, ...]
    """Files that are there and cannot be read."""

    @classmethod
    def read(cls, folder: Path) -> "RunFiles":
        """Read a run's folder.

        Raises:
            RunError: There is no such folder, or no run in it.
        """
        if not folder.is_dir():
            likely = Path("runs") / folder
            raise RunError(
                f"There is no folder {folder}.",
                advice=f"Did you mean {likely}?" if likely.is_dir() else "Give a run's folder.",
            )
        path = folder / "recipe.yaml"
        if not path.is_file():
            raise RunError(
                f"{folder} holds no run: there is no recipe.yaml in it.",
                advice="Give the folder that `xtune train` named.",
            )
        text = path.read_text(encoding="utf-8", errors="replace")
        damaged: list[str] = []
        recipe = _mapping(_yaml(text))
        if not recipe:
            damaged.append(path.name)
        notes = {
            name: _read_json(folder / f"{name}.json", damaged)
            for name in ("plan", "data", "environment", "evaluation", "status")
        }
        return cls(
            folder=folder,
            recipe_text=text,
            recipe=recipe,
            metrics=_read_rows(folder / "metrics.jsonl", damaged),
            speed=_read_rows(folder / "speed.jsonl", damaged),
            damaged=tuple(damaged),
            **notes,
        )

    @property
    def method(self) -> str:
        """The method's type: full, lora or qlora; "?" in a damaged recipe."""
        return str(_mapping(self.recipe.get("method")).get("type", "?"))

    @property
    def model(self) -> str:
        """The base model's name."""
        return str(_mapping(self.recipe.get("model")).get("name", "?"))

    @property
    def state(self) -> str:
        """How it ended: running, finished, ...; "not started" before the first step."""
        return str(self.status.get("state", "not started"))

    @property
    def state_text(self) -> str:
        """The state with the steps: "finished, 300 of 300 steps"."""
        words = self.state.replace("_", " ")
        return f"{words}, {self.steps_text} steps" if self.steps_text else words

    @property
    def steps_text(self) -> str:
        """Steps done, of how many: "132/300", "300"; empty before the first."""
        step, total = self.status.get("step"), self.status.get("total_steps")
        if not total:
            return ""
        return f"{step}" if step == total else f"{step}/{total}"

    @property
    def losses(self) -> list[tuple[int, float]]:
        """Training loss by step."""
        return self.series("loss")

    @property
    def held_out(self) -> list[tuple[int, float]]:
        """Loss on the held-out rows by step."""
        return self.series("evaluation_loss")

    @property
    def last_loss(self) -> float | None:
        """Mean training loss of the last fiftieth of the steps; single steps are noisy."""
        losses = [loss for _, loss in self.losses]
        last = losses[-max(1, len(losses) // 50) :]
        return sum(last) / len(last) if last else None

    @property
    def best_held_out(self) -> tuple[int, float] | None:
        """Step and value of the lowest held-out loss."""
        return min(self.held_out, key=lambda point: point[1], default=None)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens a second over the whole run."""
        tokens = [row["tokens"] for row in self.metrics if is_finite(row.get("tokens"))]
        seconds = self.elapsed_s
        return tokens[-1] / seconds if tokens and seconds else None

    @property
    def elapsed_s(self) -> float | None:
        """Training time."""
        values = self.series("elapsed_s")
        return values[-1][1] if values else None

    @property
    def peak_bytes(self) -> int | None:
        """Peak memory: the device's, or the process's on a CPU."""
        values = self.series("memory_bytes")
        return int(max(value for _, value in values)) if values else None

    @property
    def result_bytes(self) -> int | None:
        """Bytes of the adapter's or the model's weights; None before there are some."""
        result = self.folder / ("model" if self.method == "full" else "adapter")
        sizes = [file.stat().st_size for file in result.glob("*.safetensors")]
        return sum(sizes) if sizes else None

    def series(self, name: str) -> list[tuple[int, float]]:
        """The finite values of a number by step."""
        rows = (*self.metrics, *self.speed)
        return [(row["step"], float(row[name])) for row in rows if is_finite(row.get(name))]

    def facts(self) -> Iterator[tuple[str, str]]:
        """The run in a few numbers."""
        yield "model", self.model
        yield "method", self.method
        if self.last_loss is not None:
            yield "training loss, at the end", f"{self.last_loss:.4f}"
        if self.best_held_out is not None:
            step, loss = self.best_held_out
            yield "held-out loss, best", f"{loss:.4f} (step {step:,})"
        for key, label in (("exact_match", "exact match"), ("json_match", "same JSON")):
            before, after = (share_text(self._share(side, key)) for side in ("before", "after"))
            if after:
                yield label, f"{before or '-'} \N{RIGHTWARDS ARROW} {after}"
        if self.elapsed_s is not None:
            yield "training time", duration_text(self.elapsed_s)
        if self.tokens_per_s is not None:
            yield "speed", f"{rate_text(self.tokens_per_s)} tokens/s"
        if self.peak_bytes is not None:
            yield "peak memory", bytes_text(self.peak_bytes)
        if self.result_bytes is not None:
            yield "size of the result", bytes_text(self.result_bytes)

    def samples(self, count: int) -> list[Sample]:
        """Rows of the evaluation, the telling ones first: fixed, still wrong and broken in turn, then the others."""
        rows = self.evaluation.get("rows")
        found = [
            _sample(row)
            for row in (rows if isinstance(rows, list) else ())
            if isinstance(row, dict)
        ]
        fates: dict[str, list[Sample]] = {"fixed": [], "still wrong": [], "broken": []}
        rest: list[Sample] = []
        for sample in found:
            fates.get(sample.fate, rest).append(sample)
        chosen: list[Sample] = []
        while len(chosen) < count and any(fates.values()):
            chosen += [samples.pop(0) for samples in fates.values() if samples]
        return (chosen + rest)[:count]

    def _share(self, side: str, key: str) -> Any:
        return _mapping(self.evaluation.get(side)).get(key)


def is_finite(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def share_text(value: Any) -> str:
    """A share of evaluation.json: "97.0 %"; "" for anything else."""
    share = _mapping(value).get("value")
    return f"{share:.1%}" if isinstance(share, float) and math.isfinite(share) else ""


def _sample(row: Mapping[str, Any]) -> Sample:
    texts = {name: str(row.get(name) or "") for name in ("origin", "prompt", "expected", "before", "after")}  # fmt: skip
    right = [bool(row.get(f"{side}_exact") or row.get(f"{side}_same_json")) for side in ("before", "after")]  # fmt: skip
    return Sample(**texts, before_right=right[0], after_right=right[1])


def _read_json(path: Path, damaged: list[str]) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        damaged.append(path.name)
    return _mapping(value)


def _read_rows(path: Path, damaged: list[str]) -> Sequence[Row]:
    try:
        return read_metrics(path)
    except OSError:
        damaged.append(path.name)
        return ()


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
