"""The learning rate over a run, as a factor of its peak: a pure function of the step."""

import math

from xtune.recipe.models import Train


def learning_rate_factor(step: int, total_steps: int, train: Train) -> float:
    """The factor on the peak learning rate for the update number `step`, counted from 0.

    Linear warm-up first: update i of w warm-up updates uses (i + 1) / w, so that no update is wasted at
    zero and update w - 1 has the peak. Then cosine or linear decay to `final_learning_rate_fraction`,
    reached with the last update; `constant`; or `wsd` (warm-up, stable, decay: arXiv 2404.06395), which
    decays linearly over the last `decay_fraction` of all steps. A run that `max_minutes` ends earlier
    follows the same curve and is cut off: the decay is not stretched or moved.

    Args:
        step: Zero-based number of the update.
        total_steps: Updates that the run plans for.
        train: The recipe's `train` section.
    """
    warmup = warmup_steps(total_steps, train)
    if step < warmup:
        return (step + 1) / warmup
    last = total_steps - 1
    if train.schedule == "wsd":
        start = max(warmup, total_steps - round(train.decay_fraction * total_steps))
    else:
        start = warmup
    if train.schedule == "constant" or step < start:
        return 1.0
    # `start - 1` is the last update at the peak; the last update of all lies at progress 1.
    origin = start - 1
    progress = min(1.0, (step - origin) / max(1, last - origin))
    remaining = (
        0.5 * (1.0 + math.cos(math.pi * progress)) if train.schedule == "cosine" else 1.0 - progress
    )
    return (
        train.final_learning_rate_fraction + (1.0 - train.final_learning_rate_fraction) * remaining
    )


def warmup_steps(total_steps: int, train: Train) -> int:
    """Updates of linear warm-up: as given, or a fraction of all, rounded up; never all of them."""
    wanted = train.warmup_steps
    if wanted is None:
        wanted = math.ceil(train.warmup_fraction * total_steps)
    return max(0, min(wanted, total_steps - 1))
