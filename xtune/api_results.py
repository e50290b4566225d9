"""The verbs about what training leaves behind, and about the rate to train at, as Python functions.

Importing this module is cheap; torch and transformers come with the first verb that needs them.
"""

import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xtune.api import NamedRecipe, merge, named_recipe
from xtune.found import find_result
from xtune.hardware import prepare_allocator
from xtune.recipe.words import Overrides

if TYPE_CHECKING:
    from xtune.adapter.export import Exported
    from xtune.evaluate.evaluate import Progress
    from xtune.notebook.model import LoadedModel
    from xtune.report.rate_sweep import RateSweep
    from xtune.report.run_list import RunList
    from xtune.run.observer import Observer


def load(run: str | PathLike[str], *, device: str = "auto") -> "LoadedModel":
    """Load a run's model, an adapter or a model folder, to talk to.

    Args:
        run: A run (its folder, or what `train` returned), a PEFT adapter folder or a transformers folder.
        device: "auto", "cpu", "cuda", ...

    Raises:
        XtuneError: There is no finished run, adapter or model, or its base cannot be loaded.
    """
    folder = find_result(run).folder
    from xtune.notebook.model import LoadedModel  # noqa: PLC0415 - torch is imported late

    return LoadedModel.open(folder, device=device)


def export(
    run: str | PathLike[str],
    folder: str | PathLike[str] | None = None,
    *,
    to: str,
    base: Literal["unquantised", "dequantised"] = "unquantised",
    steps: int | None = None,
    progress: "Progress | None" = None,
) -> "Exported":
    """Write a run's model in another format, or merge it and name the commands that make that format.

    Args:
        run: A run, a PEFT adapter folder, or a whole model's folder.
        folder: Where it goes; must not exist. None: the run's name and the format, in the working folder.
        to: `awq`, `gptq`, `auto-round` (by AutoRound, `xtune[export]`); `gguf`, `mlx`, `fp8` (commands).
        base: What a QLoRA adapter is merged into, as in `merge`.
        steps: How often AutoRound improves each layer's rounding; 0 rounds to the nearest, None: its own 200.
        progress: Told how many tensors are merged, and of how many.

    Raises:
        XtuneError: The run cannot be opened or merged, the folder is taken, or a package is missing.
    """
    found = find_result(run)
    from xtune.adapter.export import (  # noqa: PLC0415 - torch is imported late
        CALIBRATION_TOKENS,
        FORMATS,
        Exported,
        check_export,
        commands_for,
        quantise,
    )
    from xtune.evaluate.probe import CALIBRATION_ROWS, data_texts  # noqa: PLC0415

    target = Path(folder or f"{found.folder.resolve().name}-{to}")
    check_export(to, target)
    whole = Path(found.weights.name) if found.adapter is None else None
    if to not in FORMATS:
        if whole is None:
            merge(run, target, base=base, progress=progress)
        model = whole or target
        return Exported(folder=model, to=to, commands=commands_for(to, model))
    merged = whole or target.with_name(f"{target.name}-merged")
    if whole is None:
        merge(run, merged, base=base, progress=progress)
    texts = data_texts(found, CALIBRATION_ROWS, CALIBRATION_TOKENS)
    return quantise(merged, target, to, texts, steps=steps)


def report(run: str | PathLike[str], path: str | PathLike[str] | None = None) -> Path:
    """Write a run as one HTML page that needs no network: recipe, plan, curves, answers, evaluation, data, environment.

    Args:
        run: A run folder, or what `train` returned.
        path: The file; default: RUN/report.html.

    Returns:
        The file's path.

    Raises:
        RunError: There is no run in the folder, or the page cannot be written.
    """
    from xtune.report.run_page import write_report  # noqa: PLC0415 - used by few

    return write_report(Path(run), None if path is None else Path(path))


def runs(folder: str | PathLike[str] = "runs") -> "RunList":
    """Compare the runs in a folder: how they stand, best losses, sizes, speed, and in what their recipes differ.

    Args:
        folder: A folder with run folders in it, at any depth.

    Raises:
        RunError: There is no such folder, or no run in it.
    """
    from xtune.report.run_list import list_runs  # noqa: PLC0415 - used by few

    return list_runs(Path(folder))


def tune_lr(
    recipe: NamedRecipe | str | Path,
    overrides: Overrides = (),
    *,
    first: float = 1e-6,
    last: float = 1.0,
    steps: int = 120,
    observers: "Sequence[Observer]" = (),
) -> "RateSweep":
    """Find a learning rate: raise it from step to step on the recipe's model and data, and name the one below the spike.

    Nothing is saved: no checkpoint, no adapter.

    Args:
        recipe: A name, a path, or what `read` returned.
        overrides: Changes to the recipe, as in `read`.
        first: The first rate.
        last: The last rate, unless a spike comes before.
        steps: Optimizer steps from the one to the other.
        observers: Told of every step, besides the progress bar.

    Raises:
        XtuneError: The recipe cannot be trained here.
        Interrupted: Stopped before enough steps were taken to say anything.
    """
    named = named_recipe(recipe, overrides)
    from xtune.run.observer import Observers, check_observers  # noqa: PLC0415

    check_observers(observers)
    prepare_allocator()
    from xtune.report.notebook import in_notebook  # noqa: PLC0415 - torch is imported late
    from xtune.report.preparing import preparing  # noqa: PLC0415
    from xtune.report.progress import progress  # noqa: PLC0415
    from xtune.report.rate_sweep import RateSweep  # noqa: PLC0415
    from xtune.train.rate_sweep import Range, sweep_rates  # noqa: PLC0415

    points = sweep_rates(
        named.recipe,
        name=named.name,
        sweep=Range(first=first, last=last, steps=steps),
        # what is found goes to standard output, and how far it is does not
        observer=Observers([progress(None if in_notebook() else sys.stderr), *observers]),
        listener=preparing(),
    )
    return RateSweep(name=named.name, points=points, asked=named.recipe.train.learning_rate)
