"""Memory that ran out in spite of the plan: how its room comes free, and what is said."""

import gc
import traceback

import torch

from xtune.kernels.attention import forget_masks
from xtune.memory import GIB
from xtune.plan import Plan
from xtune.plan.further import changes
from xtune.train.reserve import held_here


def let_go(error: BaseException) -> None:
    """Free what the frames of an error hold: the activations of the step in which it was raised."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        # xtune's own copies are waited for where their memory is let go; what a model's own code holds is not known
        torch.cuda.synchronize()
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    collect()


def collect() -> None:
    """Free what nobody refers to any more, on the device as well."""
    forget_masks()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def describe(doing: str, before: Plan, after: Plan, kept: int) -> str:
    """What happened and how it goes on, in a sentence or two.

    Args:
        doing: When it was: "in step 4".
        before: The plan with which memory ran out.
        after: The next.
        kept: The last step that is saved; 0: none.
    """
    used = ""
    if (held := held_here()) is not None:
        used = (
            f" ({held.allocated / GIB:.2f} GiB in use at most, {held.reserved / GIB:.2f} GiB held)"
        )
    return (
        f"Memory ran out {doing}{used}. The run goes on after step {kept} with: "
        f"{', '.join(changes(before, after))}."
    )
