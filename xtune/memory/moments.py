"""A moment of a layer's forward or backward pass; computes no sizes of its own."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment of one layer's backward pass."""

    per_token: int
    """Bytes for every token that the layer, or its tile, is computed over."""

    fixed: int = 0
    """Bytes whatever the length."""

    graded: int = 0
    """Entries of the layer's own matrices that have gradients by then, where they are trained."""

    fresh: int = 0
    """Of these the entries whose gradient has just come, and is not yet stepped with or added up."""

    adapted: int = 0
    """Entries of the layer's own adapters that have gradients by then."""

    def bytes(self, positions: int) -> int:
        """All of it for so many tokens."""
        return positions * self.per_token + self.fixed


def more(moment: Moment, *, per_token: int = 0, fixed: int = 0) -> Moment:
    """The same moment with something else there."""
    return replace(moment, per_token=moment.per_token + per_token, fixed=moment.fixed + fixed)
