"""Progress of training as one panel in a notebook: a bar, the numbers, and the loss as a small curve.

It needs IPython alone, which every notebook has; ipywidgets is not needed.
"""

import html
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xtune.report.pace import Pace, bytes_text, duration_text, rate_text
from xtune.run.observer import EndInfo, EvaluationMetrics, StartInfo, StepMetrics

REFRESH_S = 0.5
"""Between two updates: each travels to the browser, and is stored in the notebook."""

CURVE_POINTS = 200
"""Points of the curve; above, every second one is dropped. The curve is 480 pixels wide."""

WIDTH, HEIGHT = 480, 96


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook (Jupyter, Colab, VS Code)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # a terminal's IPython has a shell too, but no kernel
    return getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """A panel that is updated in place."""

    def __init__(
        self,
        show: Callable[[str], Callable[[str], None]] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show HTML with `show`, which returns what replaces it; by default IPython's display."""
        self._show = show or _display
        self._clock = clock
        self._replace: Callable[[str], None] | None = None
        self._pace: Pace | None = None
        self._curve = Curve()
        self._notes: list[str] = []
        self._drawn = 0.0

    def on_start(self, start: StartInfo) -> None:
        """Show the panel."""
        self._pace = Pace.start(start)
        self._draw()

    def on_step(self, metrics: StepMetrics) -> None:
        """Update it, unless that was done a moment ago."""
        if self._pace is None:
            return
        self._pace.add(metrics)
        self._curve.add(metrics.step, self._pace.loss.value)
        if self._clock() - self._drawn >= REFRESH_S or metrics.step == self._pace.total_steps:
            self._draw()

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Add the evaluation to the curve and the notes."""
        self._curve.evaluations.append((metrics.step, metrics.loss))
        self._notes.append(
            f"step {metrics.step}: evaluation loss {metrics.loss:.4f}"
            + (" (best)" if metrics.best else "")
        )
        self._draw()

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: the panel is enough."""

    def on_message(self, text: str) -> None:
        """Add it to the notes."""
        self._notes.append(text)
        self._draw()

    def on_end(self, end: EndInfo) -> None:
        """Show the last state and how it ended."""
        self._notes.append(end.message)
        self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock()
        panel = panel_html(self._pace, self._curve, self._notes)
        if self._replace is None:
            self._replace = self._show(panel)
        else:
            self._replace(panel)


class Curve:
    """The smoothed loss, thinned out to what a small curve can show, and the evaluations."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self.evaluations: list[tuple[int, float]] = []
        self._every = 1

    def add(self, step: int, loss: float) -> None:
        """Take a step in."""
        if step % self._every or not math.isfinite(loss):
            return
        self.points.append((step, loss))
        if len(self.points) > CURVE_POINTS:
            self._every *= 2
            self.points = [point for point in self.points if point[0] % self._every == 0]

    def svg(self) -> str:
        """The curve as an SVG element; empty before two points."""
        if len(self.points) < 2:
            return ""
        everything = [*self.points, *self.evaluations]
        first, last = everything[0][0], max(step for step, _ in everything)
        losses = [loss for _, loss in everything if math.isfinite(loss)]
        low, high = min(losses), max(losses)

        def place(step: int, loss: float) -> tuple[float, float]:
            x = 4 + (WIDTH - 8) * (step - first) / max(last - first, 1)
            return x, 4 + (HEIGHT - 8) * (high - loss) / max(high - low, 1e-9)

        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in self.points))
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#d9730d"/>'
            for x, y in (place(*point) for point in self.evaluations if math.isfinite(point[1]))
        )
        return (
            f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="loss, {high:.3f} to {low:.3f}">'
            f'<polyline points="{path}" fill="none" stroke="#2f6fde" stroke-width="1.8"/>{dots}</svg>'
        )


def panel_html(pace: Pace | None, curve: Curve, notes: list[str]) -> str:
    """The whole panel; colours that hold on light and dark pages, no script."""
    lines = "".join(f"<div>{html.escape(note)}</div>" for note in notes[-8:])
    if pace is None:
        return f'<div style="font-family:monospace">{lines}</div>'
    numbers = [
        f"step {pace.step}/{pace.total_steps}",
        f"loss {pace.loss.value:.4f}" if curve.points else "loss ...",
        f"learning rate {pace.learning_rate:.1e}",
        f"{rate_text(pace.tokens_per_s)} tokens/s",
        bytes_text(pace.memory_bytes),
        f"{duration_text(pace.remaining_s)} left",
    ]
    return (
        '<div style="font-family:monospace;max-width:640px">'
        f'<progress value="{pace.step}" max="{pace.total_steps}" style="width:{WIDTH}px"></progress>'
        f"<div>{' &middot; '.join(numbers)}</div>{curve.svg()}{lines}</div>"
    )


def _display(panel: str) -> Callable[[str], None]:
    from IPython.display import HTML, display  # noqa: PLC0415 - exists in notebooks alone

    handle: Any = display(HTML(panel), display_id=True)
    return lambda text: handle.update(HTML(text))
