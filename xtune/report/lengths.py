"""Counts lengths in bins and draws them as bars, of block characters or as SVG; it knows nothing but numbers."""

from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

_BINS = 12
"""Bins at most: what fits on a terminal's page beside the rest."""

_LONG_TAIL = 16
"""Longest over median from which bins double instead of being equal: most rows would share the first."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SVG_WIDTH, _SVG_HEIGHT, _SVG_LABELS = 560, 120, 34


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many lengths fall into each bin."""

    edges: tuple[int, ...]
    """Beginning of each bin, and the end of the last, which is not in it."""

    counts: tuple[int, ...]

    def to_json(self) -> list[dict[str, int]]:
        """Each bin with its first and last length and its count."""
        return [
            {"from": first, "to": last, "rows": count}
            for (first, last), count in zip(self._bins(), self.counts, strict=True)
        ]

    def lines(self, width: int = 80) -> list[str]:
        """A bar for each bin."""
        names = [_range(first, last) for first, last in self._bins()]
        numbers = [f"{count:,}" for count in self.counts]
        left, right = max(map(len, names)), max(map(len, numbers))
        room = max(8, min(width, 100) - left - right - 4)
        top = max(self.counts)
        return [
            f"{name:>{left}}  {number:>{right}}  {_bar(count / top * room)}".rstrip()
            for name, number, count in zip(names, numbers, self.counts, strict=True)
        ]

    def svg(self, title: str) -> str:
        """The bars as one SVG element, in the colour of the text around it."""
        count, top = len(self.counts), max(self.counts)
        step = _SVG_WIDTH / count
        bars = []
        for index, ((first, last), rows) in enumerate(zip(self._bins(), self.counts, strict=True)):
            name = f"{_range(first, last)} tokens: {rows:,}"
            height = max(1.5, rows / top * _SVG_HEIGHT) if rows else 0
            x, y = index * step, _SVG_HEIGHT - height
            bars.append(
                f'<g><title>{name}</title><rect x="{x + 1:.1f}" y="0" width="{step - 2:.1f}" height="{_SVG_HEIGHT}" fill="transparent"/>'
                f'<rect class="bar" x="{x + 1:.1f}" y="{y:.1f}" width="{step - 2:.1f}" height="{height:.1f}" rx="2"/></g>'
            )
        marks = "".join(
            f'<text x="{min(_SVG_WIDTH, max(0, index * step)):.1f}" y="{_SVG_HEIGHT + 14}" text-anchor="{_anchor(index, count)}">{edge:,}</text>'
            for index, edge in enumerate(self.edges)
            if count <= 6 or index % 2 == count % 2 or index in {0, count}
        )
        return (
            f'<svg viewBox="0 0 {_SVG_WIDTH} {_SVG_HEIGHT + _SVG_LABELS}" role="img" aria-label="{escape(title)}">'
            f'{"".join(bars)}{marks}<text x="{_SVG_WIDTH / 2}" y="{_SVG_HEIGHT + 30}" text-anchor="middle">{escape(title)}</text></svg>'
        )

    def _bins(self) -> list[tuple[int, int]]:
        """First and last length of each bin."""
        return [
            (first, after - 1) for first, after in zip(self.edges[:-1], self.edges[1:], strict=True)
        ]


def histogram(lengths: npt.NDArray[np.int64]) -> Histogram | None:
    """Count lengths in bins with round edges, doubling ones where a few rows are much longer; None without lengths."""
    if not len(lengths):
        return None
    shortest, longest = int(lengths.min()), int(lengths.max())
    if longest > _LONG_TAIL * max(1.0, float(np.median(lengths))):
        edges = [0, *(2**power for power in range(longest.bit_length() + 1))]
        edges = [edge for edge, after in zip(edges, [*edges[1:], None], strict=True)
                 if after is None or after > shortest]  # fmt: skip
        while len(edges) - 1 > _BINS:  # the many short bins become one
            edges[:3] = [edges[0], edges[2]]
    else:
        width = _round_width((longest - shortest + 1) / _BINS)
        first = shortest - shortest % width
        edges = list(range(first, longest + width + 1, width))
        if edges[-2] > longest:
            edges.pop()
    counts, _ = np.histogram(lengths, bins=edges)
    return Histogram(edges=tuple(edges), counts=tuple(counts.tolist()))


def _round_width(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 ... that is no less."""
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale >= least:
                return step * scale
        scale *= 10


def _range(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}-{last:,}"


def _bar(cells: float) -> str:
    eighths = max(round(cells * 8), 1 if cells else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _anchor(index: int, count: int) -> str:
    return "start" if index == 0 else "end" if index == count else "middle"
