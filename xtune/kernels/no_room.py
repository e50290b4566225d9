"""How memory that ran out is told from other errors; what to do about it is decided elsewhere."""

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
