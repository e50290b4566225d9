"""Encodes all that a reading gives into a store on disk; it knows neither recipes nor caches."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

from xtune.data.choosing import TokenizerReport, fast_name, usual_name
from xtune.data.chunk import Chunk
from xtune.data.comparing import Difference
from xtune.data.problems import SHOWN
from xtune.data.reading import FileCount, Reading
from xtune.data.store import StoreWriter
from xtune.data.workers import Done, Recipient, encode_chunks
from xtune.errors import DataError, Problem


class Differs(Exception):  # noqa: N818 - no fault of the data: all is encoded again
    """The fast tokenizer differs from the usual one on a row; the text says where."""


def unwatched(_: Chunk) -> None:
    """Nobody asks how far the reading is."""


def write_store(
    folder: Path,
    reading: Reading,
    recipient: Recipient,
    workers: int,
    watch: Callable[[Chunk], None] = unwatched,
    why: str = "",
) -> None:
    """Encode all that a reading gives into a new store.

    Args:
        folder: Where it is written; what is there of an earlier try is overwritten.
        reading: The rows.
        recipient: What the encoder is made of.
        workers: Processes that encode.
        watch: Told of each piece that is read.
        why: Why the fast tokenizer is not used, if that is worth telling.

    Raises:
        DataError: Whatever is wrong with files, rows or the template, all together.
        Differs: The fast tokenizer is not to be trusted with these data; nothing of the store is of use.
        OSError: The disk refuses.
    """

    def watched() -> Iterator[Chunk]:
        for chunk in reading.chunks():
            watch(chunk)
            yield chunk

    writer, refused = StoreWriter(folder), _Refused()
    try:
        _write_pieces(encode_chunks(watched(), recipient, workers), writer, refused)
        if not refused.problems:
            name = fast_name() if writer.fast else usual_name()
            about = TokenizerReport(name=name, rows=writer.fast, compared=writer.compared, why=why)
            writer.finish([_described(count) for count in reading.counts], about.to_json())
    except DataError as error:
        refused.add(error.problems)
    finally:
        writer.close()
    refused.raise_any()


def _write_pieces(pieces: Iterable[Done], writer: StoreWriter, refused: "_Refused") -> None:
    """Write encoded pieces until one is refused; the rest is read for what else is wrong, as far as that helps.

    Raises:
        Differs: The fast tokenizer differs from the usual one.
    """
    for piece in pieces:
        if isinstance(piece, Difference):
            raise Differs(str(piece))
        if isinstance(piece, tuple):
            refused.add(piece)
            if refused.enough:
                return
        elif not refused.problems:
            writer.add(piece)


def _described(count: FileCount) -> Mapping[str, Any]:
    return {
        "name": count.name,
        "source": count.source,
        "rows": count.rows,
        "formats": dict(count.formats),
        "left_out": dict(count.left_out),
    }


class _Refused:
    """What is wrong with rows, from several pieces; what many rows have in common is told once."""

    def __init__(self) -> None:
        self.problems: dict[tuple[str, str], Problem] = {}
        self._pieces = 0

    @property
    def enough(self) -> bool:
        """Whether more of it would not be read."""
        return len(self.problems) >= SHOWN or self._pieces >= _PIECES

    def add(self, problems: Many[Problem]) -> None:
        """Take up what is wrong with one piece."""
        self._pieces += 1
        for problem in problems:
            self.problems.setdefault((problem.what, problem.allowed), problem)

    def raise_any(self) -> None:
        """End here if something is wrong.

        Raises:
            DataError: All of it.
        """
        if self.problems:
            more = [Problem(what="Later rows have such faults, too")] if self._pieces > 1 else []
            raise DataError([*self.problems.values(), *more])


_PIECES = 10
"""Pieces with faulty rows after which the rest is not read: a person fixes the first and sees the pattern."""
