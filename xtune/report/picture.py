"""The picture of a run, loss.png, drawn from metrics.jsonl without a display and without pyplot's global state."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from xtune.drawing import quiet_drawing
from xtune.run.metrics import read_metrics
from xtune.run.observer import EndInfo, EvaluationMetrics, StartInfo, StepMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = "loss.png"
REDRAW_S = 30.0
"""At least this long between two drawings during a run."""

REDRAW_SHARE = 0.005
"""And at most this part of the time goes into drawing: one takes 0.3 to 0.4 s (two EPYC cores, 2026-11-22)."""

SIZE_INCHES = (8.0, 5.0)
DOTS_PER_INCH = 200
"""1600 x 1000 pixels: sharp on dense screens, and letters of 14 pixels where it is shown 800 wide."""

TITLE_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans Thai",
    "Noto Sans Arabic",
)
"""matplotlib's own font, then what Linux, macOS and Windows bring for letters that it lacks."""

INK, FAINT, BLUE, ORANGE = "#1f2328", "#8b949e", "#2563eb", "#ea580c"

LONGEST_TITLE = 50
"""Characters of the heading that fit into the width."""

MOST_POINTS = 4000
"""Points of the raw curve; twice the pixels of its width."""


@dataclass(frozen=True)
class Series:
    """What metrics.jsonl says, as columns. Losses are in nats per token."""

    steps: list[int]
    losses: list[float]
    learning_rates: list[float]
    evaluations: list[tuple[int, float]]
    epochs: float

    @classmethod
    def read(cls, path: Path) -> "Series":
        """Read the file; rows whose loss is not a finite number are left out."""
        rows = read_metrics(path)
        training = [row for row in rows if _is_finite(row.get("loss"))]
        return cls(
            steps=[row["step"] for row in training],
            losses=[float(row["loss"]) for row in training],
            learning_rates=[float(row.get("learning_rate", math.nan)) for row in training],
            evaluations=[
                (row["step"], float(row["evaluation_loss"]))
                for row in rows
                if _is_finite(row.get("evaluation_loss"))
            ],
            epochs=float(training[-1].get("epoch", math.nan)) if training else math.nan,
        )

    def smoothed(self) -> list[float]:
        """Each step's mean over the steps around it, the nearest counting most: some 4 % of the run on each side."""
        reach = max(1, round(0.02 * len(self.losses)))
        # a box twice is a tent: a spike becomes a peak, not a plateau
        return _means_around(_means_around(self.losses, reach), reach)


def draw_loss(run_folder: Path, *, title: str | None = None) -> Path | None:
    """Draw RUN/loss.png.

    Args:
        run_folder: The run; its metrics.jsonl is read.
        title: Heading of the picture; the folder's name when left out.

    Returns:
        The picture's path; None if there is nothing to draw yet.

    Raises:
        OSError: The picture could not be written; the old one is untouched.
    """
    series = Series.read(run_folder / "metrics.jsonl")
    if not series.steps:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - matplotlib is imported late: 0.4 s

    target = run_folder / PICTURE
    aside = run_folder / f".{PICTURE}.writing"
    with quiet_drawing():
        figure = picture(
            series, title=title or run_folder.resolve().name, subtitle=_subtitle(run_folder, series)
        )
        FigureCanvasAgg(figure)
        figure.savefig(aside, format="png", dpi=DOTS_PER_INCH, metadata={"Software": "xtune"})
    aside.replace(target)
    return target


def picture(series: Series, *, title: str, subtitle: str) -> "Figure":
    """The figure: loss above, learning rate in a small panel below, one axis of steps."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - matplotlib is imported late: 0.4 s
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - as above

    layout = ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.12, hspace=0.03)
    figure = Figure(figsize=SIZE_INCHES, layout=layout, facecolor="white")
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(4.2, 1))
    _draw_losses(loss, series)
    _draw_learning_rate(rate, series)
    head(loss, title, subtitle)
    epochs = f"   ({series.epochs:.3g} epochs)" if math.isfinite(series.epochs) else ""
    rate.set_xlabel(f"optimizer step{epochs}", fontsize=10, color=INK)
    return figure


def head(axes: "Axes", title: str, subtitle: str) -> None:
    """A heading and a line below it, over the axes, at the left; both may be in any script."""
    axes.set_title(
        title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…",
        loc="left",
        fontsize=14,
        fontweight="bold",
        color=INK,
        pad=24,
        parse_math=False,
        fontfamily=TITLE_FONTS,
    )
    axes.text(
        0,
        1.035,
        subtitle,
        transform=axes.transAxes,
        fontsize=9.5,
        color="#57606a",
        parse_math=False,
        fontfamily=TITLE_FONTS,
    )


def _draw_losses(axes: "Axes", series: Series) -> None:
    from matplotlib.patheffects import withStroke  # noqa: PLC0415 - matplotlib is imported late: 0.4 s

    smoothed = series.smoothed()
    thin = max(1, len(series.steps) // MOST_POINTS)
    marker = "o" if len(series.steps) == 1 else ""
    axes.plot(
        series.steps[::thin],
        series.losses[::thin],
        color=BLUE,
        alpha=0.22,
        linewidth=0.9,
        label="training, each step",
        marker=marker,
    )
    axes.plot(series.steps, smoothed, color=BLUE, linewidth=2.0, label="training, smoothed")
    _name_end(axes, series.steps[-1], smoothed[-1], BLUE)
    if series.evaluations:
        steps, losses = zip(*series.evaluations, strict=True)
        axes.plot(
            steps,
            losses,
            color=ORANGE,
            linewidth=1.4,
            marker="o",
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.8,
            label="held-out rows",
        )
        best = min(series.evaluations, key=lambda point: point[1])
        text = axes.annotate(
            f"best {best[1]:.3f}",
            best,
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=ORANGE,
            fontweight="bold",
        )
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axes.set_ylim(*_limits(series, smoothed))
    axes.set_ylabel("loss (nats per token)", fontsize=10, color=INK)
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    plain_axes(axes)


def _draw_learning_rate(axes: "Axes", series: Series) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415 - matplotlib is imported late: 0.4 s

    first, last = series.steps[0], series.steps[-1]
    peak = max((rate for rate in series.learning_rates if math.isfinite(rate)), default=0.0) or 1.0
    axes.plot(series.steps, series.learning_rates, color=FAINT, linewidth=1.4)
    axes.fill_between(series.steps, series.learning_rates, color=FAINT, alpha=0.15, linewidth=0)
    axes.set_ylim(0, 1.12 * peak)
    axes.set_yticks([0, peak], ["0", f"{peak:.2g}" if peak >= 0.1 else _rate(peak)])
    axes.set_ylabel("learning\nrate", fontsize=9, color=INK)
    axes.set_xlim(first - max(0.02 * (last - first), 0.5), last + max(0.02 * (last - first), 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    plain_axes(axes)


def _name_end(axes: "Axes", step: int, loss: float, colour: str) -> None:
    axes.plot(
        [step],
        [loss],
        marker="o",
        markersize=4.5,
        color=colour,
        markeredgecolor="white",
        markeredgewidth=0.8,
    )
    axes.annotate(
        f"{loss:.3f}",
        (step, loss),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=colour,
        fontweight="bold",
        annotation_clip=False,
    )


def plain_axes(axes: "Axes") -> None:
    """Horizontal lines to read off, and no frame."""
    axes.grid(axis="y", color="#d0d7de", linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#afb8c1")
    axes.tick_params(colors="#57606a", labelsize=9, length=3)


def _limits(series: Series, smoothed: Sequence[float]) -> tuple[float, float]:
    """Bottom and top of the loss: everything but the highest hundredth of the raw points, spikes of one batch."""
    ordered = sorted(series.losses)
    usual = ordered[: max(1, math.ceil(0.99 * len(ordered)))]
    shown = [usual[0], usual[-1], *smoothed, *(loss for _, loss in series.evaluations)]
    low, high = min(shown), max(shown)
    room = 0.06 * (high - low) or 0.05 * max(abs(high), 1e-3)
    return (max(0.0, low - room) if low >= 0 else low - room), high + 1.6 * room


def _means_around(values: Sequence[float], reach: int) -> list[float]:
    """Means over `reach` values on either side: fewer near the first, on the left alone near the last."""
    sums = list(itertools.accumulate(values, initial=0.0))
    means = []
    for place in range(len(values)):
        near = min(
            place, reach
        )  # the loss falls steeply at the start: a lopsided window would bend it
        first, end = place - near, min(place + near + 1, len(values))
        means.append((sums[end] - sums[first]) / (end - first))
    return means


def _rate(value: float) -> str:
    """Like recipes write it: 0.0002 as "2e-4"."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def _subtitle(run_folder: Path, series: Series) -> str:
    """Model and method, as far as recipe.yaml can be read."""
    try:
        recipe = yaml.safe_load((run_folder / "recipe.yaml").read_text(encoding="utf-8"))
        parts = [str(recipe["model"]["name"]), str(recipe["method"]["type"])]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        parts = []
    last = series.steps[-1]
    return "  ·  ".join([*parts, f"{last:,} step{'s' if last != 1 else ''}"])


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


class LossPicture:
    """An observer that keeps RUN/loss.png up to date, and draws it a last time however the run ends."""

    def __init__(
        self, *, title: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Draw under `title`; `clock` gives seconds."""
        self._title = title
        self._clock = clock
        self._folder: Path | None = None
        self._due = 0.0

    def on_start(self, start: StartInfo) -> None:
        """Note where the run is."""
        self._folder = start.folder
        self._due = self._clock() + REDRAW_S

    def on_step(self, metrics: StepMetrics) -> None:  # noqa: ARG002 - the file has the numbers
        """Redraw, if the last picture is old."""
        if self._clock() >= self._due:
            self._draw()

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Nothing: the next step redraws."""

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: the next step redraws."""

    def on_message(self, text: str) -> None:
        """Nothing to draw."""

    def on_end(self, end: EndInfo) -> None:  # noqa: ARG002 - it is drawn whatever the end
        """Draw the whole run."""
        if self._folder is not None:
            self._draw()

    def _draw(self) -> None:
        if self._folder is None:
            return
        began = self._clock()
        try:
            draw_loss(self._folder, title=self._title)
        except OSError:
            # a full disk: the checkpoints will say so, and a picture is no reason to stop
            (self._folder / f".{PICTURE}.writing").unlink(missing_ok=True)
        took = self._clock() - began
        self._due = self._clock() + max(REDRAW_S, took / REDRAW_SHARE)
