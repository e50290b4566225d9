"""LLMs as translation asks them: in a run its own, in a folder of seeds one whose answers are kept until the call is over."""

import asyncio
import contextlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from selfinstruct.generate.paid import PaidLLM, StoppableLLM
from selfinstruct.llm.meter import Meter
from selfinstruct.llm.prices import Tariff
from selfinstruct.pool.disk import Appender, explained
from selfinstruct.pool.journal import Journal, fingerprint
from selfinstruct.types import LLM, Reply, Request, Usage
from xtune.errors import RunError
from xtune.run.lock import take_lock

FOLDER = ".answers"
"""In the folder of the translated seeds, while a call is under way and after one that did not come to its end."""


class Translating:
    """Asks for translations; an edited seed asks anew, where a prompt of the run may not change."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    async def complete(self, request: Request) -> Reply:
        """Answer one request."""
        return await self._llm.complete(replace(request, id=f"{request.id}/{fingerprint(request)}"))


class Kept:
    """An LLM whose answers, refused ones included, are written down, so that a call that goes on after a kill pays for none again."""

    def __init__(self, llm: StoppableLLM, folder: Path, *, model: str, tariff: Tariff) -> None:
        """Write nothing yet: the folder is not this process's before the first request.

        Args:
            llm: Who answers.
            folder: Of the translated seeds.
            model: Its name; answers of another one are not these.
            tariff: Its price.
        """
        self._llm, self._folder = llm, folder / FOLDER
        self._model, self._tariff = model, tariff
        self._paid: PaidLLM | None = None
        self._before = Usage()

    async def complete(self, request: Request) -> Reply:
        """Answer one request; see `PaidLLM.complete`.

        Raises:
            RunError: The answers cannot be written down, or were changed by hand.
        """
        paid = self._paid or self._open()
        name = f"{request.id}/{fingerprint(request)}/{self._model}"
        return await paid.complete(replace(request, id=name))

    def _open(self) -> PaidLLM:
        with explained(self._folder):
            self._folder.mkdir(exist_ok=True)
        journal = Journal(self._folder)
        self._before = journal.spent
        meter = Meter(self._tariff, spent=journal.spent)
        appender = Appender(asyncio.get_running_loop())
        self._paid = PaidLLM(self._llm, journal, meter, appender)
        return self._paid

    @property
    def spent(self) -> Usage:
        """Tokens of this call, answers that said nothing included."""
        total = self._paid.meter.spent if self._paid else Usage()
        return Usage(
            prompt_tokens=total.prompt_tokens - self._before.prompt_tokens,
            completion_tokens=total.completion_tokens - self._before.completion_tokens,
        )

    def close(self) -> None:
        """Write what waits."""
        if self._paid is not None:
            self._paid.appender.close()

    def forget(self) -> None:
        """Remove the answers, every task being settled, unless another process translates into the folder by now."""
        if not self._folder.exists():
            return
        with contextlib.suppress(RunError):
            lock = take_lock(self._folder.parent, advice="")
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(lock)
