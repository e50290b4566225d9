"""An LLM whose replies are written down before anybody sees them, so that none is paid for twice, within the limits."""

import asyncio
from typing import Protocol

from selfinstruct.llm.meter import Meter
from selfinstruct.pool.disk import Appender
from selfinstruct.pool.journal import Journal
from selfinstruct.types import Keep, Reply, Request
from xtune.errors import RunError


class StoppableLLM(Protocol):
    """An LLM that a run can end in good order, and whose replies are kept before their slots are free again."""

    async def complete(self, request: Request, keep: Keep) -> Reply:
        """Answer one request; see `LLM.complete`. It counts as under way until `keep` has the reply."""
        ...

    @property
    def concurrency(self) -> int:
        """Requests that may be under way now."""
        ...

    def stop(self) -> None:
        """Send nothing any more; what is under way comes to its end."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, exactly or rather too many."""
        ...

    async def close(self) -> None:
        """Let go of whatever is held."""
        ...


class PaidLLM:
    """Answers from the journal, or asks, pays and writes down."""

    def __init__(
        self, llm: StoppableLLM, journal: Journal, meter: Meter, appender: Appender
    ) -> None:
        self._llm = llm
        self.journal = journal
        self.meter = meter
        self.appender = appender
        self.in_flight = 0
        """Requests that are being asked or wait for their turn."""

    @property
    def concurrency(self) -> int:
        """Requests that may be under way now."""
        return self._llm.concurrency

    async def complete(self, request: Request) -> Reply:
        """Answer a request; see `LLM.complete`.

        Raises:
            LLMError: No further request makes sense.
            LimitReached: It might exceed the budget.
            RequestRefused: The server will never answer this one.
            Stopped: The run is stopping.
            RunError: The reply cannot be written down.
        """
        found = self.journal.find(request)
        if found is not None:
            return found
        reserved = await self.meter.reserve(request)
        used = None
        syncs: list[asyncio.Future[None]] = []

        def keep(reply: Reply) -> None:
            try:
                syncs.append(self.journal.append(request, reply, self.appender))
            except RunError:
                self.stop()  # before the slot is free: another reply could not be written either
                raise
            if not reply.is_usable:
                self.meter.spend(reply.usage)

        self.in_flight += 1
        try:
            reply = await self._llm.complete(request, keep)
            used = reply.usage
            for sync in syncs:
                await sync  # it is safe from a kill, and not yet from a power cut
        finally:
            self.in_flight -= 1
            self.meter.settle(reserved, used)
        return reply

    def stop(self) -> None:
        """Ask nothing any more."""
        self.meter.stop()
        self._llm.stop()
