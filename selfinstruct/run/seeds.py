"""Where a run's seeds come from: a file or folder of the recipe, the sets that ship, or a translation made on the spot."""

from collections.abc import Sequence
from pathlib import Path

from selfinstruct.generate.paid import PaidLLM
from selfinstruct.pool.folder import Folder
from selfinstruct.report.progress import Shower
from selfinstruct.run.translating import Translating
from selfinstruct.seeds import read_seeds, shipped_seeds
from selfinstruct.settings import Settings
from selfinstruct.translate import TranslationReport, translate
from selfinstruct.types import Seed
from xtune.demo.bundled import bundled_path, is_bundled
from xtune.errors import XtuneError


async def find_seeds(
    settings: Settings, folder: Folder, paid: PaidLLM, shower: Shower
) -> dict[str, Sequence[Seed]]:
    """The seeds of every language; those that exist nowhere are translated into the run's folder first.

    Raises:
        XtuneError: A file is wrong, or a language has no seeds and cannot be translated into.
    """
    files = {language: _file(language, settings) for language in settings.languages}
    seeds = {language: read_seeds(path) for language, path in files.items() if path is not None}
    missing = [language for language in files if language not in seeds]
    if missing:
        made = folder.path / "seeds"
        report = await translate(read_seeds("en"), to=missing, folder=made, llm=Translating(paid))
        for line in report.lines():
            shower.say(line)
        _check_translated(report)
        seeds |= {language: read_seeds(made / f"{language}.jsonl") for language in missing}
    return dict(seeds)


def _file(language: str, settings: Settings) -> Path | None:
    """The seed file of a language; None if there is none."""
    if settings.seeds is not None:
        path = bundled_path(settings.seeds) if is_bundled(settings.seeds) else Path(settings.seeds)
        if not path.is_dir():
            return path
        if (path / f"{language}.jsonl").is_file():
            return path / f"{language}.jsonl"
    return shipped_seeds(language)


def _check_translated(report: TranslationReport) -> None:
    """Refuse to go on where a language got no seed at all.

    Raises:
        XtuneError: Names the languages; the failed tasks were told before.
    """
    empty = [
        one.code
        for one in report.languages
        if one.failed and not (one.translated or one.current or one.edited)
    ]
    if empty:
        raise XtuneError(
            f"No seed could be translated into {', '.join(empty)}: none of the LLM's answers was accepted.",
            advice="Start a new run with a stronger llm.model in run.folder=..., or give a folder of seeds: seeds=FOLDER",
        )
