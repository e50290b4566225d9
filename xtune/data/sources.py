"""Finds the files a recipe names (file, folder, glob, `bundled:`) and loads them; it knows no row format."""

import difflib
import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xtune.data.files import ENDINGS, kind_of, read_file
from xtune.data.problems import Problems, listed
from xtune.data.types import Record
from xtune.demo.bundled import bundled_path
from xtune.errors import XtuneError

_NOT_DATA = ("readme", "license", "licence", "notice", "changelog", "contributing", "dataset_info")
"""Beginnings of the names of files that describe a data folder rather than being data."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file to read."""

    name: str
    """As the person would write it: relative where the recipe's source is relative."""

    path: Path
    kind: str


@dataclass(frozen=True, kw_only=True)
class LoadedFile:
    """One file that was read."""

    name: str
    sha256: str
    bytes: int
    records: list[Record]


def read_sources(sources: Sequence[str]) -> list[Record]:
    """All rows of all sources, in the order named; files of a folder or glob in the order of their names.

    Raises:
        DataError: Everything that is wrong with the sources, files and rows.
    """
    return [record for file in load(sources) for record in file.records]


def load(sources: Sequence[str]) -> list[LoadedFile]:
    """Like `read_sources`, kept apart by file and with each file's fingerprint.

    Raises:
        DataError: Everything that is wrong with the sources, files and rows.
    """
    problems = Problems()
    loaded = []
    for file in find_files(sources):
        content = read_file(file.path, file.name, file.kind, problems)
        loaded.append(
            LoadedFile(
                name=file.name, sha256=content.sha256, bytes=content.bytes, records=content.records
            )
        )
    problems.raise_any()
    return loaded


def find_files(sources: Sequence[str]) -> list[SourceFile]:
    """The files that sources stand for.

    Raises:
        DataError: A source that does not exist, matches nothing, or is of an unknown kind.
    """
    problems = Problems()
    files = [file for source in sources for file in _files_of(source, problems)]
    problems.raise_any()
    return files


def _files_of(source: str, problems: Problems) -> list[SourceFile]:
    if source.startswith("bundled:"):
        return _bundled(source, problems)
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _folder(path, source, problems)
        if path.exists():
            return _file(path, source, problems)
        matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(source) else None  # noqa: PTH207 - Path.glob takes no absolute pattern
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a NUL in the name
        problems.add(f"`{source[:200]}` cannot be opened: {error}", where="data source")
        return []
    if matches is None:
        problems.add(
            f"`{source}` does not exist", where="data source", advice=_advice(path, source)
        )
        return []
    found = [Path(match) for match in matches if Path(match).is_file()]
    if not found:
        problems.add(
            f"`{source}` matches no file", where="data source", advice=_advice(path, source)
        )
    return [file for match in found for file in _file(match, str(match), problems)]


def _bundled(source: str, problems: Problems) -> list[SourceFile]:
    try:
        path = bundled_path(source)
    except XtuneError as error:
        problems.add(error.message.rstrip("."), where="data source", advice=error.advice)
        return []
    if path.is_dir():
        return _folder(path, source, problems)
    return _file(path, source, problems)


def _file(path: Path, name: str, problems: Problems) -> list[SourceFile]:
    kind = kind_of(path)
    if kind is None or not path.is_file():
        what = (
            f"`{name}` is of a kind that is not read"
            if path.is_file()
            else f"`{name}` is neither a file nor a folder"
        )
        problems.add(what, where="data source", allowed=f"file names end in {ENDINGS}")
        return []
    return [SourceFile(name=name, path=path, kind=kind)]


def _folder(folder: Path, source: str, problems: Problems) -> list[SourceFile]:
    files = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        kind = kind_of(path)
        if hidden or kind is None or path.name.lower().startswith(_NOT_DATA) or not path.is_file():
            continue
        name = f"{source.rstrip('/')}/{inside.as_posix()}"
        files.append(SourceFile(name=name, path=path, kind=kind))
    if not files:
        problems.add(
            f"`{source}` is a folder without data files",
            where="data source",
            allowed=f"file names end in {ENDINGS}",
        )
    return files


def _advice(path: Path, source: str) -> str:
    """Names near the one that does not exist, from the deepest folder on the way that does."""
    if "://" in source:
        return "addresses are not read; download the file and name it."
    wrong = path
    while not wrong.parent.is_dir() and wrong.parent != wrong:
        wrong = wrong.parent
    try:
        names = [entry.name for entry in wrong.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(wrong.name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {listed(wrong.parent / name for name in near)}?"
    return (
        f"paths are relative to the current folder, `{Path.cwd()}`."
        if not path.is_absolute()
        else ""
    )
