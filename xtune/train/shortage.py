"""Memory that ran out in spite of the plan: how it is told from other errors, and how its room comes free."""

import gc
import traceback
from typing import Literal

import torch

from xtune.kernels.attention import forget_masks
from xtune.memory import GIB
from xtune.plan import Plan
from xtune.plan.further import changes
from xtune.train.reserve import held_here

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""torch's CPU allocator raises a plain RuntimeError; this is in its text (c10/core/impl/alloc_cpu.cpp)."""

HOST_ROOM = (CPU_ALLOCATOR, "Cannot allocate memory")
"""What is said of host memory; the second by the system, when a file is mapped."""

DEVICE_ROOM = (
    "out of memory",  # of CUDA, its driver, HIP, MPS and XPU, each in a sentence of its own
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "cublasCreate",  # a handle is made on the first product, and without room is "not initialized"
    "OUT_OF_DEVICE_MEMORY",
)
"""What is said of a device where torch's own allocator was not asked, in a plain RuntimeError."""


def what_ran_out(error: BaseException) -> Literal["device", "host"] | None:
    """Whose memory an error says had no room left; None: it is about something else."""
    if isinstance(error, MemoryError):
        return "host"
    if isinstance(error, torch.OutOfMemoryError):
        return "device"
    text = str(error)
    if not isinstance(error, RuntimeError):
        return None
    if any(each in text for each in HOST_ROOM):
        return "host"
    return "device" if any(each in text for each in DEVICE_ROOM) else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or the host had no room left."""
    return what_ran_out(error) is not None


def let_go(error: BaseException) -> None:
    """Free what the frames of an error hold: the activations of the step in which it was raised."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
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
    if (held := held_here()) is not None:
        used = (
            f" ({held.allocated / GIB:.2f} GiB in use at most, {held.reserved / GIB:.2f} GiB held)"
        )
    return (
        f"Memory ran out in step {step}{used}. The run goes on after step {kept} with: "
        f"{', '.join(changes(before, after))}."
    )
