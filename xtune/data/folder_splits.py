"""Which files of a folder on this machine are a split, as of a hub's set; folders that tell no splits are read whole.

A card (`README.md` whose `configs` name data files) decides; else the names do, where they tell training files from
others (`train.jsonl` beside `test.jsonl`). What is held out is never trained on by naming the folder.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xtune.data.files import kind_of
from xtune.data.folders import FolderFiles, files_in
from xtune.data.splits import choose, files_by_split, has_configs
from xtune.recipe import Data, Source

_CARD = "README.md"
_HELD_OUT = ("validation", "test")
"""Splits to evaluate on, the first that is there."""


def split_files(
    folder: Path, found: FolderFiles, *, source: Source, given: bool
) -> FolderFiles | None:
    """The files of a source's split, with those of other splits counted as left out; None where the folder has no splits.

    Args:
        folder: Where the source lies.
        found: The data files of the folder.
        source: Names split and subset.
        given: Whether it does so by itself, so that what is not there is told.

    Raises:
        DataError: There is no such subset or split.
    """
    name, names = source.source, [inside for inside, _ in found.files]
    card = _card(folder)
    if card is not None:
        every = _names(folder)
        by_split = files_by_split(every, card, place=name, subset=source.subset)
        if not any(by_split.values()):
            return None
        chosen = choose(every, card, place=name, split=source.split, subset=source.subset)
        return FolderFiles(
            files=chosen.files,
            left_out=chosen.left_out + _others(by_split, source.split, chosen.files),
        )
    by_split = files_by_split(names, "", place=name, subset=source.subset)
    if not given and not ("train" in by_split and any(split in by_split for split in _HELD_OUT)):
        return None
    chosen = choose(names, "", place=name, split=source.split, subset=source.subset)
    others = _others(by_split, source.split, chosen.files)
    if source.split != "train":
        return FolderFiles(files=chosen.files, left_out=others)
    # a file that names no split is trained on, as if no other did
    away = {one for files in by_split.values() for one in files} - {one for one, _ in chosen.files}
    return FolderFiles(
        files=[file for file in found.files if file[0] not in away],
        left_out=found.left_out + others,
    )


def evaluation_sources(data: Data) -> tuple[Source, ...] | float | None:
    """What is evaluated on: as `data.evaluate` says, else the held-out splits of the folders that are trained on."""
    if data.evaluate is not None:
        return data.evaluate
    found = tuple(
        source.model_copy(update={"split": split, "weight": None, "max_rows": None})
        for source in data.train
        if (split := _held_out(source, texts=(source.format or data.format) == "text")) is not None
    )
    return found or None


def _held_out(source: Source, *, texts: bool) -> str | None:
    """The split of a folder that is held out; None where it has none, or another than its training split is asked for."""
    folder = Path(source.source).expanduser()
    if source.split != "train" or not folder.is_dir():
        return None
    card = _card(folder)
    names = (
        [inside for inside, _ in files_in(folder, texts=texts).files]
        if card is None
        else _names(folder)
    )
    by_split = files_by_split(names, card or "", place=source.source, subset=source.subset)
    if not by_split.get("train"):
        return None
    return next((split for split in _HELD_OUT if by_split.get(split)), None)


def _card(folder: Path) -> str | None:
    """The text of a card that says which files are which split."""
    try:
        card = (folder / _CARD).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return card if has_configs(card) else None


def _names(folder: Path) -> list[str]:
    """Paths of the data files in a folder and in those in it, hidden ones left out."""
    inside = [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and kind_of(path) is not None
    ]
    return [
        path.as_posix() for path in inside if not any(part.startswith(".") for part in path.parts)
    ]


def _others(
    by_split: dict[str, list[str]], split: str, chosen: Sequence[tuple[str, str]]
) -> Counter[str]:
    """How many files belong to other splits alone, by the split."""
    taken = {name for name, _ in chosen}
    counted = Counter(
        {
            f"of split {other}": sum(name not in taken for name in names)
            for other, names in by_split.items()
            if other != split
        }
    )
    return +counted
