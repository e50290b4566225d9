"""The catalogue of known data sets, for a terminal, a program and a notebook; the catalogue itself is in `xtune.data.sets`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from xtune.data.sets import DataSet, catalogue, find_set
from xtune.report.printed import Printed

SHOWN_LANGUAGES = 3
"""Codes in a line of the table: what leaves room for the title in 80 columns."""

MANY_LANGUAGES = "multi"
"""The catalogue's word for a set in more than a dozen languages."""


@dataclass(frozen=True, kw_only=True)
class SetsView(Printed):
    """Some known data sets, or one of them in full."""

    sets: tuple[DataSet, ...]
    in_full: bool
    language: str | None = None
    """The language they were chosen by."""

    def to_json(self) -> list[dict[str, Any]]:
        """Each set as plain JSON types."""
        return [asdict(one) | {"source": f"set:{one.name}"} for one in self.sets]

    def print(self, stream: IO[str] | None = None) -> None:
        """Print a table, or one set with the lines of a recipe that use it.

        Args:
            stream: Where to; default: standard output.
        """
        console = Console(file=stream, highlight=False)
        if self.in_full:
            for one in self.sets:
                for line in _in_full(one):
                    console.print(line, markup=False, soft_wrap=True)
            return
        console.print(self._table())
        if not self.sets:
            console.print(f"No known set is in `{self.language}`.", markup=False)
        console.print(
            "\nIn a recipe: `data.train: set:NAME`. One in full: `xtune data sets NAME`. Any other: `hf:owner/name`.",
            markup=False,
            soft_wrap=True,
        )

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("set", no_wrap=True, style="bold")
        table.add_column("what it is", overflow="fold")
        table.add_column("languages")
        table.add_column("rows", justify="right", no_wrap=True)
        table.add_column("licence")
        for one in self.sets:
            table.add_row(
                one.name,
                one.title,
                _languages(one, most=SHOWN_LANGUAGES),
                f"{one.rows:,}" if one.rows else "",
                one.licence,
            )
        return table


def known_sets(name: str | None = None, language: str | None = None) -> SetsView:
    """One known data set, all of them, or those in a language.

    Args:
        name: One set.
        language: ISO 639-1 code; only its first part counts.

    Raises:
        DataError: No set has that name; the nearest are told.
    """
    if name is not None:
        return SetsView(sets=(find_set(name.removeprefix("set:")),), in_full=True)
    if language is None:
        return SetsView(sets=catalogue(), in_full=False)
    wanted = language.partition("-")[0].lower()
    fitting = [one for one in catalogue() if {wanted, MANY_LANGUAGES} & set(one.languages)]
    # those made for the language before those that hold it among many
    fitting.sort(key=lambda one: (wanted not in one.languages, len(one.languages)))
    return SetsView(sets=tuple(fitting), in_full=False, language=wanted)


def _in_full(one: DataSet) -> Iterator[str]:
    yield f"{one.name}: {one.title}"
    facts = {
        "hub": f"hf:{one.hub}",
        "ModelScope": f"modelscope:{one.modelscope}" if one.modelscope else "",
        "subset": one.subset or "",
        "split": one.split,
        "format": one.format,
        "columns": ", ".join(f"{ours} from {theirs}" for ours, theirs in one.columns.items()),
        "languages": _languages(one) or "not known for sure",
        "rows": f"{one.rows:,}" if one.rows else "not known for sure",
        "download": f"{one.bytes / 2**20:,.0f} MiB" if one.bytes else "not known for sure",
        "licence": one.licence,
        "confirmed": ", ".join(one.confirmed),
    }
    for name, fact in facts.items():
        if fact:
            yield f"  {name:<11} {fact}"
    yield ""
    yield "In a recipe:"
    if one.stage != "sft":
        yield f"  stage: {one.stage}"
    yield f"  data: {{train: set:{one.name}}}"
    yield f"To look at it: xtune data show MODEL --data set:{one.name} -n 5"


def _languages(one: DataSet, most: int | None = None) -> str:
    """Codes of its languages; more than `most` are counted."""
    shown = one.languages if most is None or len(one.languages) <= most else one.languages[:most]
    rest = len(one.languages) - len(shown)
    return ", ".join([*shown, f"+{rest}"] if rest else shown)
