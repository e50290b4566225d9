"""What the patterns of requests beyond text are built of, in any language."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one language, each a pattern of alternatives."""

    media: str
    """Pictures, films and sound."""

    facts: str
    """What changes from day to day: weather, prices, news."""

    now: str
    """The present."""

    clauses: tuple[str, ...]
    """How these are put together; MEDIA, FACTS, NOW and START (of a sentence) stand for them, GAP for what lies within one."""
