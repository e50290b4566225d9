"""What becomes of rows: sequences, drops with their reasons, and notes; it encodes nothing."""

from dataclasses import dataclass, field

from xtune.data.types import Origin, Sequence


@dataclass(frozen=True)
class Drop:
    """A row that is not trained on, and why."""

    origin: Origin
    reason: str


@dataclass(kw_only=True)
class Encoded:
    """What became of many rows."""

    sequences: list[Sequence] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    notes: dict[str, list[Origin]] = field(default_factory=dict)
    """Changes that rows suffered, each with the rows: truncated, split, rewritten by the template ..."""

    def note(self, what: str, origin: Origin) -> None:
        """Record that something worth telling happened to a row."""
        self.notes.setdefault(what, []).append(origin)
