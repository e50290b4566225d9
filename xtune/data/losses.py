"""Refuses data of which too much would be lost, and says what to do about it; it drops nothing itself."""

from collections.abc import Mapping

from xtune.data.problems import refuse
from xtune.recipe import Data

Losses = Mapping[str, tuple[int, tuple[str, ...]]]
"""Reason to the number of rows and some of them."""


def check_losses(read: int, kept: int, dropped: Losses, field: str, data: Data) -> None:
    """Refuse to go on if nothing is left, or more was lost than `data.max_dropped` allows.

    Rows that `data.over_length: drop` leaves out are lost on demand, and do not count.

    Raises:
        DataError: Says how many, why, and the ways out.
    """
    if not read:
        return
    reasons = ", ".join(f"{reason}: {count}" for reason, (count, _) in dropped.items())
    if not kept:
        refuse(
            f"All {read} rows of `{field}` were dropped ({reasons})",
            where=_example(dropped),
            allowed="some must be left",
            advice=_way_out(dropped, data),
        )
    asked_for = data.over_length == "drop"
    lost = {
        reason: found
        for reason, found in dropped.items()
        if not (asked_for and reason.startswith("longer than"))
    }
    count = sum(rows for rows, _ in lost.values())
    if count <= data.max_dropped * read:
        return
    refuse(
        f"{count} of {read} rows of `{field}` would be lost ({reasons})",
        where=_example(lost),
        allowed=f"`data.max_dropped` is {data.max_dropped:g}: more than {data.max_dropped:.0%} are not dropped unasked",
        advice=_way_out(lost, data),
    )


def _example(lost: Losses) -> str:
    return next((f"such as {examples[0]}" for _, examples in lost.values() if examples), "")


def _way_out(lost: Losses, data: Data) -> str:
    """What to do about rows that are lost, for each kind of loss there is."""
    # truncated rows are lost where their answer lies beyond the cut
    long = [reason.startswith(("longer than", "no trained token among")) for reason in lost]
    ways = []
    if any(long):
        ways.append(
            f"raise `data.max_tokens` (now {data.max_tokens}), or accept what is done to long rows with "
            "`data.over_length: truncate` or `drop`"
        )
    if not all(long):
        ways.append("rows without an answer to train on must get one, or leave the file")
    return "; ".join(ways) + "." if ways else ""
