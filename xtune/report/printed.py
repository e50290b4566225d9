"""What a printed report has in common with the others: its text is what it prints, in a notebook too. It prints nothing itself."""

from abc import ABC, abstractmethod
from html import escape
from io import StringIO
from typing import IO


class Printed(ABC):
    """Something that prints itself to a stream."""

    @abstractmethod
    def print(self, stream: IO[str] | None = None) -> None:
        """Print it; default: to standard output."""

    def __str__(self) -> str:
        stream = StringIO()
        self.print(stream)
        return stream.getvalue().rstrip()

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
