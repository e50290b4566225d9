"""A run folder as an object: its numbers, its picture, its answers, its model. It reads what is there and trains nothing."""

import os
import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.errors import RunError
from xtune.notebook.table import Table
from xtune.recipe import Recipe, read_recipe
from xtune.report.run_files import RunFiles
from xtune.run.observer import EndInfo

if TYPE_CHECKING:
    from xtune.notebook.model import LoadedModel

SHOWN_PIXELS = 800
"""Width of the picture in a notebook; it has twice as many, for dense screens."""


class Picture:
    """A PNG that a notebook shows."""

    def __init__(self, png: bytes) -> None:
        self.png = png

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file.

        Raises:
            OSError: The file cannot be written.
        """
        Path(path).write_bytes(self.png)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return self.png, {"width": SHOWN_PIXELS}


class Run(os.PathLike[str]):
    """A run: `xtune.train` returns one, and `xtune.Run("runs/quickstart")` opens one that is there.

    It is its folder's path too: `xtune.evaluate(run)`, `xtune.load(run)` and `xtune.merge(run, "merged")` take it as it is.
    """

    def __init__(self, folder: str | os.PathLike[str], *, end: EndInfo | None = None) -> None:
        """Open a run's folder.

        Args:
            folder: The folder, with its recipe.yaml.
            end: How training ended, where that was in this process.

        Raises:
            RunError: There is no run in it.
        """
        self.folder = Path(folder)
        self.end = end
        self.files = RunFiles.read(self.folder)  # a folder without a run is refused here
        self._model: LoadedModel | None = None

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def recipe(self) -> Recipe:
        """What was asked, complete.

        Raises:
            RecipeError: It cannot be read.
        """
        return read_recipe(self.folder / "recipe.yaml")

    @property
    def state(self) -> str:
        """How the run stands: "running", "finished", "interrupted", ..."""
        return RunFiles.read(self.folder).state

    @property
    def result(self) -> Path:
        """A standard PEFT adapter folder, or a standard transformers model folder."""
        return self.folder / ("model" if self.files.method == "full" else "adapter")

    @property
    def metrics(self) -> Table:
        """A row for each optimizer step: losses in nats per trained token, rate, norm, tokens/s, bytes."""
        rows: dict[int, dict[str, Any]] = {}
        files = RunFiles.read(self.folder)
        for row in (*files.metrics, *files.speed):
            rows.setdefault(row["step"], {}).update(row)
        return Table([rows[step] for step in sorted(rows)], caption=f"{self.name}: steps")

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """What `xtune evaluate` found, as evaluation.json has it; empty before.

        The keys `before` and `after` hold the numbers of base and tuned model.
        """
        return RunFiles.read(self.folder).evaluation

    def samples(self, count: int = 5) -> Table:
        """Held-out rows with the base model's answer and the tuned one's.

        Args:
            count: Rows; first those that only the tuned model answers right, wrong ones, and those that it unlearned.

        Raises:
            RunError: The run was not evaluated yet, or no row was asked for.
        """
        if count < 1:
            raise RunError(f"`count` is {count}; it must be 1 or more.")
        samples = RunFiles.read(self.folder).samples(count)
        if not samples:
            raise RunError(
                f"{self.folder} holds no answers yet.",
                advice="Have some written first: xtune.evaluate(run).",
            )
        return Table([sample.as_row() for sample in samples], caption=f"{self.name}: samples")

    def plot(self) -> Picture:
        """The picture of the losses, drawn anew; RUN/loss.png holds it too.

        Raises:
            RunError: No step was recorded yet.
        """
        from xtune.report.picture import draw_loss  # noqa: PLC0415 - matplotlib is imported late

        path = draw_loss(self.folder)
        if path is None:
            raise RunError(f"{self.folder} holds no losses yet.")
        return Picture(path.read_bytes())

    def load(self, *, device: str = "auto") -> "LoadedModel":
        """The model, ready to be asked.

        Args:
            device: "auto", "cpu", "cuda", ...

        Raises:
            XtuneError: The run is not finished, or its base cannot be loaded.
        """
        from xtune.notebook.model import LoadedModel  # noqa: PLC0415 - torch is imported late

        return LoadedModel.open(self.folder, device=device)

    def chat(self, prompt: str, *, system: str | None = None) -> str:
        """The tuned model's answer to one question; `load` gives a model that keeps a conversation.

        Args:
            prompt: The question.
            system: The system prompt.

        Raises:
            XtuneError: The run is not finished, or its base cannot be loaded.
        """
        if self._model is None:
            self._model = self.load()
        self._model.reset()
        return self._model.chat(prompt, system=system)

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the run as one HTML page.

        Args:
            path: The file; default: RUN/report.html.

        Returns:
            The file's path.

        Raises:
            RunError: The page cannot be written.
        """
        from xtune.report.run_page import write_report  # noqa: PLC0415 - used by few

        return write_report(self.folder, None if path is None else Path(path))

    def __str__(self) -> str:
        folder = shlex.quote(str(self.folder))
        return "\n".join(
            [
                f"result      {self.result}",
                f"loss curve  {self.folder / 'loss.png'}",
                f"next        xtune chat {folder}",
                f"            xtune evaluate {folder}",
                f"            xtune report {folder}",
            ]
        )

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.state})"

    def _repr_html_(self) -> str:
        files = RunFiles.read(self.folder)
        facts = "".join(
            f"<tr><th style='text-align:start'>{escape(name)}</th><td style='text-align:start'>{escape(value)}</td></tr>"
            for name, value in (*files.facts(), ("result", str(self.result)))
        )
        heading = f"<b dir='auto'>{escape(self.name)}</b> {escape(files.state_text)}"
        return f"<div>{heading}<table>{facts}</table></div>"
