"""The rows of a task in one language: which file of the person's folder, or which one of the hub, and how it is read."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from xtune.data.files import kind_of, read_records
from xtune.data.hubs import Wanted, fetch_files
from xtune.data.problems import Problems
from xtune.errors import DataError, Problem
from xtune.evaluate.tasks.table import Place, Task, Words

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TaskRows:
    """A task's rows in one language, as the files hold them."""

    test: list[Row]
    """What is scored."""

    shots: list[Row]
    """What examples are drawn from; empty where there is no such file."""

    source: str
    """Where the test rows are from."""


def read_task(
    name: str, task: Task, language: str, folder: Path | None, *, with_shots: bool
) -> TaskRows:
    """The rows from the folder, or else from the hub's cache or the hub.

    Args:
        name: The task's name.
        task: Its entry.
        language: One of its languages.
        folder: The folder of the test sets; None: the hub alone.
        with_shots: Whether examples are wanted.

    Raises:
        DataError: No file is there and the hub does not give one: the message says where was looked.
    """
    words = task.words(language)
    test = None if folder is None else _first(folder, task.test, words)
    if test is None or folder is None:
        return _from_hub(name, task, language, folder, with_shots)
    shots = _first(folder, task.shots, words) if with_shots else None
    if shots == test:
        shots = None  # where the validation rows are all there is, they are what is scored
    return TaskRows(
        test=_rows(test),
        shots=[] if shots is None else _rows(shots),
        source=" and ".join(str(path) for path in test.values()),
    )


def has_files(task: Task, language: str, folder: Path) -> bool:
    """Whether the folder holds a file of the task in the language."""
    return _first(folder, task.test, task.words(language)) is not None


_Files: TypeAlias = dict[str, Path]
"""Column to file; the empty name stands for a file that has columns itself."""


def _first(folder: Path, places: Sequence[Place], words: Words) -> _Files | None:
    for place in places:
        patterns = {"": place} if isinstance(place, str) else place
        files = {key: folder / value.format_map(words) for key, value in patterns.items()}
        if all(path.is_file() for path in files.values()):
            return files
    return None


def _rows(files: _Files) -> list[Row]:
    if "" in files:
        return list(_read(files[""]))
    columns = {key: _lines(path) for key, path in files.items()}
    sizes = {key: len(lines) for key, lines in columns.items()}
    if len(set(sizes.values())) > 1:
        counts = ", ".join(f"{files[key]}: {size}" for key, size in sizes.items())
        raise DataError(
            [Problem(what=f"Files that belong together differ in their lines ({counts})")]
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _read(path: Path) -> Iterator[Row]:
    """The rows of one file with columns.

    Raises:
        DataError: It is not what its name says.
    """
    if path.suffix == ".tsv":
        # sentences hold single quotation marks, so none may open a field
        reader = csv.DictReader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
        yield from ({key: value or "" for key, value in row.items() if key} for row in reader)
        return
    if path.suffix == ".json" and (articles := _articles(path)) is not None:
        yield from articles
        return
    problems = Problems()
    kind = kind_of(path) or "jsonl"
    rows = [record.value for record in read_records(path, str(path), kind, problems)]
    problems.raise_any()
    yield from (row for row in rows if isinstance(row, Mapping))


def _articles(path: Path) -> list[Row] | None:
    """The questions of a file in SQuAD's layout, a row each; None for another layout.

    Raises:
        DataError: It is nearly in that layout.
    """
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(whole, dict) or not isinstance(whole.get("data"), list):
            return None
        return [
            {
                "id": question["id"],
                "context": paragraph["context"],
                "question": question["question"],
                "answers": {"text": [answer["text"] for answer in question["answers"]]},
            }
            for article in whole["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError([Problem(what=f"{path} is not in SQuAD's layout: {error!r}")]) from error


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([Problem(what=f"{path} cannot be read: {error}")]) from error
    if path.suffix == ".sgm":
        return _segments(lines, path)
    # not splitlines: a sentence may hold U+2028; what follows the last line end is no line
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


_SEGMENT = re.compile("<seg[^>]*>(.*)</seg>")


def _segments(lines: Sequence[str], path: Path) -> list[str]:
    """The sentences of a file of WMT's conferences up to 2020, which is SGML in name alone; read as sacrebleu does.

    Raises:
        DataError: It holds none.
    """
    marked = [line for line in lines if line.startswith("<seg ")]
    found = [" ".join(_SEGMENT.sub(r"\1", line).split()) for line in marked]
    if not found:
        raise DataError([Problem(what=f"{path} holds no `<seg ...>` at the beginning of a line")])
    return found


def _from_hub(
    name: str, task: Task, language: str, folder: Path | None, with_shots: bool
) -> TaskRows:
    hub, words = task.hub, task.words(language)
    if hub is None:
        raise DataError([_absent(name, task, language, folder)])
    splits = [hub.test, *([hub.shots] if with_shots and hub.shots else [])]
    found: list[list[Row]] = []
    for split in splits:
        wanted = Wanted(
            hub="hf:",
            name=hub.name,
            split=split,
            subset=None if hub.paths or hub.subset is None else hub.subset.format_map(words),
            revision=hub.revision,
            paths=(hub.paths.format_map(words),) if hub.paths else (),
        )
        try:
            files = fetch_files(wanted).files
        except DataError as error:
            raise DataError([_absent(name, task, language, folder, error)]) from error
        found.append([row for _, path, _ in files for row in _read(path)])
    return TaskRows(
        test=found[0],
        shots=found[1] if len(found) > 1 else [],
        source=f"hf:{hub.name} ({hub.subset.format_map(words)})"
        if hub.subset
        else f"hf:{hub.name}",
    )


def _absent(
    name: str, task: Task, language: str, folder: Path | None, error: DataError | None = None
) -> Problem:
    words = task.words(language)
    places = [
        " with ".join(
            value.format_map(words)
            for value in ([place] if isinstance(place, str) else place.values())
        )
        for place in task.test
    ]
    looked = f"below {folder}" if folder is not None else "in no folder, as --task-data names none"
    hub = "; no hub has it in files that can be read"
    if task.hub is not None and error is not None:
        first = error.problems[0]
        hub = f"; on the hub: {first.what}"
    return Problem(
        what=f"There are no rows of the task `{name}` in `{language}`: looked {looked}{hub}",
        allowed=f"it is read from {' or '.join(places)}",
        advice="name the folder that holds it with --task-data.",
    )
