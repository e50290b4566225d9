"""Refuses data of which too much would be lost, and says what to do about it; it drops nothing itself."""

from collections.abc import Mapping, Sequence

from xtune.data.problems import Problems, refuse
from xtune.recipe import Data

Losses = Mapping[str, tuple[int, tuple[str, ...]]]
"""Reason to the number of rows and some of them."""


_TOO_LONG = ("longer than", "no trained token among", "no turn with an answer within")
"""Beginnings of the reasons that `data.max_tokens` has a part in: truncated rows are lost where their
answer lies beyond the cut, split ones where no turn is short enough."""


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


def check_shares(data: Data, kept: Sequence[int]) -> list[tuple[float, float]]:
    """The weights of the sources, if there are rows to draw by them.

    Args:
        data: What the recipe says.
        kept: Sequences of each source.

    Raises:
        DataError: All weights are 0 at the beginning or at the end, or a source with a weight is empty.
    """
    shares = [source.weight or (0.0, 0.0) for source in data.train]
    problems = Problems()
    for side, when in ((0, "beginning"), (1, "end")):
        if not any(share[side] for share in shares):
            problems.add(
                f"The weights of all sources are 0 at the {when} of training",
                where="data.train",
                allowed="at least one must be above 0",
            )
    for source, share, count in zip(data.train, shares, kept, strict=True):
        if not count and any(share):
            problems.add(
                f"`{source.source}` has a weight, and none of its rows is left to train on",
                where="data.train",
                advice="mend the file, or take the source out.",
            )
    problems.raise_any()
    return shares


def _example(lost: Losses) -> str:
    return next((f"such as {examples[0]}" for _, examples in lost.values() if examples), "")


def _way_out(lost: Losses, data: Data) -> str:
    """What to do about rows that are lost, for each kind of loss there is."""
    long = [reason.startswith(_TOO_LONG) for reason in lost]
    ways = []
    if any(long):
        raised = f"raise `data.max_tokens` (now {data.max_tokens})"
        others = "or accept what is done to long rows with `data.over_length: truncate` or `drop`"
        accepted = data.over_length in {"truncate", "drop"}
        ways.append(raised if accepted else f"{raised}, {others}")
    if not all(long):
        ways.append("rows without an answer to train on must get one, or leave the file")
    return "; ".join(ways) + "." if ways else ""
