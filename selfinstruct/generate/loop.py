"""The loop itself: rounds of prompts in every language at once, replies applied in the order of the prompts.

Replies arrive in any order and are journalled as they come; they enter the pool in the order of their prompts,
and a round's prompts see the pool as the round found it. So the pool depends on the replies alone, never on the
network: not on concurrency, not on where a kill fell. The languages share the LLM, its limits and the budget.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfinstruct.errors import LLMError, RequestRefused, Stopped
from selfinstruct.generate.answers import Read, events_of
from selfinstruct.generate.draw import Drawer, parse_prompt_id
from selfinstruct.generate.paid import PaidLLM
from selfinstruct.generate.workers import Readers
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.pool.tally import Tally
from selfinstruct.types import Request
from xtune.errors import Interrupted, XtuneError

_GUESSED_YIELD = 8.0
"""Tasks that a reply is taken to add before any was seen: half of the paper's 17."""

_SPARE = 1.25
"""Near a target, this many times the prompts that seem needed are under way. A design choice."""

_PROMPTS_AT_ONCE = 16
"""Made without a look at the replies: they take 3 ms."""

_TELL_S = 0.05
"""Between two tellings: adding up the reasons of 11 languages for every reply would cost a tenth of a fast run."""

_REPLIES_AT_ONCE = 16
"""Replies that enter a pool together where so many have come: one look at the pool costs half of what four do."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language's part of the run."""

    drawer: Drawer
    pool: LanguagePool


class Loop:
    """A run over its languages."""

    def __init__(
        self,
        languages: Sequence[Language],
        llm: PaidLLM,
        readers: Readers,
        *,
        show: Callable[[Tally], None] = lambda _: None,
    ) -> None:
        self._languages = languages
        self._llm = llm
        self._readers = readers
        self._show = show
        self._told_at = 0.0
        self.reason: XtuneError | Interrupted | None = None
        """Why the run stops before its end; None while it does not."""

        self.tally = Tally(target=_target(languages))
        for language in languages:
            self.tally.expected += _expected(language)
            self._count(language)

    async def run(self) -> None:
        """Go on until every language has its rounds or its target, or something stops the run; see `reason`."""
        self._tell(always=True)
        await asyncio.gather(*(self._grow(language) for language in self._languages))
        self._tell(always=True)

    def halt(self, reason: XtuneError | Interrupted) -> None:
        """Ask nothing any more and come to an end; the first reason counts."""
        if self.reason is None:
            self.reason = reason
        self._llm.stop()

    async def _grow(self, language: Language) -> None:
        settings, pool = language.drawer.settings, language.pool
        first, done = parse_prompt_id(pool.last_prompt) if pool.last_prompt else (1, -1)
        for number in range(first, settings.rounds + 1):
            if self.reason is not None or _is_enough(language):
                return
            await self._round(language, number, done + 1 if number == first else 0)

    async def _round(self, language: Language, number: int, start: int) -> None:
        """One round, from its prompt `start` on.

        Raises:
            CancelledError: A second Ctrl-C.
        """
        drawer, pool = language.drawer, language.pool
        size = pool.begin_round(number)
        prompts = drawer.prompts(number)
        asked: dict[int, asyncio.Task[Read | None]] = {}
        ahead, index = start, start
        written = None
        try:
            while index < prompts and not _is_enough(language):
                while ahead < prompts and len(asked) < self._most_ahead(language):
                    request = drawer.request(number, ahead, size, pool.task)
                    asked[ahead] = asyncio.create_task(self._ask(language, request))
                    ahead += 1
                    if ahead % _PROMPTS_AT_ONCE == 0:
                        await asyncio.sleep(0)  # replies that arrive go first
                await asked[index]
                reads = self._arrived(language, asked, index)
                if not reads:
                    return
                written = pool.append(events_of(reads, pool), self._llm.appender)
                written.add_done_callback(self._on_written)
                for read in reads:
                    self._llm.journal.forget(read.request.id)
                index += len(reads)
                self._count(language)
                self._tell()
                await asyncio.sleep(0)
        except XtuneError as error:
            self.halt(error)
        except asyncio.CancelledError:
            for answer in asked.values():
                answer.cancel()  # a second Ctrl-C leaves what is under way
            raise
        finally:
            await asyncio.gather(*asked.values(), return_exceptions=True)
            if written is not None:
                await asyncio.wait([written])  # the next round shows what this one wrote

    async def _ask(self, language: Language, request: Request) -> Read | None:
        """The reply to a request and what it is made of, in any order with others; None if the run stops."""
        try:
            reply = await self._llm.complete(request)
            contents = await self._readers.read(language.drawer.language, reply)
        except RequestRefused as refusal:
            return Read.refused(request, refusal)
        except Stopped:
            return None
        except (LLMError, XtuneError) as error:
            self.halt(error)
            return None
        return Read(request=request, reply=reply, contents=contents)

    def _arrived(
        self, language: Language, asked: "dict[int, asyncio.Task[Read | None]]", index: int
    ) -> list[Read]:
        """Take the replies from `index` on that have come, in order; none if the run stops at the first.

        With a target they go one by one, since the reply that reaches it is the last.
        """
        reads: list[Read] = []
        most = 1 if language.drawer.settings.target else _REPLIES_AT_ONCE
        while len(reads) < most and index in asked and asked[index].done():
            read = asked[index].result()
            if read is None:
                break
            reads.append(read)
            del asked[index]
            index += 1
        return reads

    def _on_written(self, written: "asyncio.Future[None]") -> None:
        error = written.exception()
        if isinstance(error, XtuneError):
            self.halt(error)

    def _most_ahead(self, language: Language) -> int:
        """Prompts of a language that may be under way: near its target no more than seem needed."""
        target, pool = language.drawer.settings.target, language.pool
        if target is None:
            return (
                language.drawer.settings.prompts_per_round
                + language.drawer.settings.first_round_prompts
            )
        per_reply = max(len(pool) / pool.replies, 0.1) if pool.replies else _GUESSED_YIELD
        return max(1, math.ceil((target - len(pool)) / per_reply * _SPARE))

    def _count(self, language: Language) -> None:
        self.tally.kept[language.drawer.language] = len(language.pool)

    def _tell(self, *, always: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if not always and now - self._told_at < _TELL_S:
            return
        self._told_at = now
        tally = self.tally
        tally.replies = sum(language.pool.replies for language in self._languages)
        tally.usage = self._llm.meter.spent
        tally.usd = self._llm.meter.usd
        tally.concurrency = self._llm.concurrency
        tally.in_flight = self._llm.in_flight
        tally.drops = sum((language.pool.drops for language in self._languages), Counter())
        self._show(tally)


def _is_enough(language: Language) -> bool:
    target = language.drawer.settings.target
    return target is not None and len(language.pool) >= target


def _expected(language: Language) -> int:
    rounds = range(1, language.drawer.settings.rounds + 1)
    return sum(language.drawer.prompts(number) for number in rounds)


def _target(languages: Sequence[Language]) -> int | None:
    targets = [language.drawer.settings.target for language in languages]
    known = [target for target in targets if target is not None]
    return sum(known) if known and len(known) == len(targets) else None
