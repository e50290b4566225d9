"""What keeps a table of rich's from bringing a control character of somebody's text to a terminal."""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

from xtune.shown import harmless


class Harmless:
    """Something to print with the control characters in its texts as signs, where it goes to a terminal."""

    def __init__(self, inner: RenderableType) -> None:
        """Wrap it."""
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The same segments, harmless."""
        for segment in console.render(self._inner, options):
            if segment.control or not console.is_terminal:
                yield segment
            else:
                yield Segment(harmless(segment.text), segment.style)
