"""The files of one language's translation: the seeds, and beside them what each was made from; resumable, hand-editable.

FOLDER/th.jsonl        the translated seeds, a file a person may edit
FOLDER/.th.made.jsonl  for each: a fingerprint of the English seed, and one of what was written

A row that is no longer what was written has been edited, and is never written again. A line goes into the second
file first, both are fsynced, so that a kill loses no more than the task that was being written.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selfinstruct.pool.disk import explained, mend
from selfinstruct.pool.lines import line_of
from selfinstruct.seeds.read import numbered_seeds, seed_row
from selfinstruct.types import Seed
from xtune.durable import write_text
from xtune.errors import DataError, Problem, RunError


class TranslatedFile:
    """The seeds of one language on disk."""

    def __init__(self, folder: Path, code: str) -> None:
        """Read what is there.

        Raises:
            DataError: The file was edited into something that is no seed file; it is left as it is.
            RunError: The folder cannot be written, or the file beside the seeds is damaged.
        """
        self.path = folder / f"{code}.jsonl"
        self._made_path = folder / f".{code}.made.jsonl"
        with explained(self.path):
            folder.mkdir(parents=True, exist_ok=True)
        self.torn_bytes = _mend_seeds(self.path)
        mend(self._made_path)
        self.seeds: dict[str, Seed] = _read_seeds(self.path)
        self._made: dict[str, dict[str, str]] = _read_made(self._made_path)

    def is_edited(self, seed_id: str) -> bool:
        """Whether a row is there that is not what was written, or never was."""
        seed, made = self.seeds.get(seed_id), self._made.get(seed_id)
        return seed is not None and (made is None or made["written"] != _fingerprint(seed))

    def is_current(self, source: Seed) -> bool:
        """Whether a row is there that was made from just this English seed."""
        made = self._made.get(source.id)
        return (
            source.id in self.seeds and made is not None and made["source"] == _fingerprint(source)
        )

    def knows_source(self, source: Seed) -> bool:
        """Whether the row, edited or not, was first made from just this English seed; True if nothing is known."""
        made = self._made.get(source.id)
        return made is None or made["source"] == _fingerprint(source)

    def add(self, source: Seed, translated: Seed) -> None:
        """Append a translation and make it durable.

        Raises:
            RunError: The disk is full, or the like.
        """
        made = {
            "id": source.id,
            "source": _fingerprint(source),
            "written": _fingerprint(translated),
        }
        _append(self._made_path, made)
        _append(self.path, seed_row(translated))
        self._made[source.id] = made
        self.seeds[source.id] = translated

    def finish(self, order: Iterable[str]) -> None:
        """Put the rows into the order of the English seeds, what they do not have behind them.

        The file is read again, since a person may have edited it meanwhile.

        Raises:
            DataError: It was edited into something that is no seed file; it is left as it is.
            RunError: The disk is full, or the like.
        """
        self.seeds = _read_seeds(self.path)
        ids = [seed_id for seed_id in order if seed_id in self.seeds]
        ids += [seed_id for seed_id in self.seeds if seed_id not in set(ids)]
        text = b"".join(line_of(seed_row(self.seeds[seed_id])) for seed_id in ids).decode()
        made = b"".join(line_of(row) for row in self._made.values()).decode()
        for path, wanted in ((self.path, text), (self._made_path, made)):
            with explained(path):
                if not path.exists() or path.read_text(encoding="utf-8") != wanted:
                    write_text(path, wanted)


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with explained(path), path.open("ab") as stream:
        stream.write(line_of(row))
        stream.flush()
        os.fsync(stream.fileno())


def _fingerprint(seed: Seed) -> str:
    row = json.dumps(seed_row(seed), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(row.encode()).hexdigest()[:16]


def _mend_seeds(path: Path) -> int:
    """Cut off a torn last line; a last row that is whole only lacks its line break, which editors leave out."""
    if not path.exists():
        return 0
    with explained(path):
        data = path.read_bytes()
    if not data or data.endswith(b"\n"):
        return 0
    try:
        json.loads(data[data.rfind(b"\n") + 1 :])
    except ValueError:
        return mend(path)
    with explained(path), path.open("ab") as stream:
        stream.write(b"\n")
    return 0


def _read_seeds(path: Path) -> dict[str, Seed]:
    """The rows by id; of several with one id the last, which was written when its English seed had changed.

    Raises:
        DataError: A row is no seed.
    """
    if not path.exists() or not path.stat().st_size:
        return {}
    problems: list[Problem] = []
    placed = list(
        numbered_seeds(
            path,
            lambda severity, problem: problems.append(problem) if severity == "problem" else None,
            unique=False,
        )
    )
    if problems:
        raise DataError(problems)
    return {seed.id: seed for _, seed in placed}


def _read_made(path: Path) -> dict[str, dict[str, str]]:
    """What was made, by id.

    Raises:
        RunError: The file was changed by hand.
    """
    if not path.exists():
        return {}
    with explained(path):
        data = path.read_bytes()
    try:
        rows = [json.loads(line) for line in data.split(b"\n") if line]
        return {
            str(row["id"]): {name: str(row[name]) for name in ("id", "source", "written")}
            for row in rows
        }
    except (ValueError, TypeError, KeyError):
        raise RunError(
            f"{path} is damaged: it says which translations were made here and which were edited.",
            advice="Bring it back from a copy, or remove it: every task that is there then counts as edited by hand.",
        ) from None
