"""The learning rate over a run, as a factor of its peak: a pure function of the step."""

import math

from xtune.recipe.models import Train


def learning_rate_factor(step: int, total_steps: int, train: Train) -> float:
    """The factor on the peak learning rate for the update number `step`, counted from 0.

    Linear warm-up first: update i of w warm-up updates uses (i + 1) / w, so that none is wasted at zero.
    Then cosine or linear decay towards `final_learning_rate_fraction`; `constant`; or `wsd` (warm-up,
    stable, decay: arXiv 2404.06395), which decays linearly over the last `decay_fraction` of all steps.
    The end of the decay lies just after the last update, which is therefore not wasted either. A run
    that `max_minutes` ends earlier follows the same curve and is cut off: the decay is not moved.

    Args:
        step: Zero-based number of the update.
        total_steps: Updates that the run plans for.
        train: The recipe's `train` section.
    """
    start = warmup_steps(total_steps, train)
    if step < start:
        return (step + 1) / start
    if train.schedule == "wsd":
        start = max(start, total_steps - round(train.decay_fraction * total_steps))
    if train.schedule == "constant" or step < start:
        return 1.0
    progress = min(1.0, (step - start) / max(1, total_steps - start))
    cosine = train.schedule == "cosine"
    remaining = 0.5 * (1.0 + math.cos(math.pi * progress)) if cosine else 1.0 - progress
    floor = train.final_learning_rate_fraction
    return floor + (1.0 - floor) * remaining


def warmup_steps(total_steps: int, train: Train) -> int:
    """Updates of linear warm-up: as given, or a fraction of all, rounded up; never all of them."""
    wanted = train.warmup_steps
    if wanted is None:
        wanted = math.ceil(train.warmup_fraction * total_steps)
    return max(0, min(wanted, total_steps - 1))
