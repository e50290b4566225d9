"""The tuned model beside its base on the same rows, as a table for people and as evaluation.json."""

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xtune.adapter.open import Opened, open_run
from xtune.data.types import Conversation, Document
from xtune.errors import RunError
from xtune.evaluate.evaluate import (
    Answer,
    Evaluation,
    Options,
    Progress,
    evaluate,
    evaluation_rows,
    make_encoder,
)
from xtune.evaluate.match import Share
from xtune.recipe import Recipe
from xtune.recipe.models import Full
from xtune.run.durable import write_json
from xtune.run.folder import RECIPE

EVALUATION = "evaluation.json"

SAMPLE_CHARACTERS = 600
"""Longest text of a sample row; the whole answers are in evaluation.json."""

SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two evaluations on the same rows."""

    before: Evaluation
    """The base model."""

    after: Evaluation
    """The tuned model."""

    notes: tuple[str, ...] = ()
    """What a person should know of the comparison."""

    @property
    def fixed(self) -> int:
        """Rows that only the tuned model answers as expected."""
        return sum(after.exact and not before.exact for before, after in self._pairs())

    @property
    def broken(self) -> int:
        """Rows that only the base model answers as expected."""
        return sum(before.exact and not after.exact for before, after in self._pairs())

    @property
    def gain_standard_error(self) -> float:
        """Standard error of the gain in exact match, both models having answered the same rows.

        With b rows fixed and c rows broken of n, the gain is (b - c) / n and its variance
        (b + c - (b - c)**2 / n) / n**2, that of a mean of paired differences.
        """
        rows = len(self.after.answers)
        changed, gained = self.fixed + self.broken, self.fixed - self.broken
        return math.sqrt(changed - gained**2 / rows) / rows if rows else 0.0

    def samples(self) -> list[tuple[str, Answer, Answer]]:
        """Up to three rows, each named for what became of it: a fixed one, a wrong one, another one."""
        named = [(_fate(before, after), before, after) for before, after in self._pairs()]
        chosen: list[tuple[str, Answer, Answer]] = []
        for fate in ("fixed", "still wrong", "broken", "right before and after"):
            chosen += [sample for sample in named if sample[0] == fate][:1]
        rest = [sample for sample in named if sample not in chosen]
        return (chosen + rest)[:SAMPLES]

    def to_json(self) -> dict[str, Any]:
        """Numbers of both, and every row."""
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "fixed": self.fixed,
            "broken": self.broken,
            "gain_standard_error": self.gain_standard_error,
            "notes": list(self.notes),
            "rows": [
                {
                    **{key: asdict(after)[key] for key in ("origin", "prompt", "expected")},
                    "before": before.answer,
                    "after": after.answer,
                    "before_exact": before.exact,
                    "after_exact": after.exact,
                    "before_same_json": before.same_json,
                    "after_same_json": after.same_json,
                }
                for before, after in self._pairs()
            ],
        }

    def table(self) -> RenderableType:
        """The comparison for a terminal."""
        parts: list[RenderableType] = [_numbers(self)]
        parts += [Text(f"note: {note}", style="yellow") for note in self.notes]
        parts += [_sample(*sample) for sample in self.samples()]
        return Group(*parts)

    def _pairs(self) -> Iterator[tuple[Answer, Answer]]:
        return zip(self.before.answers, self.after.answers, strict=True)


def compare_run(
    folder: Path,
    sources: Sequence[str] | None = None,
    *,
    options: Options | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Comparison:
    """Evaluate a finished run and its base, and write RUN/evaluation.json.

    Args:
        folder: The run; or an adapter's own folder, into which nothing is written.
        sources: Files to evaluate on; when left out, the rows that the run's recipe holds out.
        options: How to evaluate.
        device: Where to compute.
        progress: Told how many prompts are answered, first by the tuned model, then by the base.

    Raises:
        DataError: There are no rows, or none has an answer.
        RunError: The folder holds no finished run, or a model without a word about its base.
    """
    opened = open_run(folder, device=device)
    if isinstance(opened.recipe.method, Full) and not (folder / RECIPE).exists():
        raise RunError(
            f"{folder} holds a model but does not say what it was before.",
            advice=f"Give the run's folder, the one with {RECIPE}.",
        )
    rows = evaluation_rows(opened.recipe, sources)[: (options or Options()).max_rows]
    after = _evaluate(opened, opened.recipe, rows, options, progress)
    notes: list[str] = []
    if isinstance(opened.recipe.method, Full):
        recipe = opened.recipe
        # one model at a time: two copies of what was trained in full may not fit
        del opened
        _free()
        base = open_run(folder, device=device, base_only=True)
        before = _evaluate(base, recipe, rows, options, progress)
    else:
        with base_only(opened.model):
            before = _evaluate(opened, opened.recipe, rows, options, progress)
        if opened.recipe.method.new_tokens:
            notes.append(
                "the base has rows for the new tokens too, untrained ones, as its text is cut up in the same way"
            )
    comparison = Comparison(before=before, after=after, notes=tuple(notes))
    if (folder / RECIPE).exists():
        write_json(folder / EVALUATION, comparison.to_json())
    return comparison


@contextmanager
def base_only(model: Any) -> Iterator[None]:
    """The model as it was before its adapter, modules saved with the adapter and trained tokens included.

    Raises:
        RunError: The model has no adapter.
    """
    if not hasattr(model, "disable_adapter"):
        raise RunError("The model has no adapter that could be switched off.")
    with model.disable_adapter():
        yield


def _evaluate(
    opened: Opened,
    recipe: Recipe,
    rows: Sequence[Conversation | Document],
    options: Options | None,
    progress: Progress | None,
) -> Evaluation:
    return evaluate(
        opened.model,
        opened.tokenizer,
        rows,
        encoder=make_encoder(recipe, opened.tokenizer),
        options=replace(options or Options(), autocast=opened.autocast),
        progress=progress,
    )


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _fate(before: Answer, after: Answer) -> str:
    if after.exact:
        return "right before and after" if before.exact else "fixed"
    return "broken" if before.exact else "still wrong"


def _numbers(comparison: Comparison) -> Table:
    before, after = comparison.before, comparison.after
    table = Table(title=f"{after.rows:,} held-out rows", title_justify="left", title_style="bold")
    table.add_column("")
    for heading in ("base model", "tuned"):
        table.add_column(heading, justify="right")
    table.add_row(
        "loss (nats per trained token)", f"{before.loss.value:.4f}", f"{after.loss.value:.4f}"
    )
    table.add_row("perplexity", f"{before.loss.perplexity:.4g}", f"{after.loss.perplexity:.4g}")
    if after.exact_match is not None:
        table.add_row("exact match", _share(before.exact_match), _share(after.exact_match))
    if after.json_match is not None:
        table.add_row("same JSON", _share(before.json_match), _share(after.json_match))
    if after.answers:
        gain = (comparison.fixed - comparison.broken) / len(after.answers)
        table.add_row(
            "gain in exact match", "", f"{gain:+.1%} ± {comparison.gain_standard_error:.1%}"
        )
        table.add_row("rows fixed, rows broken", "", f"{comparison.fixed}, {comparison.broken}")
    if before.cut or after.cut:
        table.add_row("answers cut off", str(before.cut), str(after.cut))
    for reason, count in after.dropped.items():
        table.add_row(f"rows left out: {reason}", str(count), str(count))
    return table


def _share(value: Share | None) -> str:
    return "-" if value is None else str(value)


def _sample(fate: str, before: Answer, after: Answer) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in (
        ("prompt", after.prompt),
        ("expected", after.expected),
        ("before", before.answer),
        ("after", after.answer),
    ):
        table.add_row(name, Text(_shortened(text)))
    style = "green" if after.exact else "red"
    return Padding(Group(Text(f"{after.origin}: {fate}", style=style), table), (1, 0, 0, 0))


def _shortened(text: str) -> str:
    return text if len(text) <= SAMPLE_CHARACTERS else f"{text[:SAMPLE_CHARACTERS]} ..."
