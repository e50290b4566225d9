"""Encodes pieces of rows, here or in worker processes, in the order of the rows whatever their number. It reads no file.

How a worker starts and ends is in `processes.py`.
"""

import contextlib
import gc
import os
import pickle
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

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

LARGE_BYTES = 2 << 20
"""Data from which a second process pays: 2 MiB take one 0.5 to 1.5 s, and another 0.3 s to start, while the first works
(two EPYC cores, 2026-11-25)."""

LARGE_BYTES_PER_TOKEN = 64
"""More of it for each token of the vocabulary where fastokens encodes: a process loads one of 150,000 tokens in 2 s."""

_AHEAD = 4
"""Pieces for each process that may be on their way or waiting for their turn: bounds the memory."""

_SENT = 2
"""Pieces that a worker may have: one that it encodes and one that it need not wait for."""

_READY = "ready"
"""A worker's first answer."""


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
    tokens = 0 if recipient.fast is None else recipient.fast.size
    large = LARGE_BYTES + LARGE_BYTES_PER_TOKEN * tokens
    return 1 if size < large else max(1, cores)


def encode_chunks(chunks: Iterable[Chunk], recipient: Recipient, workers: int) -> Iterator[Done]:
    """What became of each piece, in order.

    Args:
        chunks: Pieces of rows; read no further ahead than the workers need.
        recipient: What the encoder is made of.
        workers: Processes; this is one of them.

    Raises:
        DataError: A worker died.
    """
    pieces = _pieces(chunks, recipient)
    light = recipient.light() if workers > 1 else None
    message = pickled(light or recipient) if workers > 1 else None
    encoder = recipient.make_chunk_encoder()
    if message is None:
        for piece in pieces:
            yield encoder.encode(piece)
        return
    with _Pool(message, workers - 1, light=light is not None) as pool:
        yield from pool.encode(pieces, encoder)


def _pieces(chunks: Iterable[Chunk], recipient: Recipient) -> Iterator[Piece]:
    comparisons = Comparisons() if recipient.fast else None
    for chunk in chunks:
        chosen = comparisons.choose(chunk.rows, chunk.first) if comparisons else frozenset[int]()
        yield chunk, chosen


class _Worker:
    """Another process that holds an encoder."""

    def __init__(self, message: bytes, *, light: bool) -> None:
        self.connection, self.process = start_process("workers", light=light)
        self.pieces: list[int] = []
        """Numbers of the pieces that it has."""
        self.ready = False
        # a large tokenizer fills the pipe long before the process has started to read
        self._sender = threading.Thread(target=self._send, args=(message,), daemon=True)
        self._sender.start()

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # one that died at once is found when it should answer
            self.connection.send_bytes(message)

    def close(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self._sender.join()  # its pipe is broken now
        self.connection.close()


class _Pool:
    """Processes that encode beside this one."""

    def __init__(self, message: bytes, workers: int, *, light: bool) -> None:
        self._workers: dict[Connection, _Worker] = {}
        self._message = message
        self._count = workers
        self._light = light

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                worker = _Worker(self._message, light=self._light)
                self._workers[worker.connection] = worker
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def encode(self, pieces: Iterable[Piece], encoder: ChunkEncoder) -> Iterator[Done]:
        """Hand out pieces as workers become free, encode the others here; give results back in order."""
        source, limit = enumerate(pieces), _AHEAD * (self._count + 1)
        done: dict[int, Done] = {}
        turn, more = 0, True
        while more or done or self._sent():
            self._take(done, wait_for_one=False)
            while more and len(done) + self._sent() < limit:
                number, piece = next(source, (-1, None))
                if piece is None:
                    more = False
                elif (worker := self._hungry()) is not None:
                    self._send(worker, number, piece)
                else:
                    done[number] = encoder.encode(piece)
                    break  # by now the workers may have answered
            if turn not in done and self._sent():
                full = len(done) + self._sent() >= limit
                self._take(done, wait_for_one=full or not more)
            while turn in done:
                yield done.pop(turn)
                turn += 1

    def _sent(self) -> int:
        return sum(len(worker.pieces) for worker in self._workers.values())

    def _hungry(self) -> _Worker | None:
        ready = [worker for worker in self._workers.values() if worker.ready]
        least = min(ready, key=lambda worker: len(worker.pieces), default=None)
        return least if least is not None and len(least.pieces) < _SENT else None

    def _take(self, done: dict[int, Done], *, wait_for_one: bool) -> None:
        """Take in what workers have answered.

        Raises:
            DataError: A worker died.
            RuntimeError: A worker found a fault of ours.
        """
        answered: list[Any] = wait(list(self._workers), None if wait_for_one else 0)
        for connection in answered:
            worker = self._workers[connection]
            try:
                result = pickle.loads(connection.recv_bytes())
            except (EOFError, OSError):
                refuse_dead(worker.process)
            if result == _READY and not worker.ready:
                worker.ready = True
            elif isinstance(result, str):
                raise RuntimeError(f"in a worker process:\n{result}")
            else:
                done[worker.pieces.pop(0)] = result

    def _send(self, worker: _Worker, number: int, piece: Piece) -> None:
        try:
            worker.connection.send_bytes(pickle.dumps(piece, protocol=5))
        except OSError:
            refuse_dead(worker.process)
        worker.pieces.append(number)

    def close(self) -> None:
        """End the workers at once."""
        for worker in self._workers.values():
            worker.close()
        self._workers = {}


def serve(descriptor: int) -> None:
    """The whole life of a worker: an encoder, then pieces until the pipe closes."""
    connection = Connection(descriptor)
    received: SimpleQueue[bytes] = SimpleQueue()
    # read all the time, so that the other side never waits for this one while this one waits for it
    threading.Thread(target=_receive, args=(connection, received), daemon=True).start()
    recipient: Recipient = pickle.loads(received.get())
    encoder = recipient.make_chunk_encoder()
    gc.collect()
    gc.freeze()  # what is there now is never garbage: not looked through again for every piece
    try:
        connection.send_bytes(pickle.dumps(_READY))
        while True:
            piece = pickle.loads(received.get())
            connection.send_bytes(pickle.dumps(_answer(encoder, piece), protocol=5))
    except OSError:
        os._exit(0)  # nobody waits for what this process would do on its way out


def _receive(connection: Connection, received: "SimpleQueue[bytes]") -> None:
    try:
        while True:
            received.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


def _answer(encoder: ChunkEncoder, piece: Piece) -> Done | str:
    try:
        return encoder.encode(piece)
    except Exception:  # noqa: BLE001 - whatever it is, the process that asked must hear of it
        return traceback.format_exc()
