"""The picture of a plan: over the length of a sequence, what fills the device at the peak and what is done about it. It plans nothing."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from xtune.drawing import quiet_drawing
from xtune.memory import GIB
from xtune.plan.assess import Assessment, AtLength, at_lengths, step_words
from xtune.plan.parts import peak_parts
from xtune.plan.types import Plan
from xtune.report.picture import DOTS_PER_INCH, FAINT, INK, head, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (8.0, 6.0)

SHORTEST_TOKENS = 1024
"""Lengths are drawn from here, doubled, to the longest that fits."""

FEWEST_PLACES, MOST_LENGTHS = 4, 12
"""Places for bars, so that a single one is no wall; and most bars."""

GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "decoder layers": ("#1e3a8a", ("weights",)),
    "embeddings, head": ("#3b82f6", ("embeddings", "head")),
    "trained: weights, gradients, states": (
        "#93c5fd",
        ("adapter", "gradients", "optimizer", "casts"),
    ),
    "kept for the backward pass": ("#f59e0b", ("checkpoints",)),
    "a layer at work": ("#ea580c", ("layer", "start", "load")),
    "loss": ("#b91c1c", ("loss",)),
    "context, reserve, other": ("#c9d1d9", ("other", "context", "reserve")),
}
"""The parts of a peak as they are stacked from below, with their colours."""

TECHNIQUES: Mapping[str, str] = {
    "computed again": "gradient_checkpointing",
    "layers in tiles": "frugal_layers",
    "layers' inputs": "checkpoints",
    "decoder layers": "base",
    "embedding table": "embeddings",
    "head": "head",
    "optimizer states": "optimizer_states",
    "step in backward": "fused_step",
}
"""Rows below the bars, each with the plan's name of it."""


def plan_png(answer: Assessment) -> bytes:
    """Draw an answer's recipe at every doubled length up to the longest that fits.

    Returns:
        A PNG of 1600 by 1200 pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - matplotlib is imported late: 0.4 s
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    drawn = at_lengths(answer, lengths_of(answer))
    out = BytesIO()
    with quiet_drawing():
        figure = Figure(figsize=SIZE_INCHES, layout="constrained", facecolor="white")
        bars, table = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.35))
        _draw_bars(bars, drawn, answer)
        _draw_techniques(table, drawn)
        FigureCanvasAgg(figure)
        figure.savefig(out, format="png", dpi=DOTS_PER_INCH, metadata={"Software": "xtune"})
    return out.getvalue()


def lengths_of(answer: Assessment) -> list[int]:
    """The lengths to draw: that of the recipe, the longest that fits, and between them and below powers of two."""
    longest = answer.longest_tokens
    powers = [2**power for power in range(6, 23) if 2**power < longest]
    usual = [each for each in powers if each >= SHORTEST_TOKENS] or powers[-1:]
    named = {answer.plan.recipe.data.max_tokens, longest} - {0}
    room = MOST_LENGTHS - len(named)
    return sorted({*usual[-room:], *named})


def grouped(plan: Plan) -> dict[str, float]:
    """GiB at the peak by group; their sum is the peak."""
    parts = peak_parts(plan.predicted) if plan.predicted else {}
    return {
        group: sum(parts.get(name, 0) for name in names) / GIB
        for group, (_, names) in GROUPS.items()
    }


def _draw_bars(axes: "Axes", drawn: Sequence[AtLength], answer: Assessment) -> None:
    places = range(len(drawn))
    stacks = [grouped(each.plan) for each in drawn]
    below = [0.0] * len(drawn)
    for group, (colour, _) in GROUPS.items():
        heights = [stack[group] for stack in stacks]
        axes.bar(places, heights, 0.78, bottom=below, color=colour, label=group)
        below = [start + height for start, height in zip(below, heights, strict=True)]
    budget = answer.budget_bytes / GIB
    axes.axhline(budget, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_xlim(-0.6, max(len(drawn), FEWEST_PLACES) - 0.4)
    axes.set_ylim(0, 1.5 * max(budget, *below))  # room for the legend
    axes.annotate(
        f"{answer.hardware.name}: {budget:.2f} GiB",
        (-0.45, budget),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=9,
        color=INK,
    )
    recipe, longest = answer.plan.recipe, answer.longest_tokens
    fit = f"{longest:,} fit" if longest else "no length fits"
    subtitle = f"{step_words(recipe)} asked for; {fit}. Computed, not measured."
    head(axes, f"{recipe.model.name} by {recipe.method.type}", subtitle)
    axes.set_ylabel("peak on the device (GiB, computed)", fontsize=10, color=INK)
    axes.legend(loc="upper right", frameon=False, fontsize=8.5, ncols=2, labelcolor=INK)
    plain_axes(axes)


def _draw_techniques(axes: "Axes", drawn: Sequence[AtLength]) -> None:
    """A row for each technique that is used at some length, a cell where it is; below it the speed, where it is known."""
    used = {
        words: [_cell(each.plan.choices()[name].value) for each in drawn]
        for words, name in TECHNIQUES.items()
    }
    rows = {words: cells for words, cells in used.items() if any(cells)}
    speeds = [f"{each.tokens_per_s:,.0f}" if each.tokens_per_s else "" for each in drawn]
    for row, cells in enumerate(rows.values()):
        for place, cell in enumerate(cells):
            colour = "#dbeafe" if cell else "#f6f8fa"
            axes.barh(row, 0.78, 0.8, left=place - 0.39, color=colour)
            axes.text(place, row, cell, ha="center", va="center", fontsize=8, color=INK)
    labels = list(rows)
    if any(speeds):
        for place, speed in enumerate(speeds):
            axes.text(place, len(labels), speed, ha="center", va="center", fontsize=8, color=INK)
        labels.append("tokens/s, estimated")
    axes.set_yticks(range(len(labels)), labels, fontsize=9, color=INK)
    axes.set_ylim(max(1, len(labels)) - 0.5, -0.5)
    axes.set_xticks(range(len(drawn)), [_tokens(each.tokens) for each in drawn])
    axes.set_xlabel("tokens of a sequence", fontsize=10, color=INK)
    axes.tick_params(colors="#57606a", labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.axhline(-0.5, color=FAINT, linewidth=0.6)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value == "device" else str(value)


def _tokens(tokens: int) -> str:
    for size, unit in ((2**20, "M"), (2**10, "k")):
        if tokens % size == 0:
            return f"{tokens // size}{unit}"
    return f"{tokens:,}"
