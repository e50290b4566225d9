"""Where training first leaves its path while the learning rate rises: a spike of the gradient norm, or a loss that climbs. Numbers only."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NORM_STEPS = 12
"""Steps from which on a median of gradient norms means something."""

NORM_TIMES = 3.0
"""A spike is a norm this many times the running median, or that of the first steps where the running one has fallen below
it: where nearly everything is learned, one row makes ten times the norm of the batch before, which is no spike."""

LOSS_STEPS = 5
"""Steps whose mean loss is compared with the lowest such mean before."""

LEARNED_SHARE, LOST_SHARE = 0.2, 0.5
"""A loss climbs when half of what was learned is lost again, and a fifth of the first loss had been learned: means of five
steps of small batches differ by a twentieth or two of themselves."""

LOSS_TIMES = 1.5
"""Or when it is this many times the first one, whatever was learned."""


@dataclass(frozen=True)
class Spike:
    """What happened first, and at which place of the sequence."""

    place: int
    """Index of the step, from 0."""

    kind: Literal["norm", "loss"]
    times: float
    """Norm over the median before it; or loss over the lowest mean before it."""


def first_spike(norms: Sequence[float | None], losses: Sequence[float]) -> Spike | None:
    """The first step whose gradient norm spikes, or whose loss has climbed; None if neither happens.

    Args:
        norms: Gradient norm of each step before clipping; None where it was not finite, which is a spike.
        losses: Loss of each step.
    """
    for place in range(len(norms)):
        times = _norm_times(norms, place)
        if times is not None and times > NORM_TIMES:
            return Spike(place, "norm", times)
        times = _loss_times(losses, place)
        if times is not None:
            return Spike(place, "loss", times)
    return None


def _norm_times(norms: Sequence[float | None], place: int) -> float | None:
    before = [norm for norm in norms[:place] if norm is not None]
    if len(before) < NORM_STEPS:
        return None
    norm = norms[place]
    usual = max(statistics.median(before), statistics.median(before[:NORM_STEPS]), 1e-12)
    return float("inf") if norm is None else norm / usual


def _loss_times(losses: Sequence[float], place: int) -> float | None:
    """How many times the lowest mean the mean around here is, where that is a climb; None where not."""
    if place < 2 * LOSS_STEPS:
        return None
    seen = losses[: place + 1]
    means = [
        statistics.fmean(seen[end - LOSS_STEPS : end]) for end in range(LOSS_STEPS, len(seen) + 1)
    ]
    first, lowest, last = means[0], min(means), means[-1]
    learned = first - lowest
    lost = learned > LEARNED_SHARE * first and last > lowest + LOST_SHARE * learned
    return last / max(lowest, 1e-12) if lost or last > LOSS_TIMES * first else None
