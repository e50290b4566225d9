"""What a sweep of the learning rate says: the rate below the first spike, a picture, a line of advice. It trains nothing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from xtune.errors import XtuneError
from xtune.report.chart import Chart, Curve, Mark
from xtune.report.html import page_html
from xtune.run.observer import StepMetrics
from xtune.run.spike import NORM_TIMES, Spike, first_spike

MARGIN = 10.0
"""The named rate is this many times below the rate of the spike. A sweep gives each rate one step, a run gives its peak
hundreds, and what one step survives hundreds need not. The quick start spikes at 0.034: at 0.01, a third of it, the
held-out loss is 0.042 after 100 of 300 steps, at 0.003, a tenth, 0.024 (two EPYC cores, 2026-11-29)."""

FALL_SHARE = 0.05
"""A rate teaches once the loss has fallen by this part: below, nothing can be said."""


@dataclass(frozen=True, kw_only=True)
class RateSweep:
    """The steps of a sweep and what follows from them."""

    name: str
    """The recipe's name."""

    points: Sequence[StepMetrics]
    asked: float
    """The recipe's own rate."""

    @property
    def spike(self) -> Spike | None:
        """The first spike."""
        return first_spike(
            [point.grad_norm for point in self.points], [point.loss for point in self.points]
        )

    @property
    def spike_rate(self) -> float | None:
        """The rate at which it came."""
        spike = self.spike
        return None if spike is None else self.points[spike.place].learning_rate

    @property
    def suggested(self) -> float | None:
        """The rate to train at; None if there was no spike to stay below, or if it came before anything was learned."""
        rate = self.spike_rate
        if rate is None or not self.has_learned:
            return None
        return _rounded_down(rate / MARGIN)

    @property
    def has_learned(self) -> bool:
        """Whether the loss fell before the spike."""
        spike = self.spike
        losses = [point.loss for point in self.points[: None if spike is None else spike.place]]
        smooth = smoothed(losses)
        return bool(smooth) and min(smooth) < (1 - FALL_SHARE) * losses[0]

    def advice(self) -> str:
        """One or two sentences."""
        if not self.points:
            return "No step was taken, so nothing is known."
        last = self.points[-1].learning_rate
        spike, rate = self.spike, self.spike_rate
        if spike is None or rate is None:
            return (
                f"Up to a rate of {rate_text(last)} nothing spiked: nothing is known of higher ones. "
                "Sweep further with --to, or train at a rate below that."
            )
        what = {
            "norm": f"the gradient norm rose to {spike.times:.1f} times its median",
            "loss": f"the loss climbed to {spike.times:.1f} times its lowest mean",
        }[spike.kind]
        found = f"At a rate of {rate_text(rate)} {what}."
        if self.suggested is None:
            return f"{found} Until then nothing was learned, so no rate is advised: begin lower with --from, or look at the data."
        beside = (
            ""
            if math.isclose(self.asked, self.suggested)
            else f"; the recipe has {rate_text(self.asked)}"
        )
        return f"{found} Advised is a tenth of that: train.learning_rate={rate_text(self.suggested)}{beside}."

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        spike = self.spike
        return {
            "recipe": self.name,
            "suggested": self.suggested,
            "asked": self.asked,
            "spike": None
            if spike is None
            else {"rate": self.spike_rate, "kind": spike.kind, "step": spike.place + 1},
            "advice": self.advice(),
            "steps": [
                {
                    "step": point.step,
                    "learning_rate": point.learning_rate,
                    "loss": point.loss,
                    "grad_norm": point.grad_norm,
                }
                for point in self.points
            ],
        }

    def lines(self) -> Iterator[str]:
        """A few of the steps, and the advice."""
        yield f"{'rate':>8}  {'loss':>8}  {'gradient norm':>13}"
        every = max(1, len(self.points) // 12)
        for place, point in enumerate(self.points):
            here = self.spike is not None and place == self.spike.place
            if place % every == 0 or here:
                norm = "-" if point.grad_norm is None else f"{point.grad_norm:.3f}"
                line = f"{rate_text(point.learning_rate):>8}  {point.loss:8.4f}  {norm:>13}"
                yield f"{line}  <- spike" if here else line
        yield ""
        yield self.advice()

    def charts(self) -> str:
        """Loss and gradient norm over the rate, as SVG."""
        return "".join(chart.svg() for chart in self._charts())

    def save(self, path: Path) -> None:
        """Write the picture, as a page of its own.

        Raises:
            XtuneError: The file cannot be written.
        """
        body = f"<h1>{escape(self.name)}: learning rate</h1><p class='lead'>{escape(self.advice())}</p><div class='charts'>{self.charts()}</div>"
        page = page_html(title=f"{self.name}: learning rate", body=body)
        try:
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise XtuneError(
                f"The picture {path} could not be written: {error.strerror or error}.",
                advice="Name another file with --out.",
            ) from error

    def _charts(self) -> Iterator[Chart]:
        rates = [point.learning_rate for point in self.points]
        losses = [point.loss for point in self.points]
        marks = [Mark(rate, label, css) for rate, label, css in self._marks() if rate is not None]
        smooth = smoothed(losses)
        low, high = (min(smooth), max(losses[0], *smooth)) if smooth else (0.0, 1.0)
        yield Chart(
            title="Loss (nats per token)",
            curves=(
                Curve(list(zip(rates, losses, strict=True)), "faint"),
                Curve(list(zip(rates, smooth, strict=True)), "main"),
            ),
            x_label="learning rate",
            log_x=True,
            limits=(max(0.0, low - 0.1 * (high - low)), low + 1.3 * (high - low)),
            marks=tuple(marks),
        )
        norms = [(point.learning_rate, point.grad_norm) for point in self.points]
        yield Chart(
            title="Gradient norm, before clipping",
            curves=(Curve([(rate, norm) for rate, norm in norms if norm is not None], "main"),),
            x_label=f"learning rate; a spike is {NORM_TIMES:g} times the median before",
            log_x=True,
            log_y=True,
            marks=tuple(marks),
        )

    def _marks(self) -> Iterator[tuple[float | None, str, str]]:
        yield self.spike_rate, "spike", "bad"
        yield self.suggested, "advised", "good"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        style = "svg{max-width:34rem;width:100%;height:auto}"
        return page_html(
            title="", body=f"<p>{escape(self.advice())}</p>{self.charts()}", part=True, style=style
        )


def smoothed(losses: Sequence[float], reach: int = 2) -> list[float]:
    """Means over `reach` steps on either side."""
    return [
        sum(part := losses[max(0, place - reach) : place + reach + 1]) / len(part)
        for place in range(len(losses))
    ]


def rate_text(rate: float) -> str:
    """Like recipes write it: 0.0002 as "2e-4"."""
    return f"{rate:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")


def _rounded_down(rate: float) -> float:
    """To one digit, as rates are written: 0.0047 as 0.004."""
    power = 10.0 ** math.floor(math.log10(rate))
    return float(f"{math.floor(rate / power + 1e-9) * power:.1g}")
