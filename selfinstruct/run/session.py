"""One sitting of a run: the folder taken, the LLM opened, every language grown until it is done or something stops it."""

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from selfinstruct.errors import LimitReached
from selfinstruct.generate.answers import Reader
from selfinstruct.generate.draw import Drawer, Render
from selfinstruct.generate.loop import Language, Loop
from selfinstruct.generate.paid import PaidLLM, StoppableLLM
from selfinstruct.generate.workers import SELDOM, Readers, open_readers, usual_workers
from selfinstruct.llm.environment import worker_environment
from selfinstruct.llm.meter import Meter
from selfinstruct.llm.open import open_llm
from selfinstruct.llm.prices import dollars, tariff
from selfinstruct.llm.server import probe_json
from selfinstruct.novelty import NoveltyPool
from selfinstruct.pool.disk import Appender
from selfinstruct.pool.folder import INPUTS, NOTES, RECIPE, Folder
from selfinstruct.pool.journal import Journal
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.pool.tally import Tally
from selfinstruct.prompts import Prompt
from selfinstruct.report.progress import Shower
from selfinstruct.rules import Rules
from selfinstruct.run.seeds import find_seeds
from selfinstruct.settings import Settings, changes, dump_settings, read_dump
from selfinstruct.types import Seed
from xtune.demo.bundled import bundled_path, is_bundled
from xtune.errors import Interrupted, RunError, XtuneError
from xtune.stopping import stop_signals
from xtune.text import segmenter_notice

_STOPPING = "Stopping: waiting for the replies that are under way; Ctrl-C again leaves them."


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a sitting ended."""

    folder: Path
    tally: Tally
    limit: str = ""
    """The limit that ended it; empty if the run is complete."""

    def __str__(self) -> str:
        kept = sum(self.tally.kept.values())
        by_language = ", ".join(f"{name} {count:,}" for name, count in self.tally.kept.items())
        tokens = self.tally.usage.prompt_tokens + self.tally.usage.completion_tokens
        cost = f", {dollars(self.tally.usd)}" if self.tally.usd else ""
        lines = [
            f"{_counted(kept, 'task')} kept ({by_language}), {sum(self.tally.drops.values()):,} dropped, "
            f"{_counted(self.tally.replies, 'reply', 'replies')}, {tokens:,} tokens{cost}: {self.folder}"
        ]
        if self.limit:
            lines.append(f"{self.limit} The same command with a higher limit goes on from here.")
        elif kept:
            lines.append(f"Next: selfinstruct export {self.folder} DATASET")
        else:
            lines.append(
                f"Nothing to export. See why: selfinstruct stats {self.folder} --examples 3"
            )
        return "\n".join(lines)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def run(settings: Settings, shower: Shower) -> Outcome:
    """Run, or go on with the run that the folder holds.

    Raises:
        XtuneError: Anything that the person can mend; what is done is kept.
        Interrupted: Ctrl-C or SIGTERM.
    """
    price = tariff(settings.llm, batch=settings.run.batch)
    if settings.limits.budget_usd is not None and price.price is None:
        raise XtuneError(
            f"A budget needs a price, and that of {settings.llm.model} is not known.",
            advice="Give it: llm.price={prompt: USD, completion: USD}, per million tokens.",
        )
    with Folder(Path(settings.run.folder)) as folder:
        _check_same_recipe(folder, settings)
        return asyncio.run(_Sitting(settings, folder, shower).run())


def _check_same_recipe(folder: Folder, settings: Settings) -> None:
    """Refuse to go on with settings under which the run would have come to something else.

    Raises:
        RunError: Names what is different.
    """
    if folder.holds_run:
        old = read_dump(folder.path / RECIPE)
        different = changes(old, settings.model_dump(mode="json"))
        if different:
            raise RunError(
                f"The run in {folder.path} was started with another recipe; different now: {', '.join(different)}.",
                advice="Go on with the recipe it was started with, or start a new run with run.folder=...",
            )
    folder.write_recipe(dump_settings(settings))


def _check_same_inputs(
    folder: Folder, renders: Mapping[str, Render], seeds: Mapping[str, Sequence[Seed]]
) -> None:
    """Refuse to go on with other seeds or another prompt.

    Raises:
        RunError: Names the language.
    """
    inputs = folder.read(INPUTS) or {}
    for language, show in renders.items():
        now = _fingerprint(seeds[language], show)
        if inputs.setdefault(language, now) != now:
            raise RunError(
                f"The seeds or the prompt of {language} have changed since the run in {folder.path} was started.",
                advice="Bring the old ones back, or start a new run with run.folder=...",
            )
    folder.write(INPUTS, inputs)


def _fingerprint(seeds: Sequence[Seed], show: Render) -> str:
    told = [show([seed.task]) for seed in seeds]
    return sha256("\0".join([*told, *(seed.id for seed in seeds)]).encode()).hexdigest()[:16]


def _renderer(settings: Settings, language: str) -> Render:
    """What makes the prompts of a language; the prompt file is read now and never again."""
    generate = settings.generate
    name = generate.prompt
    file = (bundled_path(name) if is_bundled(name) else Path(name)) if name else None
    return Prompt(
        language, last_number=generate.tasks_per_prompt, native=generate.native, file=file
    )


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for cycles of objects less often: there are hardly any, and looking took a fifth of the processor.

    What is there now, a pool of many objects, is not looked at.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class _Sitting:
    """What one sitting holds while it lasts."""

    def __init__(self, settings: Settings, folder: Folder, shower: Shower) -> None:
        self._settings = settings
        self._folder = folder
        self._shower = shower
        self._loop: Loop | None = None

    async def run(self) -> Outcome:
        """Open everything, grow, close everything.

        Raises:
            XtuneError: What stopped the run.
            Interrupted: Ctrl-C or SIGTERM.
        """
        journal = Journal(self._folder.path)
        self._say_torn(journal.path, journal.torn_bytes)
        llm = open_llm(
            self._settings.llm,
            self._folder.path,
            batch=self._settings.run.batch,
            say=self._shower.say,
        )
        appender = Appender(asyncio.get_running_loop())
        limits = self._settings.limits
        meter = Meter(
            tariff(self._settings.llm, batch=self._settings.run.batch),
            budget_usd=limits.budget_usd,
            max_tokens_total=limits.max_tokens_total,
            spent=journal.spent,
        )
        paid = PaidLLM(llm, journal, meter, appender)
        try:
            return await self._grow(paid, llm)
        finally:
            self._shower.close()
            appender.close()
            await llm.close()

    async def _grow(self, paid: PaidLLM, llm: StoppableLLM) -> Outcome:
        with self._interruptible(paid):
            # what can be wrong on this machine is found before anything is asked
            renders = {name: _renderer(self._settings, name) for name in self._settings.languages}
            seeds = await find_seeds(self._settings, self._folder, paid, self._shower)
            _check_same_inputs(self._folder, renders, seeds)
            as_json = await self._output(paid)
            # they start while the pools are read
            with contextlib.closing(self._readers()) as readers:
                languages = [
                    self._language(name, seeds[name], renders[name], as_json, llm)
                    for name in renders
                ]
                self._loop = loop = Loop(languages, paid, readers, show=self._shower.show)
                try:
                    with _seldom_collected():
                        await loop.run()
                except asyncio.CancelledError:
                    if loop.reason is None:
                        raise
        reason = loop.reason
        if isinstance(reason, Interrupted):
            kept = sum(loop.tally.kept.values())
            raise Interrupted(
                f"Interrupted; {kept:,} tasks are kept in {self._folder.path}. The same command goes on from here."
            )
        if reason is not None and not isinstance(reason, LimitReached):
            raise reason
        return Outcome(folder=self._folder.path, tally=loop.tally, limit=str(reason or ""))

    async def _output(self, paid: PaidLLM) -> bool:
        """Whether answers come as JSON: as the recipe says, or as the server was seen to do."""
        asked = self._settings.llm.output
        if asked != "auto":
            return asked == "json"
        notes = self._folder.read(NOTES) or {}
        if "output" not in notes:
            can = (
                not self._settings.llm.is_local
                and not self._settings.run.batch
                and await probe_json(paid)
            )
            notes["output"] = "json" if can else "text"
            self._folder.write(NOTES, notes)
        return bool(notes["output"] == "json")

    def _language(
        self, name: str, seeds: Sequence[Seed], show: Render, as_json: bool, llm: StoppableLLM
    ) -> Language:
        """A language's drawer and pool.

        Raises:
            XtuneError: No seed can be shown, so that every prompt would be the same; or the pool cannot be read.
        """
        settings = self._settings
        drawer = Drawer(
            language=name,
            seeds=seeds,
            render=show,
            settings=settings.generate,
            llm=settings.llm,
            json=as_json,
            count=llm.count_tokens,
        )
        too_long = drawer.too_long()
        if too_long == len(seeds):
            raise XtuneError(
                f"None of the {len(seeds)} seeds of {name} fits into llm.context_tokens={settings.llm.context_tokens:,} beside the prompt and llm.answer_tokens={settings.llm.answer_tokens:,}.",
                advice="Lower llm.answer_tokens, or raise llm.context_tokens if the model has more.",
            )
        if too_long:
            self._shower.say(
                f"{name}: {too_long} of {len(seeds)} seeds are too long for llm.context_tokens and are never shown."
            )
        if notice := segmenter_notice(name):
            self._shower.say(notice)
        novelty = NoveltyPool(
            name, settings.novelty.threshold, keep_ties=settings.novelty.keep_ties
        )
        instructions = [(seed.id, seed.task.instruction) for seed in seeds]
        pool = LanguagePool(self._folder.pool(name), novelty, instructions)
        self._say_torn(pool.path, pool.torn_bytes)
        return Language(drawer=drawer, pool=pool)

    def _readers(self) -> Readers:
        """Whoever reads the replies; the rules are made here in any case, so that a mistake in them is told now."""
        settings = self._settings
        workers = settings.run.workers
        generate = settings.generate
        replies = len(settings.languages) * generate.rounds * generate.prompts_per_round
        return open_readers(
            {
                name: Reader(language=name, rules=Rules(name, settings.rules))
                for name in settings.languages
            },
            workers=usual_workers(replies) if workers == "auto" else workers,
            environment=worker_environment(settings.llm),
        )

    def _say_torn(self, path: Path, torn_bytes: int) -> None:
        if torn_bytes:
            self._shower.say(
                f"{path}: an unfinished end of {torn_bytes:,} bytes was cut off (the last sitting was killed)."
            )

    @contextlib.contextmanager
    def _interruptible(self, paid: PaidLLM) -> Iterator[None]:
        """Let Ctrl-C, SIGTERM and a closed terminal end the run in good order; a second one leaves what is under way.

        Raises:
            Interrupted: It came before anything was asked.
            CancelledError: It came twice.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in stop_signals()}
        task = asyncio.current_task()
        for number in before:
            loop.add_signal_handler(number, self._stop, number, paid, task)
        try:
            yield
        except asyncio.CancelledError:
            if self._loop is None:
                raise Interrupted("Interrupted; nothing was generated in this sitting.") from None
            raise
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                if handler is not None:
                    signal.signal(number, handler)

    def _stop(
        self, number: signal.Signals, paid: PaidLLM, task: "asyncio.Task[Any] | None"
    ) -> None:
        growing = self._loop
        if growing is not None and growing.reason is None:
            if paid.in_flight:
                self._shower.say(_STOPPING)
            growing.halt(Interrupted())
            return
        if (
            growing is not None and number == signal.SIGHUP
        ):  # it comes twice where a terminal is closed
            return
        if growing is not None:
            growing.reason = Interrupted()
        if task is not None:
            task.cancel()
