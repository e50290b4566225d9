"""How rows are answered, as a person asks for it; cheap to import, as torch is not.

Separate from `job`, so that the command line can be parsed, and a mistake in it told, before torch is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xtune.generate.decoding import Decoding


@dataclass(frozen=True, kw_only=True)
class Options:
    """How rows are answered."""

    decoding: Decoding = field(default_factory=Decoding)
    system: str | None = None
    """A system prompt for rows that have none."""

    template: Mapping[str, Any] = field(default_factory=dict)
    """Values of the chat template's own variables: `{"enable_thinking": False}`."""

    max_rows: int | None = None
    """Only the first so many rows."""

    column: str = "answer"
    """Column of the answer in the output."""

    exact: bool = True
    """Let no answer depend on the rows beside it; see `Batcher`."""

    base_only: bool = False
    """Ask the base model, without the adapter."""
