"""The places in xtune where one stream, or the host, waits for another, read from its source. Runs none of it."""

import ast
from dataclasses import dataclass
from pathlib import Path

import xtune

WAITS = ("wait_stream", "wait_event", "record_stream", "synchronize", "record", "record_event")
"""What `torch.cuda` has for it: waits, what keeps room from being given back, and what events stand for."""


@dataclass(frozen=True)
class Wait:
    """One call."""

    file: str
    inside: str
    """Names of the classes and functions around it."""

    call: str
    lines: range

    def __str__(self) -> str:
        return f"{self.file}: {self.inside}: {self.call}"

    def is_at(self, site: str) -> bool:
        """Whether it is the place that `Stage` names."""
        file, _, line = site.rpartition(":")
        return file == self.file and int(line) in self.lines


def waits() -> list[Wait]:
    """All in the package."""
    found: list[Wait] = []
    for path in sorted(Path(xtune.__file__).parent.rglob("*.py")):
        _look(ast.parse(path.read_text(encoding="utf-8")), path.name, "", found)
    return found


def _look(node: ast.AST, file: str, inside: str, found: list[Wait]) -> None:
    for child in ast.iter_child_nodes(node):
        within = inside
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            within = f"{inside}.{child.name}".lstrip(".")
        if (
            isinstance(child, ast.Call)
            and isinstance(child.func, ast.Attribute)
            and child.func.attr in WAITS
        ):
            lines = range(child.lineno, (child.end_lineno or child.lineno) + 1)
            found.append(Wait(file, inside, ast.unparse(child), lines))
        _look(child, file, within, found)
