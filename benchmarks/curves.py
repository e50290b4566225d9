"""How far the losses of runs with the same recipe are apart: `python -m benchmarks.curves PICTURE PLAIN RUN...`; it trains nothing.

Each run folder is compared, step by step, with the first: numbers on the terminal, curves and differences in one picture.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from xtune.report.picture import BLUE, FAINT, INK, ORANGE, Series

COLOURS = (BLUE, ORANGE, "#16a34a", "#9333ea")
STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Curve:
    """The training losses of one run, in nats per trained token, from the first step on."""

    name: str
    losses: list[float]

    @classmethod
    def read(cls, folder: Path) -> "Curve":
        """The curve of a run folder.

        Raises:
            SystemExit: It holds no whole run.
        """
        series = Series.read(folder / "metrics.jsonl")
        if not series.steps or series.steps != list(range(1, len(series.steps) + 1)):
            raise SystemExit(f"{folder} holds no run whose every step has a finite loss.")
        return cls(name=folder.resolve().name, losses=series.losses)

    def difference(self, other: "Curve") -> list[float]:
        """How far the other's loss is above this one's, for each step that both have."""
        return [theirs - ours for ours, theirs in zip(self.losses, other.losses, strict=False)]


def summary(first: Curve, other: Curve) -> str:
    """One line: mean and largest distance, and the means of both over the last third."""
    apart = [abs(each) for each in first.difference(other)]
    last = len(apart) - len(apart) // 3
    means = " and ".join(f"{fmean(each.losses[last : len(apart)]):.5f}" for each in (first, other))
    return (
        f"{other.name}: {len(apart)} steps, losses {fmean(apart):.5f} apart on average, at most {max(apart):.5f}"
        f" (step {apart.index(max(apart)) + 1}); means of the last third {means}"
    )


def draw(curves: list[Curve], picture: Path) -> None:
    """All curves above, on a logarithmic scale; below, how far each is from the first."""
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 5.4), sharex=True, height_ratios=(2, 1), layout="constrained"
    )
    first = curves[0]
    for curve, colour, style in zip(curves, COLOURS, STYLES, strict=False):
        steps = range(1, len(curve.losses) + 1)
        above.plot(steps, curve.losses, style, color=colour, linewidth=1.2, label=curve.name)
        if curve is not first:
            apart = first.difference(curve)
            below.plot(range(1, len(apart) + 1), apart, color=colour, linewidth=1, label=curve.name)
    above.set_yscale("log")
    above.set_ylabel("loss, nats per trained token", color=INK)
    above.legend(frameon=False)
    reach = 1.15 * max(abs(each) for curve in curves for each in first.difference(curve)) or 1
    below.set_ylim(-reach, reach)
    below.axhline(0, color=FAINT, linewidth=0.8)
    below.set_ylabel(f"minus {first.name}", color=INK)
    below.set_xlabel("optimizer step", color=INK)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(picture, dpi=100, metadata={"Software": "xtune"}, pil_kwargs={"optimize": True})


def main() -> None:
    """Compare, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="a .png to write")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders; the first is the measure")
    chosen = parser.parse_args()
    curves = [Curve.read(folder) for folder in chosen.runs]
    for other in curves[1:]:
        print(summary(curves[0], other))
    draw(curves[: len(COLOURS)], chosen.picture)


if __name__ == "__main__":
    main()
