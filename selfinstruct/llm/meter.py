"""What was spent, and whether the next request still fits what the person allowed. It asks nobody anything."""

import asyncio
from collections import deque

from selfinstruct.errors import LimitReached, Stopped
from selfinstruct.llm.prices import Tariff
from selfinstruct.llm.tokens import estimate_messages
from selfinstruct.types import Request, Usage


class Meter:
    """Tokens and dollars of a run; the limits hold for what is spent and what is under way together."""

    def __init__(
        self,
        tariff: Tariff,
        *,
        budget_usd: float | None = None,
        max_tokens_total: int | None = None,
        spent: Usage | None = None,
    ) -> None:
        """Begin.

        Args:
            tariff: The price.
            budget_usd: Most dollars that the run may cost, earlier sittings included.
            max_tokens_total: Most tokens, prompts and answers together.
            spent: What earlier sittings spent.
        """
        self.tariff = tariff
        self.spent = spent or Usage()
        self.budget_usd = budget_usd
        self.max_tokens_total = max_tokens_total
        self._reserved = Usage()
        self._stopped = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def usd(self) -> float | None:
        """Dollars spent; None where the price is not known."""
        return self.tariff.usd(self.spent)

    async def reserve(self, request: Request) -> Usage:
        """Set aside what a request may come to, waiting for others to end if it does not fit beside them.

        Raises:
            LimitReached: It does not fit even alone.
            Stopped: The run is stopping.
        """
        if self.budget_usd is None and self.max_tokens_total is None:
            return Usage()
        most = Usage(
            prompt_tokens=estimate_messages(request.messages), completion_tokens=request.max_tokens
        )
        while over := self._over(most):
            if self._reserved == Usage():
                raise LimitReached(over)
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
            if self._stopped:
                raise Stopped
        self._reserved += most
        return most

    def settle(self, reserved: Usage, used: Usage | None) -> None:
        """Replace a reservation by what was used; None: nothing was."""
        self._reserved = Usage(
            prompt_tokens=self._reserved.prompt_tokens - reserved.prompt_tokens,
            completion_tokens=self._reserved.completion_tokens - reserved.completion_tokens,
        )
        if used is not None:
            self.spent += used
        self._wake()

    def spend(self, used: Usage) -> None:
        """Count what an answer cost that was no reply, beside what is set aside for the next one to the same request.

        Raises:
            LimitReached: What is spent and set aside comes to more than is allowed.
        """
        self.spent += used
        if over := self._over(Usage()):
            raise LimitReached(over)

    def stop(self) -> None:
        """Set nothing aside any more."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _over(self, most: Usage) -> str:
        """Which limit a request would break; empty if none."""
        total = self.spent + self._reserved + most
        tokens = total.prompt_tokens + total.completion_tokens
        if self.max_tokens_total is not None and tokens > self.max_tokens_total:
            spent = self.spent.prompt_tokens + self.spent.completion_tokens
            return f"The limit of {self.max_tokens_total:,} tokens is reached ({spent:,} spent; the next prompt may exceed it)."
        usd = self.tariff.usd(total)
        if self.budget_usd is not None and usd is not None and usd > self.budget_usd:
            return f"The budget of {self.budget_usd:g} USD is used up ({self.usd or 0:.4f} spent; the next prompt may exceed it)."
        return ""
