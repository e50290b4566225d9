"""The optimizer steps of a stream: rows of its windows, one step after another; what makes windows is in `feed.py`."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from xtune.data.batch import Assembly
from xtune.data.feed import Feed
from xtune.data.stream import StreamPlan
from xtune.data.types import Sequence, Step
from xtune.data.windows import Window


class StreamBatches:
    """The optimizer steps of a stream, in order; the next window is made in the background."""

    def __init__(self, plan: StreamPlan, assembly: Assembly) -> None:
        """Stand before the first step.

        Args:
            plan: What the stream is made of.
            assembly: What becomes of the rows of a step.

        Raises:
            DataError: The tokenizer or template is unfit.
        """
        self._feed = Feed(plan)
        self._assembly = assembly
        self._batch_size = plan.batch_size
        self._at = 0
        self._offset = 0
        self._windows: deque[Window] = deque()
        self._begun = False
        self._after = plan.beginning()
        """Where the next window begins."""

    def epoch(self, step: int) -> float:
        """Whole passes over the source that is furthest behind."""
        del step  # the position tells
        return float(min(place["pass"] for place in self.position()["sources"]))

    def position(self) -> dict[str, Any]:
        """Where the next step begins, as plain JSON types."""
        if self._windows and self._offset < len(self._windows[0].rows):
            return {**self._windows[0].before, "offset": self._offset}
        return {**(self._windows[0].after if self._windows else self._after), "offset": 0}

    def resume(self, step: int, position: Mapping[str, Any] | None) -> None:
        """Stand before a step, with nothing read so far; without a position, all before it is read again.

        Raises:
            ValueError: Steps were taken already.
        """
        if self._begun:
            raise ValueError("a stream that is being read cannot be resumed")
        if position is not None:
            self._after = {key: value for key, value in position.items() if key != "offset"}
            self._at, self._offset = step, int(position["offset"])
        while self._at < step:
            self._rows()

    def step(self, index: int) -> Step:
        """The micro-batches of the next step.

        Raises:
            ValueError: It is not the next one.
            DataError: A row is faulty, or too many are lost.
        """
        if index != self._at:
            raise ValueError(f"step {index} was asked for, and {self._at} is next")
        return self._assembly.step(self._rows())

    def _rows(self) -> list[list[Sequence]]:
        """The rows of the next step; it may begin in one window and end in the next."""
        self._at += 1
        rows: list[list[Sequence]] = []
        while True:
            if not self._windows:
                self._windows.append(self._next_window())
            window = self._windows[0]
            stop = min(self._offset + self._batch_size - len(rows), len(window.rows))
            rows += map(list, window.rows[self._offset : stop])
            self._offset = stop
            if len(rows) == self._batch_size:
                return rows
            self._after = window.after
            self._windows.popleft()
            self._offset = 0

    def _next_window(self) -> Window:
        if not self._begun:
            self._feed.begin(self._after)
            self._begun = True
        return self._feed.next()
