"""How memory that ran out is told from other errors; what to do about it is decided elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""torch's CPU allocator raises a plain RuntimeError; this is in its text (c10/core/impl/alloc_cpu.cpp)."""

NO_ROOM = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory", "Cannot allocate memory")
"""What is said where torch's own allocator was not asked: by CUDA's libraries, and by the system when a file is mapped."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or the host had no room left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        each in text for each in (CPU_ALLOCATOR, *NO_ROOM)
    )


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
