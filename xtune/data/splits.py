"""Which files of a repository are the rows of a split: by its card's `configs`, else by the files' names; it fetches nothing.

The rules are those of the `datasets` library, so that a split here is the split that people know.
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from xtune.data.files import kind_of
from xtune.data.problems import listed, refuse

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words in names of files and folders to the split they mean (datasets' `SPLIT_KEYWORDS`)."""

_SHARD = re.compile(r"data/(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}.*\..*")
"""Files as `push_to_hub` writes them, whatever the split is called (datasets' `SPLIT_PATTERN_SHARDED`)."""

_NOT_ROWS = {"readme.md", "config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
             "license", "license.md", "license.txt"}  # fmt: skip

_ORDER = ("parquet", "arrow", "jsonl", "json", "csv", "tsv", "text")
"""Of as many files of several kinds, the first of these is read."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The files of a split in the order of their names, each with its kind."""

    files: list[tuple[str, str]]
    left_out: Counter[str] = field(default_factory=Counter)


def choose(
    names: Sequence[str],
    card: str,
    *,
    place: str,
    split: str,
    subset: str | None = None,
    paths: Sequence[str] = (),
) -> Chosen:
    """The files of a split, out of all names of a repository. `paths` are patterns that go before the card's.

    Raises:
        DataError: There is no such subset or split, or no file that can be read.
    """
    if paths:
        return _readable(_matching(names, paths), place, split)
    by_split = files_by_split(names, card, place=place, subset=subset)
    if split not in by_split:
        if not by_split:
            refuse(
                f"`{place}` has no data files that can be read",
                where="data source",
                advice="the hub's own Parquet copy may do: `revision: refs/convert/parquet`.",
            )
        refuse(
            f"`{place}` has no split `{split}`",
            where="data source",
            allowed=f"it has {listed(by_split)}",
            advice="say which with `split`.",
        )
    return _readable(by_split[split], place, split)


def files_by_split(
    names: Sequence[str], card: str, *, place: str, subset: str | None = None
) -> dict[str, list[str]]:
    """The files of every split, by the card's `configs` or else by their names.

    Raises:
        DataError: There is no such subset.
    """
    config = _config(card, subset, place)
    if config is None:
        return _by_name(_inside(names, subset, place))
    return _by_config(names, config)


def _readable(names: Iterable[str], place: str, split: str) -> Chosen:
    """Those of the commonest kind; the hub's data sets often hold the same rows in several."""
    left_out: Counter[str] = Counter()
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind = kind_of(Path(name))
        if kind is None or kind == "code":
            left_out[PurePosixPath(name).suffix.lower() or "without an ending"] += 1
        else:
            kinds.setdefault(kind, []).append(name)
    if not kinds:
        endings = f" (only {listed(left_out)})" if left_out else ""
        refuse(
            f"Split `{split}` of `{place}` has no file that can be read{endings}",
            where="data source",
            advice="the hub's own Parquet copy may do: `revision: refs/convert/parquet`.",
        )
    kind = max(kinds, key=lambda one: (len(kinds[one]), -_ORDER.index(one)))
    for other, files in kinds.items():
        if other != kind:
            left_out[f"{other} files beside {kind}"] += len(files)
    return Chosen(files=[(name, kind) for name in sorted(kinds[kind])], left_out=left_out)


def _config(card: str, subset: str | None, place: str) -> Mapping[str, Any] | None:
    """The subset that the card's `configs` describe; None where the card describes none."""
    configs = {
        str(config["config_name"]): config
        for config in _configs(card)
        if "data_files" in config or "data_dir" in config
    }
    if not configs:
        return None
    if subset is None:
        marked = [config for config in configs.values() if config.get("default") is True]
        if marked or "default" in configs or len(configs) == 1:
            return marked[0] if marked else configs.get("default") or next(iter(configs.values()))
    elif subset in configs:
        return configs[subset]
    found = f"no subset `{subset}`" if subset else f"{len(configs)} subsets and none by default"
    return refuse(
        f"`{place}` has {found}",
        where="data source",
        allowed=f"it has {listed(configs, 20)}",
        advice="say which with `subset`.",
    )


def has_configs(card: str) -> bool:
    """Whether a card says which files are which split."""
    return any("data_files" in config or "data_dir" in config for config in _configs(card))


def _configs(card: str) -> list[Mapping[str, Any]]:
    if not card.startswith("---"):
        return []
    head = re.split(r"^---\s*$", card, maxsplit=2, flags=re.MULTILINE)
    try:
        front = yaml.safe_load(head[1]) if len(head) == 3 else None
    except yaml.YAMLError:
        return []
    configs = front.get("configs") if isinstance(front, dict) else None
    return [
        config
        for config in (configs if isinstance(configs, list) else [])
        if isinstance(config, dict) and "config_name" in config
    ]


def _by_config(names: Sequence[str], config: Mapping[str, Any]) -> dict[str, list[str]]:
    root = str(config.get("data_dir") or "").strip("./")
    inside = [name for name in names if not root or name.startswith(f"{root}/")]
    files = config.get("data_files")
    if files is None:
        return _by_name(inside, root)
    found = {}
    for split, patterns in _patterns(files).items():
        rooted = [f"{root}/{pattern}" if root else pattern for pattern in patterns]
        found[split] = _matching(names, rooted)
    return found


def _patterns(files: Any) -> dict[str, list[str]]:
    if isinstance(files, Mapping):
        return {str(split): _many(paths) for split, paths in files.items()}
    found: dict[str, list[str]] = {}
    for item in _many(files):
        if isinstance(item, Mapping):
            found.setdefault(str(item.get("split", "train")), []).extend(_many(item.get("path")))
        else:
            found.setdefault("train", []).append(str(item))
    return found


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _matching(names: Sequence[str], patterns: Iterable[str]) -> list[str]:
    matchers = [_matcher(str(pattern)) for pattern in patterns]
    return [name for name in names if any(matcher.fullmatch(name) for matcher in matchers)]


def _matcher(pattern: str) -> "re.Pattern[str]":
    """A glob as fsspec reads it: `*` stays inside a folder, `**` does not; a folder means all in it."""
    parts = _WILDCARDS.split(pattern.removeprefix("./").lstrip("/"))
    return re.compile("".join(map(_expression, parts)))


_WILDCARDS = re.compile(r"(\*\*/?|\*|\?|\[[^]]*\]|\{[^}]*\})")
_PLAIN_WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _expression(part: str) -> str:
    """A wildcard, or a text without any, as a regular expression."""
    if part in _PLAIN_WILDCARDS:
        return _PLAIN_WILDCARDS[part]
    if part.startswith("["):
        return fnmatch.translate(part)[4:].rpartition(")")[0]
    if part.startswith("{"):
        return f"(?:{'|'.join(map(re.escape, part[1:-1].split(',')))})"
    return re.escape(part)


def _inside(names: Sequence[str], subset: str | None, place: str) -> list[str]:
    """The files of a subset that no card describes: those of the folder of that name, or the file."""
    if subset is None:
        return list(names)
    inside = [name for name in names if name.startswith(f"{subset}/")]
    inside = inside or [name for name in names if _stem(name) == subset and _may_be_rows(name)]
    if not inside:
        rows = [name for name in names if _may_be_rows(name)]
        folders = {name.split("/")[0] for name in rows if "/" in name} - {"data"}
        known = folders or {_stem(name) for name in rows}
        refuse(
            f"`{place}` has no subset `{subset}`",
            where="data source",
            allowed=f"it has {listed(sorted(known), 20)}" if known else "it has no subsets",
        )
    return inside


def _stem(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[0]


def _by_name(names: Sequence[str], root: str = "") -> dict[str, list[str]]:
    """Splits by the names of files and folders; where none tells a split, everything is `train`."""
    data = [name for name in names if _may_be_rows(name)]
    bare = {name: name[len(root) + 1 :] if root else name for name in data}
    shards: dict[str, list[str]] = {}
    for name in data:
        shard = _SHARD.fullmatch(bare[name])
        if shard:
            shards.setdefault(shard["split"], []).append(name)
    if shards:
        return shards
    for parts in (_folders, _file):
        found = {
            split: [name for name in data if any(_says(part, words) for part in parts(bare[name]))]
            for split, words in _WORDS.items()
        }
        found = {split: files for split, files in found.items() if files}
        if found:
            return found
    return {"train": data} if data else {}


def _may_be_rows(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__")) for part in path.parts)
    return (
        not hidden
        and path.name.lower() not in _NOT_ROWS
        and kind_of(Path(name)) not in {None, "code"}
    )


def _folders(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts[:-1]


def _file(name: str) -> tuple[str, ...]:
    return (PurePosixPath(name).name,)


def _says(part: str, words: Sequence[str]) -> bool:
    """Whether one of the words stands in a name, between its ends or any of `-._ 0-9`."""
    return any(re.search(rf"(?:^|[-._ 0-9]){word}(?:[-._ 0-9]|$)", part) for word in words)
