"""The tuned model beside its base on the same rows, as a table for people and as evaluation.json."""

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xtune.adapter.open import Opened, open_run
from xtune.data.types import Conversation, Document
from xtune.durable import write_json
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
from xtune.evaluate.metrics.bootstrap import (
    Compared,
    Measure,
    compare,
    exponential,
    mean_measure,
)
from xtune.evaluate.metrics.texts import Written
from xtune.evaluate.metrics.texts import measure as text_measure
from xtune.evaluate.metrics.translation import COMMAND, is_available
from xtune.evaluate.numbers import (
    Bar,
    change_text,
    comparison_table,
    draw_bars,
    few_rows_note,
    interval_text,
)
from xtune.recipe import Recipe
from xtune.recipe.models import Full
from xtune.run.folder import RECIPE
from xtune.shown import harmless, visible
from xtune.text import detect_language

EVALUATION = "evaluation.json"

SAMPLE_CHARACTERS = 600
"""Longest text of a sample row; the whole answers are in evaluation.json."""

SAMPLES = 3

PICTURE = "evaluation.png"

DETECTED_TEXTS = 100
"""Expected answers whose language is looked at."""

NEW_TOKENS = "the base has rows for the new tokens too, untrained ones, as its text is cut up in the same way"
Measured = TypeVar("Measured")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two evaluations on the same rows."""

    before: Evaluation
    """The base model."""

    after: Evaluation
    """The tuned model."""

    notes: tuple[str, ...] = ()
    """What a person should know of the comparison."""

    language: str = "und"
    """BCP-47 code of the answers' language, which says what a word is; `und` cuts at spaces and punctuation."""

    seed: int = 0
    """Seed of the resamples."""

    @cached_property
    def measures(self) -> tuple[Compared, ...]:
        """Every measure of both models, with 95 % intervals of the bootstrap over rows."""
        pairs = zip(
            _measures(self.before, self.language), _measures(self.after, self.language), strict=True
        )
        return tuple(compare(before, after, seed=self.seed) for before, after in pairs)

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
            "language": self.language,
            "seed": self.seed,
            "measures": {each.name: each.to_json() for each in self.measures},
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
    options = options or Options()
    found: list[list[Conversation | Document]] = []

    def measure(opened: Opened, recipe: Recipe) -> Evaluation:
        if not found:  # a run that holds nothing out is refused before anything is computed
            found.append(evaluation_rows(recipe, sources)[: options.max_rows])
        return _evaluate(opened, recipe, found[0], options, progress)

    before, after, notes = on_both(folder, measure, device=device)
    language = options.language or language_of([answer.expected for answer in after.answers])
    if after.answers and after.json_match is None and not is_available():
        notes = (*notes, f"for BLEU and chrF: {COMMAND}")
    notes = (*notes, *few_rows_note(after.rows))
    comparison = Comparison(
        before=before, after=after, notes=notes, language=language, seed=options.seed
    )
    if (folder / RECIPE).exists():
        write_json(folder / EVALUATION, comparison.to_json())
        bars = [Bar(label=each.name, compared=each) for each in comparison.measures]
        draw_bars(bars, folder / PICTURE, title=f"{after.rows:,} held-out rows")
    return comparison


def on_both(
    folder: Path, measure: Callable[[Opened, Recipe], Measured], *, device: str = "auto"
) -> tuple[Measured, Measured, tuple[str, ...]]:
    """Measure the tuned model, then its base, with one model in memory at a time.

    Args:
        folder: The run; or an adapter's own folder.
        measure: Told the model and the run's recipe; of a full fine-tune the base is opened by itself.
        device: Where to compute.

    Returns:
        What was measured of the base, of the tuned model, and what a person should know of the base.

    Raises:
        RunError: The folder holds no finished run, or a model without a word about its base.
    """
    opened = open_run(folder, device=device)
    recipe = opened.recipe
    if isinstance(recipe.method, Full):
        if not (folder / RECIPE).exists():
            raise RunError(
                f"{folder} holds a model but does not say what it was before.",
                advice=f"Give the run's folder, the one with {RECIPE}.",
            )
        after = measure(opened, recipe)
        # two copies of what was trained in full may not fit
        del opened
        _free()
        return measure(open_run(folder, device=device, base_only=True), recipe), after, ()
    after = measure(opened, recipe)
    with base_only(opened.model):
        before = measure(opened, recipe)
    return before, after, (NEW_TOKENS,) if recipe.method.new_tokens else ()


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
    options: Options,
    progress: Progress | None,
) -> Evaluation:
    return evaluate(
        opened.model,
        opened.tokenizer,
        rows,
        encoder=make_encoder(recipe, opened.tokenizer),
        options=replace(options, autocast=opened.autocast),
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
    table = comparison_table(f"{after.rows:,} held-out rows", "measure")
    for each in comparison.measures:
        table.add_row(
            each.name,
            interval_text(each.base, each.unit),
            interval_text(each.tuned, each.unit),
            change_text(each),
        )
    if after.answers:
        table.add_row("rows fixed, rows broken", "", f"{comparison.fixed}, {comparison.broken}", "")
    if before.cut or after.cut:
        table.add_row("answers cut off", str(before.cut), str(after.cut), "")
    for reason, count in after.dropped.items():
        table.add_row(f"rows left out: {reason}", str(count), str(count), "")
    return table


def _measures(evaluation: Evaluation, language: str) -> list[Measure]:
    """The losses, and of written answers how near they come to the expected ones.

    JSON is judged as JSON alone: words count for nothing there.
    """
    loss, answers = evaluation.loss, evaluation.answers
    rows = loss.rows or ((loss.value * loss.weight, loss.weight),)
    mean = mean_measure(
        "loss (nats a token)",
        [row[0] for row in rows],
        weights=[row[1] for row in rows],
        unit="number",
        less_is_better=True,
    )
    measures = [
        mean,
        replace(
            mean, name="perplexity", value_of=lambda sums: exponential(sums[:, 0] / sums[:, 1])
        ),
    ]
    if not answers:
        return measures
    measures.append(mean_measure("exact match", [float(answer.exact) for answer in answers]))
    if evaluation.json_match is not None:
        marks = [float(bool(answer.same_json)) for answer in answers]
        return [*measures, mean_measure("same JSON", marks)]
    written = Written(
        answers=[answer.answer for answer in answers],
        references=[[answer.expected] for answer in answers],
        language=language,
    )
    names = ["word_f1", "rouge_l", *(["bleu", "chrf"] if is_available() else [])]
    return [*measures, *(text_measure(name, written) for name in names)]


def language_of(texts: Sequence[str]) -> str:
    """The language that most of the first texts are in; `und` where none is clear."""
    found = Counter(filter(None, map(detect_language, texts[:DETECTED_TEXTS])))
    return found.most_common(1)[0][0] if found else "und"


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
        table.add_row(name, Text(harmless(_shortened(text))))  # a model may write anything
    style = "green" if after.exact else "red"
    heading = Text(visible(f"{after.origin}: {fate}"), style=style)
    return Padding(Group(heading, table), (1, 0, 0, 0))


def _shortened(text: str) -> str:
    return text if len(text) <= SAMPLE_CHARACTERS else f"{text[:SAMPLE_CHARACTERS]} ..."
