"""How memory that ran out is told from other errors; what to do about it is decided elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

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


@contextmanager
def telling_of_no_room() -> Iterator[None]:
    """Raise torch's error for memory that ran out wherever it did, on the host too.

    Raises:
        torch.OutOfMemoryError: There was no room.
        RuntimeError: Anything else, as it was.
        MemoryError: Never; it is told as the first.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, torch.OutOfMemoryError) or not is_out_of_memory(error):
            raise
        raise torch.OutOfMemoryError(" ".join(str(error).split())) from None
