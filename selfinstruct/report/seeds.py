"""Seed sets for people: tasks laid out to be read, and sets counted side by side. It judges and changes nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, TYPE_CHECKING, Any

import regex
from rich.console import Console
from rich.table import Table
from rich.text import Text

from selfinstruct.types import Seed
from xtune.report.printed import Printed
from xtune.text import segmenter_notice, tokenizer_name

if TYPE_CHECKING:
    from xtune.report.compression import Compression

_GRAPHEME = regex.compile(r"\X")
_FIELDS = ("instruction", "input", "output")


def print_seeds(seeds: Sequence[Seed], console: Console) -> None:
    """Print tasks one below the other, each with its id, kind and fields; texts as they are, markup in them too."""
    for number, seed in enumerate(seeds):
        if number:
            console.print()
        kept = f", keeps {' and '.join(seed.keep)}" if seed.keep else ""
        console.print(Text(f"{seed.id}  {seed.category}, {seed.translate}{kept}", style="bold"))
        for name in _FIELDS:
            if text := getattr(seed.task, name):
                console.print(Text(name, style="dim"))
                console.print(Text(text), soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class SeedSet:
    """The numbers of one set."""

    name: str
    """`th`, or a file."""

    language: str | None
    """BCP-47; None for a file whose name is no code."""

    categories: Counter[str]
    translate: Counter[str]
    graphemes: Mapping[str, Sequence[int]]
    """Field to the length of each text that is not empty, in what a reader counts as characters."""

    compression: "Compression"
    """What the tokenizer makes of all fields of all tasks."""

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return self.categories.total()

    def to_json(self) -> dict[str, Any]:
        """Counts and ratios as plain JSON types."""
        fits = self.compression.to_json()
        return {
            "name": self.name,
            "language": self.language,
            "tasks": self.tasks,
            "translate": dict(self.translate),
            "categories": dict(self.categories),
            "median_graphemes": {
                name: median(lengths) if lengths else 0 for name, lengths in self.graphemes.items()
            },
            "with_input": len(self.graphemes["input"]),
            "graphemes": sum(map(sum, self.graphemes.values())),
            "words": fits["words"],
            "tokens": fits["tokens"],
            "tokens_per_word": fits["tokens_per_word"],
            "byte_tokens": fits["byte_tokens"],
            "unknown_tokens": fits["unknown_tokens"],
        }


@dataclass(frozen=True, kw_only=True)
class SeedSets(Printed):
    """Sets side by side, measured with one tokenizer."""

    sets: tuple[SeedSet, ...]
    tokenizer: str

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {"tokenizer": self.tokenizer, "sets": [one.to_json() for one in self.sets]}

    def print(self, stream: IO[str] | None = None) -> None:
        """Print the tables.

        Args:
            stream: Where to; default: standard output.
        """
        console = Console(file=stream, highlight=False)
        console.print(self._numbers())
        console.print()
        console.print(self._categories())
        console.print(
            f"\nLengths: medians in graphemes. Fertility: tokens of {self.tokenizer} for a word, as xtune.text cuts\n"
            "words, and for a grapheme; the fewer, the better that tokenizer fits the language. Another one: --tokenizer.",
            style="dim",
            markup=False,
            soft_wrap=True,
        )
        for one in self.sets:
            if one.language and (notice := segmenter_notice(one.language)):
                console.print(notice, markup=False, soft_wrap=True)

    def _numbers(self) -> Table:
        table = _table(
            "set", "tasks", "with\ninput", "instruc-\ntion", "input", "output",
            "tokens/\nword", "tokens/\ngrapheme", "byte\ntokens",
        )  # fmt: skip
        for row in (one.to_json() for one in self.sets):
            lengths = row["median_graphemes"]
            table.add_row(
                row["name"],
                f"{row['tasks']:,}",
                f"{row['with_input']:,}",
                *(f"{lengths[name]:.0f}" for name in _FIELDS),
                f"{row['tokens_per_word']:.2f}",
                f"{row['tokens'] / row['graphemes']:.2f}" if row["graphemes"] else "-",
                f"{row['byte_tokens'] / row['tokens']:.0%}" if row["tokens"] else "-",
            )
        return table

    def _categories(self) -> Table:
        total = sum((one.categories for one in self.sets), Counter[str]())
        table = _table("category", *(one.name for one in self.sets))
        for category, _ in total.most_common():
            table.add_row(category, *(f"{one.categories[category]:,}" for one in self.sets))
        return table


def count_seeds(sets: Mapping[str, Iterable[Seed]], tokenizer: str) -> SeedSets:
    """Count sets and measure how well a tokenizer fits their languages; no weights are loaded.

    Args:
        sets: Language, or file named for one, to its seeds.
        tokenizer: The model whose tokenizer it is: a folder, a hub id, or `bundled:demo`.

    Raises:
        XtuneError: The tokenizer cannot be read.
    """
    from xtune.models.load import load_tokenizer  # noqa: PLC0415 - torch is imported late
    from xtune.recipe.models import Model  # noqa: PLC0415
    from xtune.report.compression import Sample, compression_of, words_of  # noqa: PLC0415

    loaded = load_tokenizer(Model(name=tokenizer), None)
    counted = []
    for name, seeds in sets.items():
        rows = list(seeds)
        language = _language_of(name)
        texts = {field: [getattr(seed.task, field) for seed in rows] for field in _FIELDS}
        whole = "\n".join(text for some in texts.values() for text in some if text)
        sample = Sample(name=name, language=language, text=whole, cut=False)
        counted.append(
            SeedSet(
                name=name,
                language=language,
                categories=Counter(seed.category for seed in rows),
                translate=Counter(seed.translate for seed in rows),
                graphemes={
                    field: [len(_GRAPHEME.findall(text)) for text in some if text]
                    for field, some in texts.items()
                },
                compression=compression_of(tokenizer, loaded, sample, words_of(sample)),
            )
        )
    return SeedSets(sets=tuple(counted), tokenizer=tokenizer)


def _language_of(name: str) -> str | None:
    """The language that a set is named for."""
    code = Path(name).stem
    try:
        tokenizer_name(code)
    except ValueError:
        return None
    return code


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
