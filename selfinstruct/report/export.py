"""The data set that comes out of a run: a file per language in a known format, a held-out part, and a card."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from selfinstruct.pool.disk import explained
from selfinstruct.pool.lines import line_of
from selfinstruct.report.card import card_text
from selfinstruct.report.stats import events, read_stats
from xtune.errors import RunError, XtuneError

Format = Literal["alpaca", "messages", "sharegpt"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    folder: Path
    counts: Mapping[str, tuple[int, int]]
    """Rows to train on and held out, by language."""

    def __str__(self) -> str:
        lines = []
        for language, (train, held_out) in self.counts.items():
            beside = f", {held_out:,} held out in {language}.test.jsonl" if held_out else ""
            lines.append(f"{self.folder / language}.jsonl: {train:,} rows{beside}")
        held_out = sum(held_out for _, held_out in self.counts.values())
        evaluate = ""
        if held_out:
            evaluate = " data.evaluate=null"
            lines.append("With data.evaluate=null the folder's own held-out rows are evaluated on.")
        lines.append(f"Next: xtune train RECIPE data.train={self.folder}{evaluate}")
        return "\n".join(lines)


def export(folder: Path, out: Path, *, form: Format = "alpaca", split: float = 0.0) -> Exported:
    """Write the kept tasks of a run as a data set; nothing is ever overwritten.

    Args:
        folder: The run's folder.
        out: A folder that does not exist yet, or is empty.
        form: `alpaca`, `messages` or `sharegpt`, as xtune and others read them.
        split: Part of each language that is held out, chosen by a hash of the task's id: a longer run holds out
            the same tasks and more.

    Raises:
        RunError: The folder holds no run or no tasks, or the disk refuses.
        XtuneError: `out` is in use, or `split` is no part.
    """
    if not 0 <= split < 1:
        raise XtuneError(f"`--split` is {split:g}; it must be at least 0 and below 1.")
    stats = read_stats(folder)
    if not any(one.kept for one in stats.values()):
        raise RunError(f"{folder} holds no kept task yet.", advice="Go on with its run first.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise XtuneError(f"{out} exists; it is not overwritten.", advice="Name another folder.")
    aside = out.with_name(f".{out.name}.writing")
    with explained(out):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        counts = {
            language: _write(
                folder / "pool" / f"{language}.jsonl", aside / language, _FORMS[form], split
            )
            for language, one in stats.items()
            if one.kept
        }
        card = card_text(folder, stats, counts, form=form, split=split)
        (aside / "README.md").write_text(card, encoding="utf-8")
        if out.exists():
            out.rmdir()
        Path(aside).replace(out)
    return Exported(folder=out, counts=counts)


def _write(
    pool: Path, target: Path, form: Callable[[Mapping[str, Any]], Any], split: float
) -> tuple[int, int]:
    """Write one language's files; returns rows to train on and held out."""
    counts = [0, 0]
    test = target.with_name(f"{target.name}.test.jsonl") if split else Path(os.devnull)
    with target.with_name(f"{target.name}.jsonl").open("wb") as train, test.open("wb") as held_out:
        for row in _kept(pool):
            away = _share(row["id"]) < split
            counts[away] += 1
            (held_out if away else train).write(line_of(form(row)))
    return counts[0], counts[1]


def _kept(pool: Path) -> Iterator[Mapping[str, Any]]:
    return (row for row in events(pool) if row["event"] == "kept")


def _share(name: str) -> float:
    """A number from 0 to 1 that a name determines."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") / 2**64


def _alpaca(row: Mapping[str, Any]) -> Any:
    return {name: row[name] for name in ("instruction", "input", "output")}


def _asked(row: Mapping[str, Any]) -> str:
    return f"{row['instruction']}\n\n{row['input']}" if row["input"] else str(row["instruction"])


def _messages(row: Mapping[str, Any]) -> Any:
    user = {"role": "user", "content": _asked(row)}
    return {"messages": [user, {"role": "assistant", "content": row["output"]}]}


def _sharegpt(row: Mapping[str, Any]) -> Any:
    human = {"from": "human", "value": _asked(row)}
    return {"conversations": [human, {"from": "gpt", "value": row["output"]}]}


_FORMS: dict[Format, Callable[[Mapping[str, Any]], Any]] = {
    "alpaca": _alpaca,
    "messages": _messages,
    "sharegpt": _sharegpt,
}
