"""Reads replies in other processes, since parsing and rules take more of a processor than everything else together.

A worker is `python -c`, not a fork, and imports no torch. It lives as long as its socket: when this process dies,
however it dies, the socket closes and the worker ends. One that dies is replaced, and what it had is read again.
What a reply holds depends on the reply alone, so that neither their number nor their fate changes the pool.
"""

import asyncio
import gc
import json
import marshal
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from selfinstruct.generate.answers import Contents, Piece, Reader
from selfinstruct.generate.waiting import Waiting
from selfinstruct.rules import Rules, RuleSettings
from selfinstruct.types import Reply
from xtune.errors import RunError
from xtune.hardware import core_count

MOST_WORKERS = 16
"""`auto` ends here: one process that asks cannot feed more. A design choice."""

_FEW_REPLIES = 100
"""A run of fewer reads them itself: a worker takes 0.4 s to start (two EPYC cores, 2026-11-25)."""

_AT_ONCE = 16
"""Replies in one message: waking a worker costs as much as reading a short reply, and those of one language enter its pool together.

With 16 the process that asks takes 40 to 70 us less for a reply of 17 tasks than with 8, with 32 no less (two EPYC cores, busy, 2026-11-29)."""

_MESSAGES_AHEAD = 2
"""Messages that a worker holds, so that it never waits for the next one."""

_MOST_DEATHS = 5
"""Workers that one reply may take with it."""

SELDOM = (10_000, 20, 50)
"""New objects, and rounds, between two looks for cycles of objects (`gc.set_threshold`), of which reading leaves none."""

_START = "import sys, json; sys.path[:0] = json.loads(sys.argv[2]); from selfinstruct.generate.workers import serve; serve(int(sys.argv[1]))"
_HEAD_BYTES = 4
"""Of `multiprocessing.connection`: the length of a message, big-endian."""

_Question = tuple[str, str, str]
"""Language, text and finish reason of a reply."""

_Answer = tuple[Sequence[Piece], bytes, Sequence[int]]
"""`Contents` as `marshal` has it, which takes a fifteenth of `pickle`'s time and knows plain types only."""


class Readers(Protocol):
    """Whoever reads replies."""

    async def read(self, language: str, reply: Reply) -> Contents:
        """What a reply is made of; see `Reader.read`.

        Raises:
            RunError: The processes that read replies keep dying.
        """
        ...

    def close(self) -> None:
        """Let go of them."""
        ...


def open_readers(
    readers: Mapping[str, Reader], *, workers: int, environment: Mapping[str, str]
) -> Readers:
    """Readers in worker processes, or in this one where `workers` is 0.

    Raises:
        RunError: The system starts no process.
    """
    if not workers or not sys.executable:
        return ReadersHere(readers)
    settings = {name: reader.rules.settings for name, reader in readers.items()}
    return ReadersElsewhere(settings, workers, environment)


def usual_workers(replies: int) -> int:
    """One for every processor that this process may use but the one that asks, which on two is not busy all the time.

    None for few replies, and none on one processor.
    """
    cores = core_count()
    if replies < _FEW_REPLIES or cores < 2:
        return 0
    return min(MOST_WORKERS, max(2, cores - 1))


class ReadersHere:
    """Reads replies in this process."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers

    async def read(self, language: str, reply: Reply) -> Contents:
        """See `Readers.read`."""
        return self._readers[language].read(reply.text, reply.finish_reason)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(eq=False, kw_only=True)
class _Job:
    question: _Question
    answer: "asyncio.Future[Contents]"
    deaths: int = 0


class ReadersElsewhere:
    """Hands replies to worker processes as these become free."""

    def __init__(
        self, settings: Mapping[str, RuleSettings], workers: int, environment: Mapping[str, str]
    ) -> None:
        """Start them; must be called in the event loop's thread.

        Args:
            settings: The rules of each language.
            workers: Processes, 1 or more.
            environment: Theirs.

        Raises:
            RunError: The system starts no process.
        """
        self._settings = pickle.dumps(dict(settings), protocol=5)
        self._environment = environment
        self._count = workers
        self._waiting = Waiting[_Job](lambda job: job.question[0])
        self._workers: list[_Worker] = []
        self._is_due = False
        self._over: RunError | None = None
        self._start_missing()

    async def read(self, language: str, reply: Reply) -> Contents:
        """See `Readers.read`.

        Raises:
            RunError: They keep dying, or are closed.
        """
        if self._over is not None:
            raise self._over
        loop = asyncio.get_running_loop()
        job = _Job(
            question=(language, reply.text, reply.finish_reason), answer=loop.create_future()
        )
        self._waiting.add(job)
        self._hand_out_soon()
        return await job.answer

    def close(self) -> None:
        """End the workers at once: what they have is read again when the run goes on."""
        self._give_up(RunError("The run is over."))
        for worker in self._workers:
            worker.end()

    def _start_missing(self) -> None:
        while len(self._workers) < self._count:
            try:
                worker = _Worker(self, self._environment)
            except OSError as error:
                raise RunError(
                    f"No process to read replies could be started: {error.strerror or error}.",
                    advice="Set run.workers=0 to do without.",
                ) from None
            worker.send(self._settings)
            self._workers.append(worker)

    def _hand_out_soon(self) -> None:
        # at the end of this turn of the loop: replies that arrive together go together
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._is_due = False
        if self._waiting and self._over is None:
            try:
                self._start_missing()
            except RunError as error:
                self._give_up(error)
        while self._waiting:
            worker = min(self._workers, key=lambda one: len(one.messages))
            if len(worker.messages) >= _MESSAGES_AHEAD:
                return
            share = -(-len(self._waiting) // self._count)
            jobs = self._waiting.take(min(_AT_ONCE, share))
            worker.messages.append(jobs)
            worker.send(marshal.dumps([job.question for job in jobs]))

    def answered(self, worker: "_Worker", message: bytes) -> None:
        """Take in what a worker made of its oldest message."""
        found: list[_Answer] | str = marshal.loads(message)
        for number, job in enumerate(worker.messages.popleft()):
            if job.answer.done():
                continue
            if isinstance(found, str):
                job.answer.set_exception(RuntimeError(f"in a worker process:\n{found}"))
            else:
                job.answer.set_result(Contents(*found[number]))
        self._hand_out_soon()

    def died(self, worker: "_Worker") -> None:
        """Give what a worker had to others; whoever is started next takes its place."""
        how = worker.end()
        self._workers.remove(worker)
        jobs = [job for message in worker.messages for job in message if not job.answer.done()]
        for job in jobs[:_AT_ONCE]:
            job.deaths += 1
        self._waiting.put_back(jobs)
        if any(job.deaths >= _MOST_DEATHS for job in jobs):
            self._give_up(_dying(how))
        self._hand_out_soon()

    def _give_up(self, error: RunError) -> None:
        self._over = self._over or error
        held = [job for worker in self._workers for jobs in worker.messages for job in jobs]
        for job in (*held, *self._waiting.take(len(self._waiting))):
            if not job.answer.done():
                job.answer.set_exception(self._over)
                job.answer.exception()  # retrieved: whoever does not wait for it hears of it elsewhere


def _dying(how: str) -> RunError:
    return RunError(
        f"The process that reads replies ended {how}, {_MOST_DEATHS} times in a row. What is done is kept.",
        advice="Memory may have run out: set run.workers to a smaller number, 0 for none; then run the same command.",
    )


class _Worker(asyncio.Protocol):
    """One process and the messages it has not answered."""

    def __init__(self, readers: ReadersElsewhere, environment: Mapping[str, str]) -> None:
        self.messages: deque[list[_Job]] = deque()
        self._readers = readers
        self._buffer = bytearray()
        self._unsent: list[bytes] = []
        self._transport: asyncio.WriteTransport | None = None
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C on the terminal is for the run alone
                env=dict(environment),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(loop.create_connection(lambda: self, sock=ours))

    def send(self, message: bytes) -> None:
        """Send one message."""
        data = len(message).to_bytes(_HEAD_BYTES, "big") + message
        if self._transport is None:
            self._unsent.append(data)
        else:
            self._transport.write(data)

    def end(self) -> str:
        """End the process at once; returns how it ended."""
        self._opening.cancel()
        self._process.kill()
        code = self._process.wait()
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()
        return f"by signal {-code}" if code < 0 else f"with exit code {code}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what has waited for the connection."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.writelines(self._unsent)
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        """Cut what arrives into messages."""
        self._buffer += data
        while len(self._buffer) >= _HEAD_BYTES:
            end = _HEAD_BYTES + int.from_bytes(self._buffer[:_HEAD_BYTES], "big")
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_HEAD_BYTES:end])
            del self._buffer[:end]
            self._readers.answered(self, message)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone."""
        del exc
        self._transport = None
        self._readers.died(self)


def serve(descriptor: int) -> None:
    """The whole life of a worker: the rules, then replies until the socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(*SELDOM)
    connection = Connection(descriptor)
    readers: dict[str, Reader] = {}
    try:
        settings: dict[str, RuleSettings] = pickle.loads(connection.recv_bytes())
        while True:
            questions: list[_Question] = marshal.loads(connection.recv_bytes())
            connection.send_bytes(marshal.dumps(_answer(questions, readers, settings)))
    except (EOFError, OSError):
        os._exit(0)  # nobody waits for what this process would do on its way out


def _answer(
    questions: list[_Question], readers: dict[str, Reader], settings: dict[str, RuleSettings]
) -> "list[_Answer] | str":
    try:
        found: dict[int, Contents] = {}
        for language in dict.fromkeys(language for language, _, _ in questions):
            if language not in readers:
                rules = Rules(language, settings[language])
                readers[language] = Reader(language=language, rules=rules)
            own = [number for number, question in enumerate(questions) if question[0] == language]
            contents = readers[language].read_all([questions[number][1:] for number in own])
            found.update(zip(own, contents, strict=True))
    except Exception:  # noqa: BLE001 - whatever it is, the process that asked must hear of it
        return traceback.format_exc()
    in_order = [found[number] for number in range(len(questions))]
    return [(one.pieces, one.instructions, one.lengths) for one in in_order]
