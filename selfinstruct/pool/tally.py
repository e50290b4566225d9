"""How a run stands, in numbers; whoever shows them is elsewhere."""

from collections import Counter
from dataclasses import dataclass, field

from selfinstruct.types import Usage


@dataclass(kw_only=True)
class Tally:
    """How a run stands."""

    kept: dict[str, int] = field(default_factory=dict)
    """Tasks kept, by language."""

    drops: Counter[str] = field(default_factory=Counter)
    """Pieces dropped, by reason."""

    replies: int = 0
    expected: int = 0
    """Replies that all rounds come to."""

    target: int | None = None
    """Tasks to keep over all languages, if there is a target."""

    usage: Usage = field(default_factory=Usage)
    usd: float | None = None
    """Dollars spent; None where the price is not known."""

    concurrency: int = 0
    in_flight: int = 0

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1."""
        if self.target:
            return min(1.0, sum(self.kept.values()) / self.target)
        return min(1.0, self.replies / max(self.expected, 1))
