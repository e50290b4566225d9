"""Hands a run and its base over to EleutherAI's lm-evaluation-harness, for the tasks that xtune has not."""

import contextlib
import io
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table

from xtune.errors import MissingPackageError, XtuneError
from xtune.evaluate.compare import on_both

if TYPE_CHECKING:
    from xtune.adapter.open import Opened
    from xtune.recipe import Recipe

COMMAND = "pip install 'xtune[lm-eval]'"


@dataclass(frozen=True, kw_only=True)
class HarnessOptions:
    """What the harness is told."""

    shots: int = 0
    limit: int | None = None
    seed: int = 0
    template: bool = False
    folder: Path | None = None
    """A folder with task files of the harness, besides its own."""

    batch_rows: int = 8


@dataclass(frozen=True, kw_only=True)
class Line:
    """One number of the harness."""

    task: str
    measure: str
    base: float
    base_error: float | None
    """The standard error that the harness gives."""

    tuned: float
    tuned_error: float | None


@dataclass(frozen=True, kw_only=True)
class HarnessResult:
    """What the harness says of both models."""

    version: str
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "lm_eval": self.version,
            "lines": [
                {key: _finite(value) for key, value in vars(line).items()} for line in self.lines
            ],
        }

    def table(self) -> RenderableType:
        """The numbers for a terminal, with the harness's standard errors."""
        table = Table(
            title=f"lm-evaluation-harness {self.version}",
            title_justify="left",
            title_style="bold",
        )
        for heading in ("task", "measure"):
            table.add_column(heading)
        for heading in ("base model", "tuned", "difference"):
            table.add_column(heading, justify="right")
        for line in self.lines:
            table.add_row(
                line.task,
                line.measure,
                _with_error(line.base, line.base_error),
                _with_error(line.tuned, line.tuned_error),
                f"{line.tuned - line.base:+.4f}",
            )
        return table


def run_harness(
    run: Path, tasks: Sequence[str], options: HarnessOptions | None = None, *, device: str = "auto"
) -> HarnessResult:
    """Let the harness judge a run and its base.

    Args:
        run: The run; or an adapter's own folder.
        tasks: The harness's names of tasks.
        options: What it is told.
        device: Where to compute.

    Raises:
        MissingPackageError: The harness is not installed.
        XtuneError: It knows no such task, or cannot read its rows.
        RunError: The folder holds no finished run.
    """
    options = options or HarnessOptions()
    try:
        import lm_eval  # noqa: PLC0415 - an optional package
        from lm_eval.models.huggingface import HFLM  # noqa: PLC0415
        from lm_eval.tasks import TaskManager  # noqa: PLC0415
    except ImportError:
        raise MissingPackageError("lm-eval", purpose="--lm-eval", command=COMMAND) from None
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=None if options.folder is None else str(options.folder))
    unknown = [name for name in tasks if not manager.match_tasks([name])]
    if unknown:
        raise XtuneError(
            f"lm-evaluation-harness has no task {', '.join(f'`{name}`' for name in unknown)}.",
            advice="`lm_eval ls tasks` lists what it has; --task-data names a folder of more.",
        )

    asked = {
        "tasks": list(tasks),
        "task_manager": manager,
        "num_fewshot": options.shots or None,
        "limit": options.limit,
        "apply_chat_template": options.template,
        "random_seed": options.seed,
        "fewshot_random_seed": options.seed,
        "log_samples": False,
    }

    def measure(opened: "Opened", recipe: "Recipe") -> Mapping[str, Any]:
        del recipe
        model = HFLM(
            pretrained=opened.model,
            tokenizer=opened.tokenizer,
            batch_size=options.batch_rows,
            device=str(next(opened.model.parameters()).device),
            mixed_precision_dtype=opened.autocast,
            softmax_dtype="float32",  # in bfloat16 a log-likelihood of -800 is rounded to a multiple of 4
        )
        with _quiet():
            results: Mapping[str, Any] = lm_eval.simple_evaluate(model, **asked)["results"]
        return results

    try:
        base, tuned, _ = on_both(run, measure, device=device)
    except (OSError, ValueError, LookupError) as error:
        raise XtuneError(
            f"lm-evaluation-harness gave up: {str(error).strip().partition(chr(10))[0]}",
            advice="Without a network it reads only data sets that were fetched before.",
        ) from error
    return HarnessResult(version=str(lm_eval.__version__), lines=tuple(_lines(base, tuned)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The harness prints as it likes, and its bars would fill a log; its errors come as exceptions."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


def _lines(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> list[Line]:
    return [
        Line(
            task=task,
            measure=key.removesuffix(",none"),
            base=float(base[task][key]),
            base_error=_error(base[task], key),
            tuned=float(value),
            tuned_error=_error(numbers, key),
        )
        for task, numbers in tuned.items()
        for key, value in numbers.items()
        if isinstance(value, (int, float)) and "_stderr" not in key and "," in key
    ]


def _error(numbers: Mapping[str, Any], key: str) -> float | None:
    measure, _, kind = key.partition(",")
    value = numbers.get(f"{measure}_stderr,{kind}")
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
