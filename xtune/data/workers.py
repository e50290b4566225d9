"""Encodes pieces of rows, here or in worker processes, in the order of the rows whatever their number. It reads no file.

How a worker starts and ends is in `processes.py`.
"""

import contextlib
import gc
import os
import pickle
import subprocess
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from typing_extensions import Self

from xtune.data.chunk import Chunk
from xtune.data.comparing import Comparisons, Difference
from xtune.data.encode import Encoder
from xtune.data.fast_tokens import FastTokenizer
from xtune.data.flat import FlatEncoder
from xtune.data.light import light_tokenizer
from xtune.data.processes import pickled, refuse_dead, start_process
from xtune.data.store import Block, make_block
from xtune.errors import DataError, Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Done: TypeAlias = Block | tuple[Problem, ...] | Difference
"""What became of a piece: its rows, why they cannot be encoded, or where the tokenizers differ."""

Piece: TypeAlias = tuple[Chunk, frozenset[int]]
"""Rows with the places of those that both tokenizers encode."""

LARGE_BYTES = 4 << 20
"""Data from which workers pay: `tokenizers` needs 3 s for 4 MiB in one process, and a worker 0.3 s to start
(two EPYC cores, 2026-11-25)."""

FAST_LARGE_BYTES = 8 << 20
"""The same where fastokens encodes, which takes a third of the time."""

FAST_LARGE_BYTES_PER_TOKEN = 128
"""More of it for each token of the vocabulary: every worker loads it anew, one of 150,000 tokens in 2 s."""

_AHEAD = 4
"""Pieces for each worker that may be on their way or waiting for their turn: bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """What an encoder is made of, in a form that can be sent to another process."""

    tokenizer: "PreTrainedTokenizerBase"
    options: Mapping[str, Any]
    fast: FastTokenizer | None = None
    """What encodes in place of the tokenizer, as far as it gives the same."""

    def make(self) -> Encoder:
        """The encoder.

        Raises:
            DataError: The tokenizer or template is unfit.
        """
        return Encoder(self.tokenizer, **self.options)

    def make_chunk_encoder(self) -> "ChunkEncoder":
        """What encodes pieces.

        Raises:
            DataError: The tokenizer or template is unfit.
        """
        return ChunkEncoder(self.make(), self.fast)

    def light(self) -> "Recipient | None":
        """The same for a process without transformers and torch; None if the tokenizer needs them."""
        tokenizer = light_tokenizer(self.tokenizer)
        if tokenizer is None:
            return None
        return replace(self, tokenizer=tokenizer)  # type: ignore[arg-type]  # all that an encoder needs of one


class ChunkEncoder:
    """Encodes pieces in this process, with the fast tokenizer if there is one."""

    def __init__(self, encoder: Encoder, fast: FastTokenizer | None) -> None:
        self._encoder = encoder
        self._flat = None if fast is None else FlatEncoder(encoder, fast)

    def encode(self, piece: Piece) -> Done:
        """What becomes of one piece."""
        chunk, compared = piece
        try:
            if self._flat is not None:
                return self._flat.encode(chunk, compared)
            encoded = self._encoder.encode_rows(chunk.rows)
        except DataError as error:
            return error.problems
        return make_block(encoded, chunk.rows, chunk.files, chunk.first)


def workers_for(size: int, recipient: Recipient, cores: int) -> int:
    """How many processes encode data of so many bytes best."""
    large = LARGE_BYTES
    if recipient.fast is not None:
        large = FAST_LARGE_BYTES + FAST_LARGE_BYTES_PER_TOKEN * recipient.fast.size
    return 1 if size < large else max(1, cores)


def encode_chunks(chunks: Iterable[Chunk], recipient: Recipient, workers: int) -> Iterator[Done]:
    """What became of each piece, in order.

    Args:
        chunks: Pieces of rows; read no further ahead than the workers need.
        recipient: What the encoder is made of.
        workers: Processes; one is this one.

    Raises:
        DataError: A worker died.
    """
    pieces = _pieces(chunks, recipient)
    light = recipient.light() if workers > 1 else None
    message = pickled(light or recipient) if workers > 1 else None
    if message is None:
        encoder = recipient.make_chunk_encoder()
        for piece in pieces:
            yield encoder.encode(piece)
        return
    with _Pool(message, workers, light=light is not None) as pool:
        yield from pool.encode(pieces)


def _pieces(chunks: Iterable[Chunk], recipient: Recipient) -> Iterator[Piece]:
    comparisons = Comparisons() if recipient.fast else None
    for chunk in chunks:
        chosen = comparisons.choose(chunk.rows, chunk.first) if comparisons else frozenset[int]()
        yield chunk, chosen


class _Pool:
    """Worker processes that each hold an encoder."""

    def __init__(self, message: bytes, workers: int, *, light: bool) -> None:
        self._processes: dict[Connection, subprocess.Popen[bytes]] = {}
        self._message = message
        self._count = workers
        self._light = light

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        ours, process = start_process("workers", light=self._light)
        self._processes[ours] = process
        with contextlib.suppress(OSError):  # one that died at once is found when it should answer
            ours.send_bytes(self._message)

    def encode(self, pieces: Iterable[Piece]) -> Iterator[Done]:
        """Hand out pieces as workers become free; give results back in order."""
        source = enumerate(pieces)
        idle = list(self._processes)
        busy: dict[Connection, int] = {}
        done: dict[int, Done] = {}
        turn, more = 0, True
        while more or busy or done:
            while idle and more and len(busy) + len(done) < _AHEAD * self._count:
                number, piece = next(source, (-1, None))
                if piece is None:
                    more = False
                    break
                worker = idle.pop()
                self._send(worker, piece)
                busy[worker] = number
            ready: list[Any] = wait(list(busy)) if busy and turn not in done else []
            for worker in ready:
                done[busy.pop(worker)] = self._receive(worker)
                idle.append(worker)
            while turn in done:
                yield done.pop(turn)
                turn += 1

    def _send(self, worker: Connection, piece: Piece) -> None:
        try:
            worker.send_bytes(pickle.dumps(piece, protocol=5))
        except OSError:
            self._died(worker)

    def _receive(self, worker: Connection) -> Done:
        try:
            result = pickle.loads(worker.recv_bytes())
        except (EOFError, OSError):
            self._died(worker)
        if isinstance(result, str):
            raise RuntimeError(f"in a worker process:\n{result}")
        return result  # type: ignore[no-any-return]

    def _died(self, worker: Connection) -> NoReturn:
        refuse_dead(self._processes[worker])

    def close(self) -> None:
        """End the workers at once."""
        for connection, process in self._processes.items():
            connection.close()
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes = {}


def serve(descriptor: int) -> None:
    """The whole life of a worker: an encoder, then pieces until the pipe closes."""
    connection = Connection(descriptor)
    try:
        recipient: Recipient = pickle.loads(connection.recv_bytes())
        encoder = recipient.make_chunk_encoder()
        gc.collect()
        gc.freeze()  # what is there now is never garbage: not looked through again for every piece
        while True:
            piece = pickle.loads(connection.recv_bytes())
            connection.send_bytes(pickle.dumps(_answer(encoder, piece), protocol=5))
    except (EOFError, OSError):
        os._exit(0)  # nobody waits for what this process would do on its way out


def _answer(encoder: ChunkEncoder, piece: Piece) -> Done | str:
    try:
        return encoder.encode(piece)
    except Exception:  # noqa: BLE001 - whatever it is, the process that asked must hear of it
        return traceback.format_exc()
