"""How well tokenizers fit languages: characters and bytes per token, tokens per word, unknown and byte tokens; loads no weights."""

import math
import re
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from rich.console import Console
from rich.table import Table

from xtune import text as texts
from xtune.data.problems import Problems, refuse
from xtune.data.rows import RowReader
from xtune.data.sources import find_files
from xtune.data.types import Document
from xtune.models.tokenizer import load_tokenizer
from xtune.recipe.models import Model
from xtune.report.printed import Printed
from xtune.shown import visible
from xtune.text import detect_language

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_CHARACTERS = 1_000_000
"""Characters looked at of each file: more change the second digit of no ratio, and take seconds each."""

_LANGUAGE_CHARACTERS = 5_000
"""Characters that the language is recognised from: some pages."""

_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
"""Sentencepiece's name of a token that is one byte of a character that the vocabulary lacks."""

_XML_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_NO_LANGUAGE = "?"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The text of one file, and its language."""

    name: str
    language: str | None
    text: str
    cut: bool
    """Whether the file holds more than was looked at."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What one tokenizer makes of one file."""

    model: str
    file: str
    language: str | None
    characters: int
    bytes: int
    """Bytes of the text in UTF-8."""

    words: int
    """Words as `xtune.text` counts them; where scripts have no spaces and no segmenter is installed, pairs of characters."""

    tokens: int
    unknown_tokens: int
    """Tokens that stand for text that the vocabulary does not have: it is lost."""

    byte_tokens: int
    """Tokens that are only part of a character: the vocabulary lacks it and spells it in bytes."""

    @property
    def characters_per_token(self) -> float:
        """The more, the cheaper is a text in this language."""
        return self.characters / self.tokens if self.tokens else 0.0

    def to_json(self) -> dict[str, Any]:
        """Counts and ratios as plain JSON types."""
        return {
            **vars(self),
            "characters_per_token": self.characters_per_token,
            "bytes_per_token": self.bytes / self.tokens if self.tokens else 0.0,
            "tokens_per_word": self.tokens / self.words if self.words else 0.0,
        }


@dataclass(frozen=True, kw_only=True)
class TokensReport(Printed):
    """Tokenizers and files, each with each; files by language, and for each file the best tokenizer first."""

    rows: tuple[Compression, ...]
    vocabularies: dict[str, int]
    """Model to the tokens of its vocabulary."""

    cut: tuple[str, ...]
    """Files of which only the beginning was looked at."""

    def means(self) -> dict[str, float]:
        """Model to its characters per token, as the geometric mean over the files; best first."""
        found = {
            model: [row.characters_per_token for row in self.rows if row.model == model]
            for model in self.vocabularies
        }
        means = {
            model: math.exp(sum(map(math.log, some)) / len(some)) if all(some) else 0.0
            for model, some in found.items()
        }
        return dict(sorted(means.items(), key=lambda item: -item[1]))

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {
            "files": [row.to_json() for row in self.rows],
            "models": [
                {
                    "model": model,
                    "vocabulary": self.vocabularies[model],
                    "characters_per_token": mean,
                }
                for model, mean in self.means().items()
            ],
            "cut": list(self.cut),
        }

    def print(self, stream: IO[str] | None = None) -> None:
        """Print the tables.

        Args:
            stream: Where to; default: standard output.
        """
        console = Console(file=stream, highlight=False)
        console.print(self._files())
        if len(self.vocabularies) > 1:
            console.print()
            console.print(self._models())
        console.print(
            "\nMore characters a token: cheaper, and more text in a context. Byte tokens: parts of characters that\n"
            "the vocabulary lacks; a model learns such a script badly. Unknown tokens: text that is lost.",
            style="dim",
            soft_wrap=True,
        )
        for name in self.cut:
            console.print(
                f"{visible(name)}: the first {MOST_CHARACTERS:,} characters", markup=False
            )

    def _files(self) -> Table:
        several = len(self.vocabularies) > 1
        table = _table(
            "language", "file", *(["model"] if several else []),
            "chars/token", "bytes/token", "tokens/word", "byte tokens", "unknown",
        )  # fmt: skip
        names, models = _shortened([row.file for row in self.rows]), _shortened(self.vocabularies)
        for _, group in groupby(self.rows, key=lambda row: row.file):
            for place, row in enumerate(group):
                ratios = row.to_json()
                table.add_row(
                    "" if place else row.language or _NO_LANGUAGE,
                    "" if place else names[row.file],
                    *([models[row.model]] if several else []),
                    f"{ratios['characters_per_token']:.2f}",
                    f"{ratios['bytes_per_token']:.2f}",
                    f"{ratios['tokens_per_word']:.2f}",
                    _share(row.byte_tokens, row.tokens),
                    _share(row.unknown_tokens, row.tokens),
                    style="bold" if several and not place else "",
                )
        return table

    def _models(self) -> Table:
        table = _table("model", "vocabulary", "chars/token", "best for")
        models = _shortened(self.vocabularies)
        best = [next(group) for _, group in groupby(self.rows, key=lambda row: row.file)]
        for model, mean in self.means().items():
            mine = [row.language or row.file for row in best if row.model == model]
            table.add_row(
                models[model],
                f"{self.vocabularies[model]:,}",
                f"{mean:.2f}",
                ", ".join(dict.fromkeys(mine)) or "-",
            )
        return table


def compare_tokenizers(models: Many[str], files: Many[str]) -> TokensReport:
    """Tokenise files with the tokenizers of models and count.

    Args:
        models: Folders, hub ids, or `bundled:demo`.
        files: Texts, data files, XML files (their text alone), folders, globs, `hf:` ids.

    Raises:
        XtuneError: A tokenizer or a file cannot be read.
    """
    samples = [sample for file in dict.fromkeys(files) for sample in _samples(file)]
    rows, vocabularies = [], {}
    words = {sample.name: words_of(sample) for sample in samples}
    for name in dict.fromkeys(models):
        tokenizer = load_tokenizer(Model(name=name), None)
        vocabularies[name] = len(tokenizer)
        rows += [compression_of(name, tokenizer, one, words[one.name]) for one in samples]
    rows.sort(key=lambda row: (row.language or "~", row.file, -row.characters_per_token))
    return TokensReport(
        rows=tuple(rows),
        vocabularies=vocabularies,
        cut=tuple(sample.name for sample in samples if sample.cut),
    )


def compression_of(
    model: str, tokenizer: "PreTrainedTokenizerBase", sample: Sample, words: int
) -> Compression:
    """What a model's tokenizer makes of one text that has so many words."""
    call: Any = tokenizer
    # by lines, as rows come: one text of a million characters takes some tokenizers quadratic time
    lines = sample.text.splitlines(keepends=True)
    encoded = call(lines, add_special_tokens=False, return_attention_mask=False, verbose=False)
    ids = np.array([token for line in encoded["input_ids"] for token in line], np.int64)
    used, counts = np.unique(ids, return_counts=True)
    byte_tokens = sum(
        count
        for token, count in zip(used.tolist(), counts.tolist(), strict=True)
        if _is_partial(call, token)
    )
    unknown = call.unk_token_id
    return Compression(
        model=model,
        file=sample.name,
        language=sample.language,
        characters=len(sample.text),
        bytes=len(sample.text.encode("utf-8", "surrogatepass")),
        words=words,
        tokens=len(ids),
        unknown_tokens=int(np.count_nonzero(ids == unknown)) if unknown is not None else 0,
        byte_tokens=byte_tokens,
    )


def _is_partial(tokenizer: Any, token: int) -> bool:
    """Whether a token is less than a character."""
    if _BYTE_TOKEN.fullmatch(tokenizer.convert_ids_to_tokens(token) or ""):
        return True
    return "\ufffd" in tokenizer.backend_tokenizer.decode([token], skip_special_tokens=False)


def _samples(source: str) -> Iterator[Sample]:
    """The texts that a name stands for: XML files without their marks, everything else as training reads it."""
    problems = Problems()
    for found in find_files([source]):
        if found.path.suffix == ".xml":
            text, language = _read_xml(found.path)
            yield _sample(found.name, iter([text]), language)
            continue
        pieces = (
            row.text if isinstance(row, Document) else "\n".join(_contents(row))
            for row in RowReader(found, problems)
        )
        sample = _sample(found.name, pieces, None)
        problems.raise_any()
        yield sample


def _contents(row: Any) -> list[str]:
    return [message.content for message in row.messages]


def _sample(name: str, pieces: Iterator[str], language: str | None) -> Sample:
    parts: list[str] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece) + 1
        if size > MOST_CHARACTERS:
            break
    text = "\n".join(parts)
    return Sample(
        name=name,
        language=language or detect_language(text[:_LANGUAGE_CHARACTERS]),
        text=text[:MOST_CHARACTERS],
        cut=len(text) > MOST_CHARACTERS,
    )


def _read_xml(path: Path) -> tuple[str, str | None]:
    """The text of an XML file without its marks, a line for each element, and the language it declares.

    Raises:
        DataError: It cannot be read, or is not well-formed.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        refuse(f"The XML file cannot be read: {reason}", where=str(path))
    pieces = (piece.strip() for piece in root.itertext())
    language = (root.get(_XML_LANGUAGE) or "").partition("-")[0]
    return "\n".join(piece for piece in pieces if piece), language or None


def words_of(sample: Sample) -> int:
    """Words of a text, by line: segmenters hold a whole text in memory many times over."""
    language = sample.language or "und"
    return sum(len(texts.tokenize(line, language)) for line in sample.text.splitlines())


def _shortened(names: Iterable[str]) -> dict[str, str]:
    """The last parts of names, as many as tell them apart."""
    parts = {name: Path(name).parts for name in names}
    size = 1
    while len({some[-size:] for some in parts.values()}) < len(parts):
        size += 1
    return {name: visible("/".join(some[-size:])) for name, some in parts.items()}


def _share(count: int, total: int) -> str:
    return "-" if not count else f"{count / total:.1%}" if count >= total / 1000 else "<0.1%"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        text = column in {"language", "file", "model", "best for"}
        heading = column.replace("/", "/\n").replace(" tokens", "\ntokens")
        table.add_column(
            heading, justify="left" if text else "right", overflow="fold", no_wrap=not text
        )
    return table
