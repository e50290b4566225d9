"""Encoded rows as flat arrays in files, mapped into memory when read: a million rows are no million objects. Encodes nothing.

FOLDER/tokens.bin    int32: the token ids of every sequence, end to end
FOLDER/runs.bin      `RUN`: the weights, as runs of equal values
FOLDER/rows.bin      `ROW`: one record a sequence: where it ends in the two files above, where it came from
FOLDER/events.bin    `EVENT`: rows dropped and rows worth a note
FOLDER/index.json    counts, sizes and check sums of the files above; written last: without it there is no store
"""

import json
import zlib
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt

from xtune.data.encode import Encoded
from xtune.data.formats import Row
from xtune.data.types import IGNORED, Origin, Sequence

Array = npt.NDArray[Any]

RUN = np.dtype([("tokens", "<i4"), ("weight", "<f4")])
ROW = np.dtype(
    [
        ("stop", "<i8"),  # end in tokens.bin; it begins where the one before ends
        ("run_stop", "<i8"),
        ("length", "<i4"),
        ("trained", "<i4"),
        ("loss_weight", "<f8"),
        ("file", "<i4"),
        ("row", "<i8"),
        ("line", "<i8"),  # 0 where the format has no lines
        ("ordinal", "<i8"),  # place among all rows that were read
        ("digest", "<u8"),  # of the token ids
        ("prompt", "<u8"),  # of those before the first trained one; 0 if there are none
    ]
)
EVENT = np.dtype([("ordinal", "<i8"), ("kind", "<i4"), ("file", "<i4"), ("row", "<i8"), ("line", "<i8")])  # fmt: skip

FORMAT = 2
"""Raised whenever the files change their meaning."""

INDEX = "index.json"
_FILES = {"tokens": np.dtype("<i4"), "runs": RUN, "rows": ROW, "events": EVENT}
_READ_BYTES = 1 << 22
"""Read at one time for a check sum: 4 MiB, so that a large file is never in memory."""


class DamagedStoreError(Exception):
    """A store whose files are not what was written; the text says which one and how."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some encoded rows as flat arrays, on their way from the encoder to the files."""

    tokens: Array
    runs: Array
    rows: Array
    """`stop` and `run_stop` count from the block's own beginning."""

    events: Array
    kinds: tuple[tuple[str, str], ...]
    """("drop" or "note", what happened) for every `kind` of `events`."""

    read: int
    """Rows that went into it."""

    fast: int = 0
    """Rows whose tokens are the fast tokenizer's."""

    compared: int = 0
    """Rows that both tokenizers encoded."""


@dataclass(kw_only=True)
class Index:
    """What `index.json` holds."""

    counts: dict[str, int]
    sums: dict[str, int]
    kinds: list[tuple[str, str]]
    files: list[dict[str, Any]] = field(default_factory=list)
    """Name, formats with counts, and rows of each file that was read."""

    read: int = 0
    tokenizer: dict[str, Any] = field(default_factory=dict)
    """Which one encoded, and how it was held to another: `report.TokenizerReport`."""


def make_block(encoded: Encoded, rows: Many[Row], files: Many[int], first: int) -> Block:
    """Flatten what became of `rows`.

    Args:
        encoded: The encoder's result.
        rows: What was encoded.
        files: Number of the file of each row.
        first: Ordinal of the first row.
    """
    # by identity: a file that is named twice gives equal origins
    places = {id(row.origin): index for index, row in enumerate(rows)}
    equal = {row.origin: index for index, row in enumerate(rows)}
    stop = run_stop = 0
    records, tokens, runs = [], [], []
    for sequence in encoded.sequences:
        found = _runs_of(sequence.weights)
        stop, run_stop = stop + len(sequence), run_stop + len(found)
        place = places.get(id(sequence.origin), equal.get(sequence.origin, 0))
        counted = np.flatnonzero(sequence.weights[1:])
        prompt = int(counted[0]) + 1 if len(counted) else 0
        ids = np.ascontiguousarray(sequence.input_ids, "<i4")
        records.append(
            (
                stop, run_stop, len(sequence), len(counted), sequence.loss_weight, files[place],
                sequence.origin.row, sequence.origin.line or 0, first + place, _digest(ids),
                _digest(ids[:prompt]) if prompt > 1 else 0,
            )
        )  # fmt: skip
        tokens.append(ids)
        runs.append(found)
    kinds: dict[tuple[str, str], int] = {}
    events = []
    happened = [("drop", drop.reason, drop.origin) for drop in encoded.drops]
    happened += [("note", what, origin) for what, some in encoded.notes.items() for origin in some]
    for sort, what, origin in happened:
        place = places.get(id(origin), equal.get(origin, 0))
        kind = kinds.setdefault((sort, what), len(kinds))
        events.append((first + place, kind, files[place], origin.row, origin.line or 0))
    return Block(
        tokens=np.concatenate(tokens) if tokens else np.zeros(0, "<i4"),
        runs=np.concatenate(runs) if runs else np.zeros(0, RUN),
        rows=np.array(records, ROW),
        events=np.array(events, EVENT),
        kinds=tuple(kinds),
        read=len(rows),
    )


def _runs_of(weights: npt.NDArray[np.float32]) -> Array:
    edges = np.flatnonzero(weights[1:] != weights[:-1]) + 1
    starts = np.concatenate(([0], edges)) if len(weights) else np.zeros(0, np.int64)
    runs = np.empty(len(starts), RUN)
    runs["tokens"] = np.diff(np.append(starts, len(weights)))
    runs["weight"] = weights[starts]
    return runs


def _digest(ids: Array) -> int:
    """64 bits: two different ones of ten million are equal with a chance of 3 in a million."""
    return int.from_bytes(blake2b(ids.tobytes(), digest_size=8).digest(), "little")


class StoreWriter:
    """Appends blocks to a new store; memory does not grow with it."""

    def __init__(self, folder: Path) -> None:
        """Begin a store in an empty folder, made if absent."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._files: dict[str, BinaryIO] = {
            name: (folder / f"{name}.bin").open("wb") for name in _FILES
        }
        self._index = Index(
            counts=dict.fromkeys(_FILES, 0), sums=dict.fromkeys(_FILES, 0), kinds=[]
        )
        self._kinds: dict[tuple[str, str], int] = {}
        self.fast = self.compared = 0
        """`Block.fast` and `Block.compared` of all blocks."""

    @property
    def tokens(self) -> int:
        """Token ids written."""
        return self._index.counts["tokens"]

    def add(self, block: Block) -> None:
        """Append a block."""
        rows, events = block.rows.copy(), block.events.copy()
        rows["stop"] += self._index.counts["tokens"]
        rows["run_stop"] += self._index.counts["runs"]
        numbers = [self._kinds.setdefault(kind, len(self._kinds)) for kind in block.kinds]
        if len(events):
            events["kind"] = np.array(numbers, np.int32)[events["kind"]]
        for name, array in (
            ("tokens", block.tokens), ("runs", block.runs), ("rows", rows), ("events", events),
        ):  # fmt: skip
            raw = array.tobytes()
            self._files[name].write(raw)
            self._index.counts[name] += len(array)
            self._index.sums[name] = zlib.crc32(raw, self._index.sums[name])
        self._index.read += block.read
        self.fast += block.fast
        self.compared += block.compared

    def finish(self, files: Many[Mapping[str, Any]], tokenizer: Mapping[str, Any]) -> None:
        """Complete the store; `files` describes what was read, `tokenizer` what it was encoded with."""
        self.close()  # not synced to the disk: after a power cut the check sums tell
        self._index.kinds = list(self._kinds)
        self._index.files = [dict(file) for file in files]
        self._index.tokenizer = dict(tokenizer)
        text = json.dumps({"format": FORMAT, **vars(self._index)}, ensure_ascii=False)
        mark = self.folder / f"{INDEX}.writing"
        summed = json.dumps({"sum": zlib.crc32(text.encode()), "index": text})
        mark.write_text(summed, encoding="utf-8")
        mark.replace(self.folder / INDEX)

    def close(self) -> None:
        """Let go of the files of a store that will not be finished."""
        for file in self._files.values():
            file.close()


class Stored(Many[Sequence]):
    """Sequences of a store, all or some of them, made when they are asked for; the arrays cost no objects."""

    def __init__(self, folder: Path, *, verify: bool = True) -> None:
        """Open a finished store.

        Args:
            folder: Where it was written. On POSIX systems it may be removed while it is open.
            verify: Read every byte and compare the check sums.

        Raises:
            DamagedStoreError: It is not finished, or not what was written.
        """
        self.folder = folder
        self.about = _read_index(folder)
        arrays = {name: _mapped(folder, name, self.about, verify=verify) for name in _FILES}
        self._tokens, self._runs = arrays["tokens"], arrays["runs"]
        self._rows, self.events = arrays["rows"], arrays["events"]
        self.read: int = self.about.read
        self._names = tuple(str(file["name"]) for file in self.about.files)
        self._indices: npt.NDArray[np.int64] | None = None

    def take(self, indices: npt.NDArray[np.int64]) -> "Stored":
        """Some of the sequences, in the order given; shares the files."""
        some = object.__new__(Stored)
        vars(some).update(vars(self))
        some._indices = indices if self._indices is None else self._indices[indices]
        return some

    def __len__(self) -> int:
        return len(self._rows) if self._indices is None else len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Sequence: ...
    @overload
    def __getitem__(self, index: slice) -> "Stored": ...
    def __getitem__(self, index: int | slice) -> "Sequence | Stored":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        place = index % len(self) if self._indices is None else int(self._indices[index])
        row = self._rows[place]
        stop, length = int(row["stop"]), int(row["length"])
        first_run = int(self._rows[place - 1]["run_stop"]) if place else 0
        runs = self._runs[first_run : int(row["run_stop"])]
        input_ids = self._tokens[stop - length : stop]
        weights = np.repeat(runs["weight"], runs["tokens"])
        labels = np.where(weights > 0, input_ids, np.int32(IGNORED))
        return Sequence(
            input_ids=input_ids, labels=labels, weights=weights, origin=self._origin(row)
        )

    def _origin(self, record: Any) -> Origin:
        line = int(record["line"])
        return Origin(source=self._names[int(record["file"])], row=int(record["row"]), line=line or None)  # fmt: skip

    def field(self, name: str) -> Array:
        """One field of `ROW` of every sequence, (sequences,)."""
        column: Array = self._rows[name]
        return np.ascontiguousarray(column if self._indices is None else column[self._indices])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every sequence, (sequences,)."""
        return self.field("length").astype(np.int64)

    @property
    def sources(self) -> npt.NDArray[np.int64]:
        """Number of the source of every sequence, (sequences,)."""
        of_file = np.array([file["source"] for file in self.about.files] or [0], np.int64)
        return of_file[self.field("file")]

    @property
    def loss_weights(self) -> npt.NDArray[np.float64]:
        """`Sequence.loss_weight` of every sequence, (sequences,)."""
        return self.field("loss_weight")

    def happened(self, sort: str, ordinals: npt.NDArray[np.bool_] | None = None) -> dict[str, tuple[int, tuple[str, ...]]]:  # fmt: skip
        """What happened to rows: how many, and the first three.

        Args:
            sort: "drop" or "note".
            ordinals: Which of the rows read are meant, (rows,); None: all.
        """
        events = self.events
        if ordinals is not None and len(events):
            events = events[ordinals[events["ordinal"]]]
        result = {}
        for kind, (kind_sort, what) in enumerate(self.about.kinds):
            of_kind = np.flatnonzero(events["kind"] == kind) if kind_sort == sort else ()
            if len(of_kind):
                examples = tuple(str(self._origin(events[place])) for place in of_kind[:3])
                result[what] = (len(of_kind), examples)
        return result


def _read_index(folder: Path) -> Index:
    try:
        outer = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        text = outer["index"]
        if zlib.crc32(text.encode()) != outer["sum"]:
            raise DamagedStoreError(f"{folder / INDEX} is damaged")
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise DamagedStoreError(f"{folder} was written by another version")
        found["kinds"] = [(str(sort), str(what)) for sort, what in found["kinds"]]
        return Index(**found)
    except OSError as error:
        raise DamagedStoreError(f"{folder} is not finished: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStoreError(f"{folder / INDEX} is damaged: {error}") from error


def _mapped(folder: Path, name: str, index: Index, *, verify: bool) -> Array:
    path, dtype, count = folder / f"{name}.bin", _FILES[name], index.counts[name]
    try:
        size = path.stat().st_size
        if size != count * dtype.itemsize:
            raise DamagedStoreError(f"{path} has {size} bytes, not {count * dtype.itemsize}")
        if verify and _sum(path) != index.sums[name]:
            raise DamagedStoreError(f"{path} is not what was written: its check sum differs")
        if not count:
            return np.zeros(0, dtype)  # nothing cannot be mapped
        return np.memmap(path, dtype, mode="r").view(np.ndarray)
    except OSError as error:
        raise DamagedStoreError(f"{path} cannot be read: {error}") from error


def _sum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            total = zlib.crc32(part, total)
    return total


def lengths_of(sequences: Many[Sequence]) -> npt.NDArray[np.int64]:
    """Tokens of every sequence, (sequences,)."""
    if isinstance(sequences, Stored):
        return sequences.lengths
    return np.array([len(sequence) for sequence in sequences], np.int64)
