"""How compared measures are shown: as text in a table, and as a picture of bars with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from xtune.drawing import quiet_drawing
from xtune.evaluate.metrics.bootstrap import LEAST_ROWS, Compared, Interval, Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"better": "green", "worse": "red", "open": ""}

BASE_COLOUR, TUNED_COLOUR, INK = "#8b949e", "#2563eb", "#1f2328"
"""Of the bars and the letters; those of loss.png."""

FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans Thai", "Noto Sans Arabic")

BAR_INCHES, WIDTH_INCHES, DOTS_PER_INCH = 0.42, 8.0, 150

MOST_BARS = 40
"""Rows of a picture that can still be read; beyond them the means alone are drawn."""


def interval_text(interval: Interval, unit: Unit) -> str:
    """A value with its interval: `64.0 (54, 73)`, a share in percent."""
    return _text(interval, unit, "")


def change_text(compared: Compared) -> Text:
    """The difference with its interval; coloured where the interval leaves 0 out."""
    text = _text(compared.difference, compared.unit, "+")
    return Text(text, style=COLOURS[compared.verdict])


def few_rows_note(fewest: int) -> tuple[str, ...]:
    """What a person should know where rows are too few for their intervals to decide anything."""
    if fewest >= LEAST_ROWS:
        return ()
    return (f"fewer than {LEAST_ROWS} rows: their intervals are too narrow to say what is better",)


def _text(interval: Interval, unit: Unit, sign: str) -> str:
    factor = 100 if unit == "share" else 1
    value, low, high = (factor * each for each in (interval.value, interval.low, interval.high))
    form, ends = f"{sign}.1f", f"{sign}.0f" if high - low >= 10 else f"{sign}.1f"
    if unit == "number":
        form = ends = f"{sign}#.4g"
    return f"{_number(value, form)} ({_number(low, ends)}, {_number(high, ends)})"


def _number(value: float, form: str) -> str:
    if not math.isfinite(value):
        return "-"
    text = format(value, form)
    return text if float(text) else text.lstrip("+-")


def comparison_table(title: str, *leading: str) -> Table:
    """A table of comparisons, behind columns that say of what; narrow enough for 80 characters."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        caption="In brackets: 95 % intervals. Shares in percent.",
        caption_justify="left",
    )
    for heading in leading:
        table.add_column(heading, justify="right" if heading == "rows" else "left")
    for heading in ("base model", "tuned", "difference"):
        table.add_column(heading, justify="right")
    return table


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One measure in the picture."""

    label: str
    compared: Compared


def draw_bars(bars: Sequence[Bar], target: Path, *, title: str) -> Path | None:
    """Draw measures of base and tuned model as bars with their 95 % intervals, in percent or points.

    Args:
        bars: What to draw, from above; measures without a bound (`number`) are left out.
        target: The PNG file to write.
        title: Heading of the picture.

    Returns:
        The picture's path; None if there is nothing to draw.

    Raises:
        OSError: The picture could not be written; an old one is untouched.
    """
    shown = [bar for bar in bars if bar.compared.unit != "number"]
    if not shown:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - matplotlib is imported late: 0.4 s
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    height = 1.3 + BAR_INCHES * len(shown)
    aside = target.with_name(f".{target.name}.writing")
    with quiet_drawing():
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained", facecolor="white")
        _draw(figure.subplots(), shown, title)
        FigureCanvasAgg(figure)
        figure.savefig(aside, format="png", dpi=DOTS_PER_INCH, metadata={"Software": "xtune"})
    aside.replace(target)
    return target


def _draw(axes: "Axes", bars: Sequence[Bar], title: str) -> None:
    for side, offset, colour, name in (
        ("base", -0.2, BASE_COLOUR, "base model"),
        ("tuned", 0.2, TUNED_COLOUR, "tuned"),
    ):
        values, below, above = [], [], []
        for bar in bars:
            interval: Interval = getattr(bar.compared, side)
            factor = 100 if bar.compared.unit == "share" else 1
            values.append(factor * interval.value)
            below.append(max(0.0, factor * (interval.value - interval.low)))
            above.append(max(0.0, factor * (interval.high - interval.value)))
        axes.barh(
            [place + offset for place in range(len(bars))],
            values,
            height=0.36,
            color=colour,
            label=name,
            xerr=[below, above],
            error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
        )
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars], fontfamily=FONTS, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("percent or points, with 95 % intervals", fontsize=9, color=INK)
    axes.set_title(
        title, loc="left", fontsize=12, fontweight="bold", parse_math=False, fontfamily=FONTS
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
