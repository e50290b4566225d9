"""Memory of the C library's allocator, given back to the system. It frees nothing that is in use."""

import ctypes
import sys


def give_back_memory() -> None:
    """Return to the system what freed tensors took; glibc's allocator keeps it, up to a whole model's."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
