"""Translates seeds into languages, many at a time: asks, checks, asks again with the reason, writes or reports."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selfinstruct.errors import RequestRefused
from selfinstruct.pool.disk import explained
from selfinstruct.seeds.read import shipped_seeds
from selfinstruct.translate.checks import reasons_against
from selfinstruct.translate.files import TranslatedFile
from selfinstruct.translate.languages import Language, language_of
from selfinstruct.translate.prompt import FIELDS, fields_of, refusal, request_for
from selfinstruct.types import LLM, Seed, Task, Usage
from xtune.run.lock import take_lock

Progress = Callable[[str, int, int], None]
"""Hears the language, the tasks that are settled in it, and all of its tasks."""

_TRIES = 4
"""Answers asked for a task, the first included; ours: who fails four times with the reasons told will go on failing."""

GIVE_UP_AFTER = 8
"""Tasks of a language that fail before any is accepted; ours: a model that gets half of the tasks right fails in eight at first once
in 256 languages, and a wrong one costs 32 requests of 648."""

_TASKS_AT_ONCE = 64
"""Tasks in the air; the LLM itself knows how many requests a server takes."""


@dataclass(kw_only=True)
class LanguageReport:
    """What became of the seeds in one language."""

    code: str
    path: Path
    shipped: bool = False
    """The set ships with the package and was used as it is."""

    translated: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    """Of these, translated anew because the English seed had changed."""

    current: list[str] = field(default_factory=list)
    """Were there already."""

    edited: list[str] = field(default_factory=list)
    """Were edited by hand, and left as they are."""

    outdated: list[str] = field(default_factory=list)
    """Of these, edited translations whose English seed has changed since."""

    failed: dict[str, list[str]] = field(default_factory=dict)
    """Why the last answer was not accepted; these tasks are not in the file."""

    given_up: int = 0
    """Tasks that were not asked for, since all of the first ones had failed."""

    torn_bytes: int = 0
    """Cut off the end of the file, where a kill had left half a line."""

    def lines(self) -> list[str]:
        """What a person should know, the failures one a line."""
        if self.shipped:
            return [f"{self.code}: the set that ships is used as it is, {self.path}"]
        counts = [
            (self.translated, "translated"),
            (self.current, "there already"),
            (self.edited, "edited by hand and left alone"),
            (self.failed, "failed"),
            (range(self.given_up), "not asked for"),
        ]
        told = ", ".join(f"{len(ids)} {name}" for ids, name in counts if ids) or "nothing to do"
        lines = [f"{self.code}: {told}; {self.path}"]
        if self.torn_bytes:
            lines.append(f"{self.code}: {self.torn_bytes} bytes of a torn last line were cut off")
        if self.again:
            lines.append(
                f"{self.code}: translated again, since the English seed changed: {', '.join(self.again)}"
            )
        if self.outdated:
            lines.append(
                f"{self.code}: the English seed changed, the edited translation was kept: {', '.join(self.outdated)}"
            )
        if self.given_up:
            lines.append(
                f"{self.code}: given up, since all of the first {len(self.failed)} tasks failed; a stronger model may do, "
                "and --give-up-after 0 asks for all tasks"
            )
        lines += [
            f"{self.code}: {seed_id} failed: {'; '.join(reasons)}"
            for seed_id, reasons in self.failed.items()
        ]
        return lines


@dataclass(kw_only=True)
class TranslationReport:
    """What became of the seeds in all languages."""

    languages: list[LanguageReport] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    """Tokens of this call, refused answers included."""

    @property
    def ok(self) -> bool:
        """Whether every seed is there in every language."""
        return not any(report.failed for report in self.languages)

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [line for report in self.languages for line in report.lines()]
        used = f"{self.usage.prompt_tokens:,} prompt and {self.usage.completion_tokens:,} answer tokens."
        return [*lines, used] if self.usage != Usage() else lines


async def translate(
    seeds: Sequence[Seed],
    *,
    to: Sequence[str],
    folder: str | Path,
    llm: LLM,
    progress: Progress = lambda _language, _done, _total: None,
    give_up_after: int = GIVE_UP_AFTER,
) -> TranslationReport:
    """Translate seeds into each language that has no shipped set, going on where an earlier call stopped.

    Args:
        seeds: The English seeds; those with `translate: no` are left out.
        to: BCP-47 codes.
        folder: Where `<code>.jsonl` is written.
        llm: Who translates; its limits decide how many requests are sent at a time.
        progress: Told after every task.
        give_up_after: Tasks of a language that are asked for before one is accepted; where all of them fail, so would the
            others, and none of them is paid for. 0 asks for all.

    Raises:
        XtuneError: A language is unknown, another process translates into the folder, a file was edited into something unreadable, the disk is full, or the
            LLM gave up; what is translated is kept.
    """
    wanted = [(code, shipped_seeds(code)) for code in dict.fromkeys(to)]
    languages = {code: language_of(code) for code, shipped in wanted if shipped is None}
    report = TranslationReport()
    with _held(Path(folder)) if languages else contextlib.nullcontext():
        jobs = []
        for code, shipped in wanted:
            if shipped is not None:
                report.languages.append(LanguageReport(code=code, path=shipped, shipped=True))
                continue
            job = _Job(code, languages[code], seeds, TranslatedFile(Path(folder), code), progress)
            job.give_up_after = give_up_after
            report.languages.append(job.report)
            jobs.append(job)
        await _work(jobs, llm, report)
    return report


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder, for this process alone.

    Raises:
        RunError: Another process translates into it, or it cannot be written in.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(folder, advice="Wait for it, or choose another folder with --out.")
    try:
        yield
    finally:
        os.close(lock)


async def _work(jobs: Sequence["_Job"], llm: LLM, report: TranslationReport) -> None:
    """Translate what waits in every language, many tasks at a time."""
    room = asyncio.Semaphore(_TASKS_AT_ONCE)
    work = [
        asyncio.ensure_future(job.translate(seed, llm, room, report))
        for job in jobs
        for seed in job.waiting
    ]
    try:
        await asyncio.gather(*work)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for job in jobs:
            job.finish()


class _Job:
    """The work in one language."""

    def __init__(
        self,
        code: str,
        language: Language,
        seeds: Sequence[Seed],
        file: TranslatedFile,
        progress: Progress,
    ) -> None:
        self._language = language
        self._order = [seed.id for seed in seeds if seed.translate != "no"]
        self._file = file
        self._progress = progress
        self.report = LanguageReport(code=code, path=file.path, torn_bytes=file.torn_bytes)
        self.give_up_after = 0
        self._begun = 0
        self._settled = asyncio.Event()
        """Whether the model can do it at all is known."""

        self.waiting: list[Seed] = []
        for seed in seeds:
            if seed.translate == "no":
                continue
            if file.is_edited(seed.id):
                self.report.edited.append(seed.id)
                if not file.knows_source(seed):
                    self.report.outdated.append(seed.id)
            elif file.is_current(seed):
                self.report.current.append(seed.id)
            else:
                self.waiting.append(seed)
        self._left = len(self.waiting)
        self._tell()

    async def translate(
        self, seed: Seed, llm: LLM, room: asyncio.Semaphore, report: TranslationReport
    ) -> None:
        """Translate one seed, write it or note why not; all but the first wait until one is accepted."""
        self._begun += 1
        if self.give_up_after and self._begun > self.give_up_after:
            await self._settled.wait()
            if not self.report.translated:
                self.report.given_up += 1
                return
        async with room:
            outcome = await self._ask(seed, llm, report)
        if isinstance(outcome, Seed):
            if seed.id in self._file.seeds:
                self.report.again.append(seed.id)
            self._file.add(seed, outcome)
            self.report.translated.append(seed.id)
        else:
            self.report.failed[seed.id] = outcome
        if self.report.translated or len(self.report.failed) == self.give_up_after:
            self._settled.set()
        self._left -= 1
        self._tell()

    async def _ask(self, seed: Seed, llm: LLM, report: TranslationReport) -> Seed | list[str]:
        refused: tuple[dict[str, str], ...] = ()
        reasons: list[str] = []
        for attempt in range(1, _TRIES + 1):
            request = request_for(seed, self._language, attempt=attempt, refused=refused)
            try:
                reply = await llm.complete(request)
            except RequestRefused as error:
                return [str(error)]
            report.usage += reply.usage
            fields = fields_of(reply.text)
            if reply.finish_reason != "stop":
                reasons = [f"the answer was cut off: {reply.finish_reason}"]
            elif isinstance(fields, str):
                reasons = [fields]
            else:
                reasons = reasons_against(seed, fields, self._language)
            if not reasons and not isinstance(fields, str):
                return _translated(seed, fields)
            refused = refusal(reply.text, reasons)
        return reasons

    def finish(self) -> None:
        """Put the file in order."""
        self._file.finish(self._order)

    def _tell(self) -> None:
        total = len(self._order)
        self._progress(self.report.code, total - self._left, total)


def _translated(seed: Seed, fields: dict[str, str]) -> Seed:
    """The seed with the translated texts; what is kept is the English seed's, to the letter."""
    texts = {
        name: getattr(seed.task, name) if name in seed.keep else fields[name] for name in FIELDS
    }
    return Seed(
        id=seed.id,
        category=seed.category,
        task=Task(**texts),
        translate=seed.translate,
        keep=seed.keep,
        why=seed.why,
    )
