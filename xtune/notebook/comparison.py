"""An evaluation that shows itself in a notebook, as it does on a terminal."""

from dataclasses import fields
from io import StringIO

from rich.console import Console
from typing_extensions import Self

from xtune.evaluate.compare import Comparison

COLUMNS = 100
"""Width in characters: what fits beside a notebook's margin."""

_FRAME = '<pre style="white-space:pre-wrap;line-height:1.3">{code}</pre>'


class ShownComparison(Comparison):
    """What `xtune.evaluate` returns."""

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        """The same numbers and answers."""
        return cls(**{each.name: getattr(comparison, each.name) for each in fields(comparison)})

    def __str__(self) -> str:
        console = Console(file=StringIO(), width=COLUMNS, record=True)
        console.print(self.table())
        return console.export_text().rstrip()

    def _repr_html_(self) -> str:
        console = Console(file=StringIO(), width=COLUMNS, record=True)
        console.print(self.table())
        return console.export_html(inline_styles=True, code_format=_FRAME)
