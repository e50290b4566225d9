"""The one door from a plan's data to encoded sequences with a report; the steps are in the files beside it."""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xtune.data.batch import Batches
from xtune.data.encode import Drop, Encoded, Encoder
from xtune.data.formats import Row, parse_file
from xtune.data.problems import Problems, refuse
from xtune.data.report import DataReport, FileReport, overlap, set_report
from xtune.data.sources import load
from xtune.data.template import read_template
from xtune.data.types import Conversation, Sequence
from xtune.plan import Plan
from xtune.recipe import Data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALLOWED_LOSS = 0.1
"""Part of the rows that may be lost unasked; more is a mistake in the recipe oftener than an intention."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Encoded data, ready for batches."""

    train: tuple[Sequence, ...]
    evaluate: tuple[Sequence, ...]
    report: DataReport


def prepare(plan: Plan, tokenizer: "PreTrainedTokenizerBase") -> Prepared:
    """Read, recognise, split and encode the data of a plan.

    Raises:
        DataError: Whatever is wrong with files, rows or the template; or too many rows are lost.
    """
    data = plan.recipe.data
    encoder = make_encoder(plan, tokenizer)
    train_rows, files = _rows([source.source for source in data.train], data)
    evaluate_rows: list[Row] = []
    if isinstance(data.evaluate, float):
        train_rows, evaluate_rows = split(train_rows, data.evaluate, plan.recipe.run.seed)
    elif data.evaluate is not None:
        evaluate_rows, more = _rows([source.source for source in data.evaluate], data)
        files += more
    train_rows = train_rows[: data.max_rows]
    train = encoder.encode_rows(train_rows)
    evaluate = encoder.encode_rows(evaluate_rows)
    for rows, encoded, field in (
        (train_rows, train, "data.train"),
        (evaluate_rows, evaluate, "data.evaluate"),
    ):
        _check_losses(rows, encoded, field, data)
    batches = _batches(plan, train.sequences)
    rendered = any(isinstance(row, Conversation) for row in train_rows)
    report = DataReport(
        files=tuple(files),
        train=set_report(len(train_rows), train),
        evaluate=set_report(len(evaluate_rows), evaluate) if evaluate_rows else None,
        packing=batches.packed,
        efficiency=batches.efficiency(),
        batch_rows=batches.rows,
        evaluation_rows_also_trained=overlap(train.sequences, evaluate.sequences),
        template=encoder.template.text() if rendered else "",
    )
    return Prepared(train=tuple(train.sequences), evaluate=tuple(evaluate.sequences), report=report)


def make_encoder(plan: Plan, tokenizer: "PreTrainedTokenizerBase") -> Encoder:
    """The encoder that a plan describes.

    Raises:
        DataError: The template file cannot be read, or the tokenizer is unfit.
    """
    data = plan.recipe.data
    decided = plan.over_length.value
    # A recipe's "auto" means one thing for texts and another for conversations, whichever stage it is.
    automatic = data.over_length == "auto" and decided in {"auto", "split", "drop"}
    return Encoder(
        tokenizer,
        template=read_template(data.template) if data.template is not None else None,
        train_on=data.train_on,
        prompt_loss_weight=data.prompt_loss_weight,
        max_tokens=data.max_tokens,
        over_length="auto" if automatic else decided,  # type: ignore[arg-type]
        stage=plan.recipe.stage,
    )


def split(rows: Many[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Hold out a fraction of the rows, at least one unless the fraction is 0; both parts keep the rows' order.

    Raises:
        DataError: Nothing would be left to train on.
    """
    if fraction == 0:
        return list(rows), []
    held_out = max(1, round(len(rows) * fraction))
    if held_out >= len(rows):
        refuse(
            f"`data.evaluate` is {fraction:g}, which takes {held_out} of {len(rows)} rows",
            allowed="rows must be left to train on",
        )
    chosen = np.zeros(len(rows), np.bool_)
    chosen[np.random.default_rng(seed).permutation(len(rows))[:held_out]] = True
    return (
        [row for row, out in zip(rows, chosen, strict=True) if not out],
        [row for row, out in zip(rows, chosen, strict=True) if out],
    )


def _rows(sources: Many[str], data: Data) -> tuple[list[Row], list[FileReport]]:
    problems = Problems()
    rows: list[Row] = []
    files = []
    for file in load(sources):
        format, found = parse_file(
            file.records, format=data.format, columns=data.columns, problems=problems
        )
        rows += found
        files.append(
            FileReport(
                name=file.name,
                format=format,
                rows=len(file.records),
                bytes=file.bytes,
                sha256=file.sha256,
            )
        )
    problems.raise_any()
    return rows, files


def _check_losses(rows: Many[Row], encoded: Encoded, field: str, data: Data) -> None:
    if not rows:
        return
    reasons = ", ".join(f"{reason}: {count}" for reason, count in _by_reason(encoded.drops).items())
    if not encoded.sequences:
        refuse(
            f"All {len(rows)} rows of `{field}` were dropped ({reasons})",
            where=f"such as {encoded.drops[0].origin}" if encoded.drops else "",
            allowed="some must be left",
            advice=_way_out(encoded.drops, data),
        )
    asked_for = data.over_length == "drop"
    lost = [
        drop for drop in encoded.drops if not (asked_for and drop.reason.startswith("longer than"))
    ]
    if len(lost) <= ALLOWED_LOSS * len(rows):
        return
    refuse(
        f"{len(lost)} of {len(rows)} rows of `{field}` would be lost ({reasons})",
        where=f"such as {lost[0].origin}",
        allowed=f"more than {ALLOWED_LOSS:.0%} are not dropped unasked",
        advice=_way_out(lost, data),
    )


def _way_out(lost: Many[Drop], data: Data) -> str:
    """What to do about rows that are lost, for each kind of loss there is."""
    # truncated rows are lost where their answer lies beyond the cut
    long = sum(drop.reason.startswith(("longer than", "no trained token among")) for drop in lost)
    ways = []
    if long:
        ways.append(
            f"raise `data.max_tokens` (now {data.max_tokens}), or accept what is done to long rows with "
            "`data.over_length: truncate` or `drop`"
        )
    if long < len(lost):
        ways.append("rows without an answer to train on must get one, or leave the file")
    return "; ".join(ways) + "." if ways else ""


def _by_reason(drops: Many[Drop]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for drop in drops:
        counts[drop.reason] = counts.get(drop.reason, 0) + 1
    return counts


def _batches(plan: Plan, sequences: Many[Sequence]) -> Batches:
    """The batches of one process, to tell how full they are."""
    return Batches(
        sequences,
        batch_size=plan.recipe.train.batch_size,
        micro_batch_size=plan.micro_batch_size.value,
        max_tokens=plan.recipe.data.max_tokens,
        packing=plan.packing.value,
        seed=plan.recipe.run.seed,
        pad_token_id=0,
    )
