"""The catalogue of known data sets, read from `sets.yaml`: where each is, in what format, under what licence; it fetches nothing."""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from xtune.data.problems import listed, refuse

_TABLE = Path(__file__).with_name("sets.yaml")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set that many people know by name; None stands for what is not known."""

    name: str
    """What stands behind `set:`."""

    title: str
    """What it is, in a few words."""

    hub: str
    """Id on Hugging Face."""

    modelscope: str | None = None
    """Id on ModelScope."""

    subset: str | None = None
    """Subset that is read; default: the set's own default."""

    revision: str | None = None
    """Branch that is read; the hub keeps a Parquet copy of sets that exist only as a script under `refs/convert/parquet`."""

    split: str = "train"
    """Split that is read."""

    paths: tuple[str, ...] = ()
    """Patterns of the files, for a set whose file names tell nothing."""

    format: str = "auto"
    """Format of its rows."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column to the set's."""

    stage: str = "sft"
    """What it is for: `sft` or `pretrain`."""

    licence: str = "see card"
    """SPDX name of the licence its card gives, or `see card`."""

    languages: tuple[str, ...] = ()
    """ISO 639-1 codes; `multi` where there are more than a dozen, `code` for programs."""

    rows: int | None = None
    """Rows of the split."""

    bytes: int | None = None
    """Size of the files to fetch."""

    confirmed: tuple[str, ...] = ()
    """Fields that a public source states (see the head of sets.yaml); the others are from memory."""


@functools.cache
def catalogue() -> tuple[DataSet, ...]:
    """All known data sets in the order of their names."""
    table = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return tuple(_made(name, entry) for name, entry in sorted(table.items()))


def _made(name: str, entry: Mapping[str, Any]) -> DataSet:
    known = {item.name for item in fields(DataSet)}
    given = {key: value for key, value in entry.items() if value is not None and key in known}
    for key in ("languages", "paths", "confirmed"):
        if key in given:
            given[key] = tuple(given[key])
    return DataSet(name=name, **given)


def set_of(source: str) -> DataSet | None:
    """The known set that a source of a hub (`hf:owner/name`, `modelscope:owner/name`) is, if it is one.

    Where several have the id, they have the same rows' shape, and the first is taken.
    """
    hub, _, name = source.partition(":")
    for one in catalogue():
        if name == (one.hub if hub == "hf" else one.modelscope):
            return one
    return None


def find_set(name: str) -> DataSet:
    """The known data set of a name.

    Raises:
        DataError: There is none; the nearest names are told.
    """
    known = {one.name: one for one in catalogue()}
    found = known.get(name)
    if found is not None:
        return found
    asked = name.lower().replace("_", "-").replace(" ", "-")
    near = difflib.get_close_matches(asked, known, n=3, cutoff=0.6)
    near += [one for one in known if asked and one.startswith(asked) and one not in near][:3]
    return refuse(
        f"`set:{name}` is no known data set",
        where="data source",
        advice=f"did you mean {listed(f'set:{one}' for one in near)}?"
        if near
        else "`xtune data sets` lists them; any other is named `hf:owner/name`.",
    )
