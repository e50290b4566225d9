"""Finds the files that a recipe's sources stand for: a file, folder, glob, `bundled:`, a hub's or a known set; it reads no rows."""

import difflib
import glob
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from xtune.data.files import ENDINGS, kind_of
from xtune.data.folder_splits import split_files
from xtune.data.folders import files_in
from xtune.data.formats import check_columns
from xtune.data.hubs import HUBS, Wanted, fetch_files
from xtune.data.problems import Problems, listed
from xtune.data.sets import DataSet, find_set, set_of
from xtune.demo.bundled import bundled_path
from xtune.errors import DataError, MissingPackageError, XtuneError
from xtune.recipe import Data, Source

log = logging.getLogger("xtune")

_WHERE = "data source"


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file to read, and how."""

    source: int
    """Index of the source it came from, among those that were asked for."""

    name: str
    """As the person would write it: relative where the recipe's source is relative."""

    path: Path
    kind: str
    """Name of its reader, as `files.kind_of` gives it."""

    format: str
    """Format of its rows, or `auto`."""

    columns: Mapping[str, str]
    """Our name of a column to the file's."""


LeftOut: TypeAlias = dict[str, dict[str, int]]
"""Name of a source to what it holds besides the files that are read, by reason."""


def find_files(
    sources: Sequence[Source | str], data: Data | None = None, left_out: LeftOut | None = None
) -> list[SourceFile]:
    """The files that sources stand for, in the order named; files of a folder or glob in the order of their names.

    What a source does not say of format and columns, a known set says, else `data`. Files of a hub
    are fetched into its cache. What a folder holds besides is told with its number.

    Args:
        sources: What to find.
        data: The recipe's `data`.
        left_out: Takes up what sources hold besides.

    Raises:
        DataError: Everything that is wrong with the sources: absent, empty, of an unknown kind, not to be fetched.
    """
    problems = Problems()
    files: list[SourceFile] = []
    for index, source in enumerate(sources):
        given = Source.model_construct(source=source) if isinstance(source, str) else source
        finder = _Finder(index, given, data, problems)
        files += finder.files()
        if left_out is not None and finder.left_out:
            left_out[given.source] = dict(finder.left_out)
    problems.raise_any()
    return files


class _Finder:
    """The files of one source; what is wrong goes to `problems`."""

    def __init__(self, index: int, source: Source, data: Data | None, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self.left_out: Counter[str] = Counter()
        pinned = source.format or (data.format if data is not None else "auto")
        columns = data.columns if source.columns is None and data is not None else source.columns
        self._file = SourceFile(
            source=index, name="", path=Path(), kind="", format=pinned, columns=columns or {}
        )

    def files(self) -> list[SourceFile]:
        name = self._source.source
        if not name:
            self._problems.add(
                "A source is an empty text", where=_WHERE, allowed="it must name files"
            )
            return []
        try:
            check_columns(self._file.columns)
            if name.startswith("set:"):
                return self._known_set(name)
            if name.startswith(tuple(HUBS)):
                self._adopt(set_of(name))
                return self._hub(Wanted.of(self._source))
        except DataError as error:
            self._problems.include(error)
            return []
        except MissingPackageError as error:
            self._problems.add(error.message.rstrip("."), where=_WHERE, advice=error.advice)
            return []
        of_hubs = [key for key in self._given() if key == "revision" or not self._is_folder(name)]
        if of_hubs:
            self._problems.add(
                f"{listed(of_hubs)} of `{name}` {'is' if len(of_hubs) == 1 else 'are'} given",
                where=_WHERE,
                allowed="only data sets of a hub have that; folders have splits and subsets where a card or names of files tell them",
                advice="leave it out.",
            )
            return []
        return self._bundled(name) if name.startswith("bundled:") else self._local(name)

    def _given(self) -> list[str]:
        """What the source itself says of a part of a set."""
        return [
            key for key in ("split", "subset", "revision") if key in self._source.model_fields_set
        ]

    @staticmethod
    def _is_folder(name: str) -> bool:
        try:
            return Path(name).expanduser().is_dir()
        except (OSError, ValueError):
            return False

    def _known_set(self, name: str) -> list[SourceFile]:
        known = find_set(name.removeprefix("set:"))
        self._adopt(known)
        return self._hub(Wanted.of_set(known, self._source))

    def _adopt(self, known: DataSet | None) -> None:
        """Take the format and columns of a known set, unless the source says its own."""
        if known is None or self._source.format is not None or self._source.columns is not None:
            return
        self._file = replace(self._file, format=known.format, columns=known.columns)

    def _hub(self, wanted: Wanted) -> list[SourceFile]:
        found = fetch_files(wanted)
        self._leave_out(str(wanted), found.left_out)
        return [self._made(path, name, kind) for name, path, kind in found.files]

    def _bundled(self, name: str) -> list[SourceFile]:
        try:
            path = bundled_path(name)
        except XtuneError as error:
            self._problems.add(error.message.rstrip("."), where=_WHERE, advice=error.advice)
            return []
        return self._folder(path, name) if path.is_dir() else self._one(path, name)

    def _local(self, name: str) -> list[SourceFile]:
        path = Path(name).expanduser()
        try:
            if path.is_dir():
                return self._folder(path, name)
            if path.exists():
                return self._one(path, name)
            matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(name) else None  # noqa: PTH207 - Path.glob takes no absolute pattern
        except (
            OSError,
            ValueError,
        ) as error:  # a name too long, a loop of links, a NUL in the name
            self._problems.add(f"`{name[:200]}` cannot be opened: {error}", where=_WHERE)
            return []
        if matches is None:
            self._problems.add(f"`{name}` does not exist", where=_WHERE, advice=_advice(path, name))
            return []
        found = [match for match in matches if Path(match).is_file()]
        if not found:
            self._problems.add(
                f"`{name}` matches no file", where=_WHERE, advice=_advice(path, name)
            )
        return [file for match in found for file in self._one(Path(match), match)]

    def _one(self, path: Path, name: str) -> list[SourceFile]:
        kind = kind_of(path)
        if kind is not None and path.is_file():
            return [self._made(path, name, kind)]
        what = (
            f"`{name}` is of a kind that is not read"
            if path.is_file()
            else f"`{name}` is neither a file nor a folder"
        )
        self._problems.add(what, where=_WHERE, allowed=f"file names end in {ENDINGS}")
        return []

    def _folder(self, folder: Path, name: str) -> list[SourceFile]:
        found = files_in(folder, texts=self._file.format == "text")
        try:
            found = (
                split_files(folder, found, source=self._source, given=bool(self._given())) or found
            )
        except DataError as error:
            self._problems.include(error)
            return []
        self._leave_out(name, found.left_out)
        if not found.files:
            self._problems.add(
                f"`{name}` is a folder without data files" + _besides(found.left_out),
                where=_WHERE,
                allowed=f"file names end in {ENDINGS}",
            )
        root = name.rstrip("/")
        return [
            self._made(folder / inside, f"{root}/{inside}", kind) for inside, kind in found.files
        ]

    def _leave_out(self, name: str, left_out: Counter[str]) -> None:
        self.left_out += left_out
        if left_out:
            log.warning("%s: %s", name, _besides(left_out).strip(" ()"))

    def _made(self, path: Path, name: str, kind: str) -> SourceFile:
        printable = name.encode("utf-8", "backslashreplace").decode()  # a file's name is any bytes
        return replace(self._file, path=path, name=printable, kind=kind)


def _besides(left_out: Counter[str]) -> str:
    """What is there but not read, by reason: " (left out: 3 hidden, 1 .pdf)"."""
    parts = [f"{count:,} {reason}" for reason, count in left_out.most_common(8)]
    return f" (left out: {', '.join(parts)})" if parts else ""


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
    if source.count("/") == 1 and not source.startswith((".", "/", "~")) and not path.suffix:
        return f"a data set of a hub is named `hf:{source}` or `modelscope:{source}`."
    return (
        f"paths are relative to the current folder, `{Path.cwd()}`."
        if not path.is_absolute()
        else ""
    )
