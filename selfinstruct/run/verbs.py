"""The verbs, each a function: what the command line calls, and what Python code may call as well."""

import asyncio
import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console

from selfinstruct.llm.open import open_llm
from selfinstruct.llm.prices import dollars, tariff
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.pool.folder import RECIPE
from selfinstruct.pool.journal import spent
from selfinstruct.report.export import Exported, Format, export
from selfinstruct.report.progress import Shower, shower
from selfinstruct.report.seeds import SeedSets, count_seeds, print_seeds
from selfinstruct.report.stats import LanguageStats, print_stats, read_stats
from selfinstruct.run.session import Outcome, run
from selfinstruct.run.translating import Kept
from selfinstruct.seeds import (
    check_file,
    read_seeds,
    seed_file,
    seed_row,
    shipped_languages,
)
from selfinstruct.settings import Settings, read_dump, read_settings
from selfinstruct.translate import GIVE_UP_AFTER, TranslationReport, translate
from selfinstruct.types import Seed
from xtune.errors import XtuneError
from xtune.run.lock import is_held


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that have an option of their own on the command line."""

    target: int | None = None
    rounds: int | None = None
    budget: str | None = None
    """`5USD`, `5`, `$5`."""

    max_tokens_total: int | None = None
    concurrency: int | None = None
    batch: bool = False
    keep_ties: bool = False

    def overrides(self) -> list[str]:
        """The same as overrides of the recipe.

        Raises:
            XtuneError: The budget is no sum of dollars.
        """
        given = {
            "generate.target": self.target,
            "generate.rounds": self.rounds,
            "limits.budget_usd": _dollars(self.budget) if self.budget is not None else None,
            "limits.max_tokens_total": self.max_tokens_total,
            "llm.concurrency": self.concurrency,
            "run.batch": "true" if self.batch else None,
            "novelty.keep_ties": "true" if self.keep_ties else None,
        }
        return [f"{name}={value}" for name, value in given.items() if value is not None]


def _dollars(text: str) -> str:
    found = re.fullmatch(r"\s*(?:\$|USD)?\s*(\d+(?:\.\d+)?)\s*(?:\$|USD)?\s*", text, re.IGNORECASE)
    if found is None:
        raise XtuneError(f"`--budget {text}` is no sum of dollars.", advice="Write --budget 5USD.")
    return found.group(1)


def run_recipe(
    recipe: str,
    overrides: Sequence[str] = (),
    options: Options | None = None,
    *,
    show: Shower | None = None,
) -> Outcome:
    """Run a recipe, or go on with its run.

    Args:
        recipe: A YAML file, or the name of a recipe that ships.
        overrides: `section.key=value`.
        options: What has an option of its own.
        show: Told how it goes; standard error when left out.

    Raises:
        XtuneError: Anything that the person can mend; what is done is kept.
        Interrupted: Ctrl-C or SIGTERM.
    """
    options = options or Options()
    settings = read_settings(recipe, [*overrides, *options.overrides()])
    return run(settings, show or shower())


def status(folder: str) -> str:
    """How a run stands, in a few lines.

    Raises:
        RunError: The folder holds no run.
    """
    path = Path(folder)
    stats = read_stats(path)
    asked = read_dump(path / RECIPE)
    generate = asked["generate"]
    expected = (
        generate["first_round_prompts"] + (generate["rounds"] - 1) * generate["prompts_per_round"]
    )
    lines = [
        f"{path}: {'running' if is_held(path) else 'not running'}, model {asked['llm']['model']}"
    ]
    for language in asked["languages"]:
        one = stats.get(language, LanguageStats())
        target = f" of {generate['target']:,}" if generate["target"] else ""
        lines.append(
            f"{language:>6}  kept {one.kept:,}{target}  dropped {sum(one.drops.values()):,}  replies {one.replies:,} of {expected:,}"
        )
    usage = spent(path)
    settings = LLMSettings.model_validate(asked["llm"])
    usd = tariff(settings, batch=asked["run"]["batch"]).usd(usage)
    cost = f", {dollars(usd)}" if usd else ""
    lines.append(
        f"{usage.prompt_tokens:,} prompt and {usage.completion_tokens:,} answer tokens{cost}"
    )
    return "\n".join(lines)


def stats(folder: str, *, examples: int = 0) -> None:
    """Print the numbers of a run.

    Raises:
        RunError: The folder holds no run.
    """
    print_stats(read_stats(Path(folder), examples=examples), Console())


def export_run(folder: str, out: str, *, form: Format = "alpaca", split: float = 0.0) -> Exported:
    """Write a run's tasks as a data set; see `selfinstruct.report.export`.

    Raises:
        XtuneError: There is no run, or `out` is in use.
    """
    return export(Path(folder), Path(out), form=form, split=split)


def translate_seeds(
    recipe: str,
    to: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    out: str = "seeds",
    seeds: str = "en",
    give_up_after: int = GIVE_UP_AFTER,
) -> str:
    """Translate seeds into languages with a recipe's LLM; returns the report.

    Raises:
        XtuneError: Seeds failed, no language is named or one is unknown, the LLM gave up; what is translated is kept.
    """
    if not to:
        raise XtuneError("`--to` names no language.", advice="Write --to ar,de,es.")
    settings = read_settings(recipe, overrides)
    read = read_seeds(seeds)
    report = asyncio.run(
        _translate(settings, to, Path(out), read, shower(), give_up_after=give_up_after)
    )
    text = "\n".join(report.lines())
    if not report.ok:
        raise XtuneError(text, advice="The same command tries the failed ones again.")
    return text


_TOLD_EVERY = 40
"""Tasks of a language between two lines that say how far its translation is: four for the set that ships."""


async def _translate(
    settings: Settings,
    to: Sequence[str],
    out: Path,
    seeds: Sequence[Seed],
    show: Shower,
    *,
    give_up_after: int,
) -> TranslationReport:
    llm = open_llm(settings.llm, out, say=show.say)
    kept = Kept(llm, out, model=settings.llm.model, tariff=tariff(settings.llm))

    def tell(language: str, done: int, total: int) -> None:
        if done and done % _TOLD_EVERY == 0 and done < total:
            show.say(f"{language}: {done} of {total} tasks")

    try:
        report = await translate(
            seeds, to=to, folder=out, llm=kept, progress=tell, give_up_after=give_up_after
        )
        kept.forget()
    finally:
        kept.close()
        await llm.close()
    report.usage = kept.spent
    return report


def check_seeds(language_or_file: str) -> str:
    """Check a seed file of either layout, or a set that ships; returns the report.

    Raises:
        XtuneError: The file has problems; the report is the message.
    """
    report = check_file(seed_file(language_or_file))
    text = "\n".join(report.lines())
    if not report.ok:
        raise XtuneError(text)
    return text


def show_seeds(
    language_or_file: str,
    ids: Sequence[str] = (),
    *,
    as_json: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Print the seeds of a language that ships, or of a file, to be read or as JSON lines.

    Args:
        language_or_file: `th`, or a path.
        ids: Print these alone, in this order; all by default.
        as_json: Print rows of a seed file.
        stream: Where to; default: standard output.

    Raises:
        XtuneError: There are no such seeds.
    """
    seeds = _chosen(read_seeds(language_or_file), ids, language_or_file)
    if not as_json:
        return print_seeds(seeds, Console(file=stream, highlight=False))
    out = stream or sys.stdout
    for seed in seeds:
        out.write(json.dumps(seed_row(seed), ensure_ascii=False) + "\n")
    return None


def seed_stats(
    languages_or_files: Sequence[str] = (), *, tokenizer: str = "bundled:demo"
) -> SeedSets:
    """Count seed sets; all that ship by default. See `selfinstruct.report.seeds`.

    Raises:
        XtuneError: There are no such seeds, or the tokenizer cannot be read.
    """
    names = dict.fromkeys(languages_or_files or shipped_languages())
    return count_seeds({name: read_seeds(name) for name in names}, tokenizer)


def _chosen(seeds: Sequence[Seed], ids: Sequence[str], where: str) -> list[Seed]:
    """The seeds of some ids.

    Raises:
        XtuneError: There is none of such an id; the nearest are told.
    """
    if not ids:
        return list(seeds)
    by_id = {seed.id: seed for seed in seeds}
    for name in ids:
        if name not in by_id:
            near = difflib.get_close_matches(name, by_id, n=3, cutoff=0.5)
            raise XtuneError(
                f"There is no seed `{name}` in `{where}`; {len(by_id)} are there, from {seeds[0].id} to {seeds[-1].id}.",
                advice=f"Did you mean {' or '.join(near)}?" if near else "",
            )
    return [by_id[name] for name in ids]
