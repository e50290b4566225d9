"""How many requests may be under way: it grows until the server pushes back, and keeps to limits per minute.

Additive increase, multiplicative decrease, as TCP does it. Once every window of answers: if none was pushed back
(429, 5xx, timeout, reset) the window grows by a fixed step, else it shrinks by half the share that was, as in
DCTCP (RFC 8257): a server that refuses everything halves it, one that fails by chance now and then hardly moves it.
Until the first push-back the window doubles with every round trip (slow start, RFC 5681).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from selfinstruct.errors import Stopped

FIRST_WINDOW = 16
MOST_AT_ONCE = 512
"""`auto` ends here: sockets and memory, not the server, are the limit beyond. A design choice."""

_STEPS_TO_CEILING = 32
"""Additive step: a 32nd of the ceiling, so that a halved window is back in 16 round trips. A design choice."""

_BURST_S = 1.0
"""Of a limit per minute, this much may go at once: servers count by the second or coarser."""


class Limiter:
    """Slots for requests, given in the order they were asked for."""

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            concurrency: Where to start, and the most; None: start at 16 and find out.
            requests_per_minute: The account's limit, if it is known.
            tokens_per_minute: The same for tokens, prompts and answers together.
            clock: Seconds.
        """
        self.ceiling = concurrency or MOST_AT_ONCE
        self.window = float(concurrency or min(FIRST_WINDOW, self.ceiling))
        self.in_flight = 0
        self._slow_start = concurrency is None
        self._step = max(1.0, self.ceiling / _STEPS_TO_CEILING)
        self._stopped = False
        self._answers = self._pushed_back = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._clock = clock
        self._resume_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._requests = _PerMinute(requests_per_minute, clock)
        self._tokens = _PerMinute(tokens_per_minute, clock)

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters what a request may come to."""
        return self._tokens.is_limited

    async def acquire(self, tokens: int) -> None:
        """Wait for a slot; `tokens` is what the request may come to.

        Raises:
            Stopped: Nothing is to be sent any more.
            CancelledError: The waiting was cancelled; no slot is taken.
        """
        if self._stopped:
            raise Stopped
        if self._waiting or not self._may_go():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((turn, tokens))
            self._wake()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    # the slot came at the moment of the cancellation
                    self._requests.take(-1)
                    self.release(reserved=tokens, used=None)
                raise
        else:
            self._take(tokens)

    def _take(self, tokens: int) -> None:
        """Note a slot at the moment it is given: whoever got it may run only after others were given theirs."""
        self.in_flight += 1
        self._requests.take(1)
        self._tokens.take(tokens)

    def release(self, *, reserved: int, used: int | None) -> None:
        """Give a slot back; `used` are the tokens that the answer came to, None where there was none."""
        self.in_flight -= 1
        self._tokens.take((used or 0) - reserved)
        self._wake()

    def answered(self) -> None:
        """Note an answer."""
        self._answers += 1
        if self._slow_start and self.window < self.ceiling:
            self.window = min(self.ceiling, self.window + 1)
        self._adjust()
        self._wake()

    def pushed_back(self) -> None:
        """Note a refusal or a failure that may come from asking too much."""
        self._answers += 1
        self._pushed_back += 1
        self._slow_start = False
        self._adjust()

    def pause(self, seconds: float) -> None:
        """Send nothing for a while: the server named a time (Retry-After)."""
        self._resume_at = max(self._resume_at, self._clock() + seconds)

    def stop(self) -> None:
        """Give no further slots; whoever waits for one is told."""
        self._stopped = True
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(Stopped())

    def _adjust(self) -> None:
        if self._answers < self.window:
            return
        share = self._pushed_back / self._answers
        if share:
            self.window = max(1.0, self.window * (1 - share / 2))
        elif not self._slow_start:
            self.window = min(self.ceiling, self.window + self._step)
        self._answers = self._pushed_back = 0

    def _delay_s(self) -> float:
        return max(
            self._resume_at - self._clock(), self._requests.delay_s(), self._tokens.delay_s()
        )

    def _may_go(self) -> bool:
        return self.in_flight < int(self.window) and self._delay_s() <= 0

    def _wake(self) -> None:
        while self._waiting and self.in_flight < int(self.window):
            delay = self._delay_s()
            if delay > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)
                return
            turn, tokens = self._waiting.popleft()
            if turn.done():
                continue
            self._take(tokens)
            turn.set_result(None)

    def _on_timer(self) -> None:
        self._timer = None
        self._wake()


class _PerMinute:
    """A bucket that fills evenly; it may be overdrawn, and the next then waits."""

    def __init__(self, limit: int | None, clock: Callable[[], float]) -> None:
        self._per_s = limit / 60 if limit else 0.0
        self._most = max(self._per_s * _BURST_S, 1.0)
        self._clock = clock
        self._left = self._most
        self._at = clock()

    @property
    def is_limited(self) -> bool:
        return self._per_s > 0

    def take(self, count: int) -> None:
        if self._per_s:
            self._fill()
            self._left -= count

    def delay_s(self) -> float:
        """Seconds until something may be taken."""
        if not self._per_s:
            return 0.0
        self._fill()
        return 0.0 if self._left > 0 else (-self._left + 1e-6) / self._per_s

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
