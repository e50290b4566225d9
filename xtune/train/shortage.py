"""Memory that ran out in spite of the plan: how it is told from other errors, and how its room comes free."""

import gc
import traceback

import torch

from xtune.kernels.attention import forget_masks
from xtune.kernels.no_room import is_out_of_memory
from xtune.memory import GIB
from xtune.plan import Plan
from xtune.plan.further import changes

__all__ = ["collect", "describe", "is_out_of_memory", "let_go"]


def let_go(error: BaseException) -> None:
    """Free what the frames of an error hold: the activations of the step in which it was raised."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()  # copies from and to what is freed here may be on their way
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


def describe(step: int, before: Plan, after: Plan, kept: int) -> str:
    """What happened and how it goes on, in a sentence or two."""
    used = ""
    if torch.cuda.is_available():
        allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        used = f" ({allocated / GIB:.2f} GiB in use at most, {reserved / GIB:.2f} GiB held)"
    return (
        f"Memory ran out in step {step}{used}. The run goes on after step {kept} with: "
        f"{', '.join(changes(before, after))}."
    )
