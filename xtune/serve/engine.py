"""The thread that answers: requests wait in line, join the batch, and send back their text; it knows no HTTP."""

import asyncio
import logging
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch

from xtune.generate.batcher import Batcher
from xtune.generate.guide import GuideError
from xtune.generate.pieces import Pieces
from xtune.generate.row import Row
from xtune.kernels.no_room import is_out_of_memory
from xtune.serve.calls import overlap
from xtune.serve.limits import Limits
from xtune.serve.models import Models, Served

log = logging.getLogger("xtune")

CACHE_SHARE = {"cuda": 0.6, "cpu": 0.25}
"""Share of the memory that is free after loading which keys and values may take; the rest is for activations and for
other programs. A design choice."""

CONTEXT_TOKENS = 8
"""Tokens of a prompt that decide how the text behind it begins, with a space or without: more than the bytes of a
character, which may be a token each."""

FAILED = "The server could not compute this answer; its log says why."

TOO_COMPLEX = "The JSON schema has too many alternatives for an answer to be kept to it."

NO_ROOM = "This answer does not fit into the server's memory, not even by itself; ask with a shorter prompt."


class Busy(Exception):  # noqa: N818 - what the server is
    """The line is full."""


class Stopping(Exception):  # noqa: N818 - what the server does
    """No more requests are taken on."""


@dataclass(frozen=True, kw_only=True)
class News:
    """What came of one choice at one step."""

    choice: int
    text: str = ""
    tokens: list[tuple[int, float, list[tuple[int, float]]]] = field(default_factory=list)
    """With log probabilities, if they were asked for."""

    finish: str | None = None
    failed: str | None = None
    """What went wrong; nothing more comes."""


@dataclass(eq=False, kw_only=True)
class Request:
    """One request: one or several answers to one or several prompts."""

    served: Served
    rows: list[Row]
    stop: tuple[str, ...] = ()
    keep: frozenset[int] = frozenset()
    """Special tokens that are part of the text."""

    news: "asyncio.Queue[News | None]" = field(default_factory=asyncio.Queue)
    """Ends with None when the client is gone."""

    loop: asyncio.AbstractEventLoop = field(init=False)
    """Whose task reads the news: the one that submits."""

    continues: bool = False
    """Whether the answers go on with their prompts' texts, rather than begin their own."""

    gone: bool = False

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answers."""
        return sum(len(row.tokens) for row in self.rows)


@dataclass(eq=False, kw_only=True)
class _Seat:
    """One row of a request, on its way through the engine."""

    request: Request
    choice: int
    row: Row
    pieces: Pieces
    told: int = 0
    """Tokens whose text was taken."""

    held: str = ""
    """Text that may be the beginning of a stop string."""


class Engine:
    """Answers requests in a thread of its own."""

    def __init__(self, models: Models, limits: Limits, *, exact: bool = True) -> None:
        self.models = models
        self.limits = limits
        self._batcher = Batcher(models.model, exact=exact, use=models.use)
        self._cache_bytes = _cache_bytes(models.model)
        self._most = limits.concurrent
        self._changed = threading.Condition()
        self._waiting: deque[_Seat] = deque()
        self._running: list[_Seat] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="xtune-engine", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the step at hand; what is not answered fails."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    @property
    def load(self) -> tuple[int, int]:
        """Answers in the batch, and waiting."""
        return len(self._running), len(self._waiting)

    def submit(self, request: Request) -> None:
        """Take a request on; its news arrive in its queue, for a task of the loop that calls this.

        Raises:
            Busy: The line is full.
            Stopping: The server is ending.
        """
        request.loop = asyncio.get_running_loop()
        keep = request.keep
        seats = [
            _Seat(
                request=request,
                choice=choice,
                row=row,
                pieces=Pieces(
                    request.served.tokenizer,
                    keep,
                    before=row.prompt[-CONTEXT_TOKENS:] if request.continues else (),
                ),
            )
            for choice, row in enumerate(request.rows)
        ]
        with self._changed:
            if self._stopping:
                raise Stopping
            free = max(0, self.limits.concurrent - len(self._running))
            if len(self._waiting) + len(seats) > self.limits.queued + free:
                raise Busy
            self._waiting += seats
            self._changed.notify()

    def cancel(self, request: Request) -> None:
        """Answer a request no further; its places are free after the step at hand."""
        with self._changed:
            request.gone = True
            self._waiting = deque(seat for seat in self._waiting if seat.request is not request)
            self._changed.notify()
        request.news.put_nowait(None)

    def _run(self) -> None:
        try:
            self._answer()
        finally:  # whatever ended it, nobody waits for ever
            with self._changed:
                self._stopping = True
            self._fail("The server is ending.", everyone=True)

    def _answer(self) -> None:
        while True:
            with self._changed:
                while not (self._stopping or self._waiting or self._running):
                    self._changed.wait()
                if self._stopping:
                    return
                fresh = self._next()
            try:
                self._batcher.admit([seat.row for seat in fresh])
                self._batcher.step()
            except Exception as error:
                if isinstance(error, GuideError):
                    self._make_room(TOO_COMPLEX, most=1)
                elif is_out_of_memory(error):
                    traceback.clear_frames(error.__traceback__)  # they hold what took the room
                    self._make_room(NO_ROOM)
                else:
                    log.exception("An answer failed.")
                    self._make_room(FAILED, most=1)  # whose fault it is shows when each is alone
            self._tell()

    def _next(self) -> list[_Seat]:
        """Let those leave whose client is gone, and those in who have room."""
        gone = [seat for seat in self._running if seat.request.gone]
        self._running = [seat for seat in self._running if not seat.request.gone]
        self._batcher.remove(seat.row for seat in gone)
        if gone and not self._running:
            self._most = self.limits.concurrent
        fresh: list[_Seat] = []
        while self._waiting and self._batcher.has_room(
            self._waiting[0].row,
            beside=[seat.row for seat in fresh],
            max_rows=self._most,
            cache_bytes=self._cache_bytes,
        ):
            fresh.append(self._waiting.popleft())
            if fresh[-1].row.scores_prompt:
                break  # it takes a pass of its own; one between two steps does not hold the others up
        self._running += fresh
        return fresh

    def _make_room(self, why: str, most: int | None = None) -> None:
        """After the batch failed: all rows wait, to go on in a smaller one; a single one fails.

        Args:
            why: What its client is told.
            most: Rows of the smaller batch; None: half of those there were.
        """
        self._batcher.clear()
        if len(self._running) <= 1:
            self._fail(why)
            return
        self._most = most or len(self._running) // 2
        with self._changed:
            unfinished = [seat for seat in self._running if seat.row.finish is None]
            self._running = [seat for seat in self._running if seat.row.finish is not None]
            self._waiting.extendleft(reversed(unfinished))

    def _fail(self, why: str, *, everyone: bool = False) -> None:
        self._batcher.clear()
        seats = [*self._running, *self._waiting] if everyone else self._running
        failed = {id(seat.request): seat.request for seat in seats}
        with self._changed:
            self._waiting = deque(s for s in self._waiting if id(s.request) not in failed)
            self._running = []
            self._most = self.limits.concurrent
        for request in failed.values():  # who hears of it finds the place free
            _send(request, [News(choice=0, failed=why)])

    def _tell(self) -> None:
        """Send what is new, and let rows leave that are over."""
        news: dict[int, tuple[Request, list[News]]] = {}
        over: list[_Seat] = []
        for seat in self._running:
            try:
                found = _news_of(seat)
            except Exception:
                log.exception("An answer could not be written.")
                seat.row.finish = "stop"
                found = News(choice=seat.choice, failed=FAILED)
            if seat.row.finish is not None:
                over.append(seat)
            if found is not None:
                news.setdefault(id(seat.request), (seat.request, []))[1].append(found)
        if over:
            self._batcher.remove(seat.row for seat in over)
            self._running = [seat for seat in self._running if seat.row.finish is None]
            if not self._running:
                self._most = self.limits.concurrent
        for request, told in news.values():
            _send(request, told)


def _news_of(seat: _Seat) -> News | None:
    """The text of a row's new tokens; a stop string ends the row."""
    row, request = seat.row, seat.request
    fresh = row.tokens[seat.told :]
    for token in fresh:
        seat.held += seat.pieces.add(token)
    if row.finish is not None:
        seat.held += seat.pieces.rest()
    logprobs = row.logprobs[seat.told : len(row.tokens)]
    seat.told = len(row.tokens)
    found = [place for stop in request.stop if (place := seat.held.find(stop)) >= 0]
    if found:
        row.finish = "stop"
        seat.held = seat.held[: min(found)]
    kept = 0 if row.finish is not None else overlap(seat.held, request.stop)
    text, seat.held = seat.held[: len(seat.held) - kept], seat.held[len(seat.held) - kept :]
    tokens = [(token, *logprob) for token, logprob in zip(fresh, logprobs, strict=False)]
    if not (text or tokens or row.finish):
        return None
    return News(choice=seat.choice, text=text, tokens=tokens, finish=row.finish)


def _send(request: Request, news: Sequence[News]) -> None:
    def put() -> None:
        for one in news:
            request.news.put_nowait(one)

    if not request.loop.is_closed():
        request.loop.call_soon_threadsafe(put)


def _cache_bytes(model: Any) -> int:
    kind = model.device.type
    free = torch.cuda.mem_get_info()[0] if kind == "cuda" else psutil.virtual_memory().available
    return int(free * CACHE_SHARE.get(kind, CACHE_SHARE["cpu"]))
