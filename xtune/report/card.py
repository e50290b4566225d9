"""The model card: README.md of a run and of its adapter or model, written from what the run folder holds."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xtune.data.folder_splits import evaluation_sources
from xtune.durable import write_text
from xtune.recipe import Recipe
from xtune.recipe.models import Full, LowRank, QLoRA
from xtune.recipe.read import read_recipe
from xtune.report.base_model import (
    CARD,
    CHAT_LINES,
    base_license,
    hub_id,
    load_adapter,
    load_full,
    public_name,
    quantization_arguments,
)
from xtune.report.pace import bytes_text, duration_text
from xtune.run.metrics import read_metrics
from xtune.run.observer import EndInfo, EvaluationMetrics, StartInfo, StepMetrics

FINGERPRINT_DIGITS = 16
"""Digits of a SHA-256 that a card shows; data.json has all 64."""


def write_cards(run_folder: Path) -> list[Path]:
    """Write RUN/README.md and the README.md of the result; both replace what is there.

    Raises:
        RecipeError: The run's recipe.yaml cannot be read.
        OSError: A card could not be written.
    """
    recipe = read_recipe(run_folder / "recipe.yaml")
    facts = _Facts(run_folder, recipe)
    result = run_folder / ("model" if isinstance(recipe.method, Full) else "adapter")
    written = []
    for folder in (run_folder, result):
        if folder.is_dir():
            write_text(folder / CARD, facts.card(at=folder))
            written.append(folder / CARD)
    return written


class CardWriter:
    """An observer that writes the cards once the result is on disk."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def on_start(self, start: StartInfo) -> None:
        """Note where the run is."""
        self._folder = start.folder

    def on_step(self, metrics: StepMetrics) -> None:
        """Nothing: a card is about a finished run."""

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Nothing: a card is about a finished run."""

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: a card is about a finished run."""

    def on_message(self, text: str) -> None:
        """Nothing: messages are for the person here."""

    def on_end(self, end: EndInfo) -> None:
        """Write the cards, if the run has a result.

        Raises:
            OSError: A card could not be written.
        """
        if self._folder is not None and end.status in {"finished", "stopped_early", "out_of_time"}:
            write_cards(self._folder)


class _Facts:
    """What a run folder says about itself, and the card made of it."""

    def __init__(self, run_folder: Path, recipe: Recipe) -> None:
        self.folder = run_folder
        self.recipe = recipe
        self.data = _read_json(run_folder / "data.json")
        self.plan = _read_json(run_folder / "plan.json")
        self.environment = _read_json(run_folder / "environment.json")
        self.evaluation = _read_json(run_folder / "evaluation.json")
        self.metrics = read_metrics(run_folder / "metrics.jsonl")
        self.speed = read_metrics(run_folder / "speed.jsonl")

    def card(self, *, at: Path) -> str:
        """The card for the run's folder or for its result's."""
        name = self.folder.resolve().name
        picture = ["![Training loss](loss.png)\n"] if (at / "loss.png").exists() else []
        sections = [
            f"---\n{yaml.safe_dump(self.front_matter(), sort_keys=False, allow_unicode=True)}---\n",
            f"# {name}\n",
            self.summary(),
            *picture,
            "## Use\n",
            self.usage(at),
            "## Results\n",
            self.results(),
            "## Training data\n",
            self.training_data(),
            "## Training\n",
            self.training(),
            "## Limits\n",
            self.limits(),
            "## Environment\n",
            self.environment_table(),
        ]
        return "\n".join(sections)

    def front_matter(self) -> dict[str, Any]:
        """What hubs read: never a path of this machine."""
        model, method = self.recipe.model, self.recipe.method
        front: dict[str, Any] = {}
        if base := hub_id(model):
            front["base_model"] = base
        front |= {
            "library_name": "transformers" if isinstance(method, Full) else "peft",
            "pipeline_tag": "text-generation",
            "tags": ["xtune", method.type, self.recipe.stage],
        }
        return front | base_license(model)

    def summary(self) -> str:
        """One sentence."""
        method, model = self.recipe.method, self.recipe.model
        what = {"full": "All weights", "lora": "A LoRA adapter", "qlora": "A QLoRA adapter"}[
            method.type
        ]
        stage = (
            "continued pretraining on plain text"
            if self.recipe.stage == "pretrain"
            else "supervised fine-tuning"
        )
        revision = f" (revision `{model.revision}`)" if model.revision else ""
        return f"{what} for `{public_name(model.name)}`{revision}, made with xtune by {stage}.\n"

    def usage(self, at: Path) -> str:
        """Python that loads the result with peft and transformers alone."""
        method = self.recipe.method
        place = "." if at != self.folder else "model" if isinstance(method, Full) else "adapter"
        lines = (
            load_full(place)
            if isinstance(method, Full)
            else load_adapter(place, self.recipe.model, method)
        )
        note = ""
        if isinstance(method, QLoRA):
            note = (
                f"\nIt was trained on the base in {method.quantization}. The lines above load the base unquantised, which answers "
                "a little differently; for the model that was trained, pass `quantization_config=BitsAndBytesConfig("
                f"{quantization_arguments(method)})`.\n"
            )
        if (at / "chat_template.jinja").exists() or self.recipe.stage == "sft":
            lines += CHAT_LINES
        return "```python\n" + "\n".join(lines) + f"\n```\n{note}"

    def results(self) -> str:
        """Losses, and the evaluation if there was one."""
        losses = [row for row in self.metrics if _finite(row.get("loss"))]
        held_out = [row for row in self.metrics if _finite(row.get("evaluation_loss"))]
        rows: list[tuple[str, str]] = []
        if losses:
            last = losses[-max(1, len(losses) // 50) :]
            mean = sum(row["loss"] for row in last) / len(last)
            rows.append(
                (
                    f"training loss, mean of the last {len(last)} of {losses[-1]['step']} steps",
                    f"{mean:.4f}",
                )
            )
        if held_out:
            best = min(held_out, key=lambda row: float(row["evaluation_loss"]))
            rows.append(
                (
                    f"held-out loss, last (step {held_out[-1]['step']})",
                    f"{held_out[-1]['evaluation_loss']:.4f}",
                )
            )
            rows.append(
                (f"held-out loss, best (step {best['step']})", f"{best['evaluation_loss']:.4f}")
            )
        table = _table(("measure (losses in nats per trained token)", "value"), rows)
        return (table or "No losses were recorded.\n") + self._before_and_after()

    def _before_and_after(self) -> str:
        before, after = (self.evaluation.get(key) or {} for key in ("before", "after"))
        rows = []
        for key, label in (
            ("loss", "loss"),
            ("perplexity", "perplexity"),
            ("exact_match", "exact match"),
            ("json_match", "same JSON"),
        ):
            if _value(after.get(key)):
                rows.append((label, _value(before.get(key)) or "-", _value(after.get(key))))
        if not rows:
            return ""
        count = after.get("rows", "?")
        return f"\n`xtune evaluate` on {count} rows:\n\n" + _table(
            ("measure", "base model", "tuned"), rows
        )

    def training_data(self) -> str:
        """Files by fingerprint, rows and drops."""
        files = [file for file in self.data.get("files") or () if isinstance(file, Mapping)]
        shown = [
            (
                f"`{public_name(str(file.get('name')))}`",
                f"{file.get('rows', 0):,}",
                str(file.get("format", "")),
                f"`{str(file.get('sha256', ''))[:FINGERPRINT_DIGITS]}`"
                + ("" if file.get("written_ns") is None else " (of samples)"),
            )
            for file in files
        ]
        heads = ("file", "rows", "format", f"SHA-256, first {FINGERPRINT_DIGITS} digits")
        counts = [
            (
                name,
                f"{part['rows_kept']:,} of {part['rows_read']:,}",
                f"{part['trained_tokens']:,} of {part['tokens']:,}",
                _drops(part),
            )
            for name, key in (("training", "train"), ("held out", "evaluate"))
            if isinstance(part := self.data.get(key), Mapping) and "rows_kept" in part
        ]
        table = _table(("set", "rows used", "tokens in the loss", "rows left out"), counts)
        parts = [part for part in (_table(heads, shown), table) if part]
        return (
            "\n".join(parts)
            or ", ".join(f"`{public_name(source.source)}`" for source in self.recipe.data.train)
            + "\n"
        )

    def training(self) -> str:
        """The recipe's main numbers, what the plan chose, and what it took."""
        recipe, train = self.recipe, self.recipe.train
        rows: list[tuple[str, str]] = [("method", recipe.method.type)]
        if isinstance(recipe.method, LowRank):
            rows += [
                (
                    "rank, alpha",
                    f"{recipe.method.rank}, {self._chosen('alpha') or recipe.method.alpha or 'auto'}",
                )
            ]
            rows += [
                ("targets", ", ".join(recipe.method.targets)),
                ("initialisation", recipe.method.init),
            ]
        if isinstance(recipe.method, QLoRA):
            rows += [("quantisation of the base", recipe.method.quantization)]
        rows += [
            ("learning rate", f"{train.learning_rate:g}, {train.schedule}"),
            ("batch size", str(train.batch_size)),
            ("longest sequence", f"{recipe.data.max_tokens} tokens"),
            ("optimizer", self._chosen("optimizer") or train.optimizer),
            ("compute type", self._chosen("compute_dtype") or recipe.model.dtype),
            ("seed", str(recipe.run.seed)),
        ]
        if self.speed:
            last = self.speed[-1]
            rows.append(("training time", duration_text(float(last.get("elapsed_s", math.nan)))))
            rows.append(
                (
                    "peak memory",
                    bytes_text(max(int(row.get("memory_bytes", 0)) for row in self.speed)),
                )
            )
        return (
            _table(("setting", "value"), rows)
            + "\nThe run folder's `recipe.yaml` and `plan.json` hold everything else.\n"
        )

    def _chosen(self, name: str) -> str | None:
        choice = self.plan.get(name) or (self.plan.get("choices") or {}).get(name)
        value = choice.get("value") if isinstance(choice, Mapping) else None
        return None if value is None else str(value)

    def limits(self) -> str:
        """What nobody measured."""
        lines = [
            "- It was measured on the rows named above and on nothing else: not for safety, bias, or other tasks.",
            "- Whatever limits and licence terms the base model has, this has as well.",
            f"- Sequences above {self.recipe.data.max_tokens} tokens were not trained on.",
        ]
        if evaluation_sources(self.recipe.data) is None:
            lines.append(
                "- No rows were held out, so nothing shows how it does on rows it has not seen."
            )
        return "\n".join(lines) + "\n"

    def environment_table(self) -> str:
        """Versions, machine, commit."""
        packages = self.environment.get("packages")
        rows = [
            (str(name), str(self.environment[name]))
            for name in ("python", "platform", "processor", "device")
            if isinstance(self.environment.get(name), str)
        ]
        if isinstance(packages, Mapping):
            rows += [(str(name), str(version)) for name, version in packages.items() if version]
        return _table(("", "version"), rows) or "Not recorded.\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _drops(part: Mapping[str, Any]) -> str:
    dropped = part.get("dropped") or {}
    return ", ".join(f"{count['rows']:,} {reason}" for reason, count in dropped.items()) or "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _value(entry: Any) -> str:
    """A number of evaluation.json as text; a share with its standard error; "" for nothing."""
    if isinstance(entry, Mapping) and _finite(entry.get("value")):
        return f"{entry['value']:.1%} ± {entry.get('standard_error', math.nan):.1%}"
    return f"{entry:.4f}" if _finite(entry) else ""


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
