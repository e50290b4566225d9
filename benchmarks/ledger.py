"""Follows every storage that operations make, from its birth to its end; makes no models and takes no steps."""

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

BLOCK = 512
"""Bytes that CUDA's caching allocator rounds every request up to."""


def _flash_backward(arguments: tuple[Any, ...]) -> int:
    """What torch's flash attention allocates for itself on a GPU.

    Float32 sums of the queries' gradients and one number a query; where key heads are shared, the gradients of keys
    and values for every query head, before they are added up.
    """
    query, key = arguments[1], arguments[2]
    rows, heads, tokens, width = query.shape
    padded = -(-tokens // 128) * 128
    sums = 4 * rows * heads * padded * (-(-width // 32) * 32 + 1)
    shared = 2 * query.element_size() * rows * heads * key.shape[2] * width
    return int(sums + (shared if key.shape[1] != heads else 0))


def _log_sum(arguments: tuple[Any, ...]) -> int:
    """The exponentials of the differences from the largest."""
    return int(arguments[0].numel() * arguments[0].element_size())


def _decomposed(arguments: tuple[Any, ...]) -> int:
    """A copy of the matrix, which cuSOLVER overwrites as it decomposes it."""
    return int(arguments[0].numel() * arguments[0].element_size())


SCRATCH: Mapping[str, Callable[[tuple[Any, ...]], int]] = {
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _flash_backward,
    "aten::logsumexp": _log_sum,
    "aten::_linalg_svd": _decomposed,
}


def _summed_up(func: Any, args: tuple[Any, ...]) -> torch.Tensor | None:
    """The gradient that autograd adds another one to, in place, where several of one tensor come together.

    Without a dispatch mode torch writes the sum over the one that waits, if nothing else has its memory (`accumulate` in torch's
    input_buffer.cpp). Beside a mode like this one it never does: such a sum would be one storage too many here.
    """
    if func is not torch.ops.aten.add.Tensor or not _by_autograd():
        return None
    return args[0] if _is_alone(args[0]) else None


def _by_autograd() -> bool:
    """Whether autograd itself asks for an operation, and no function of ours within a backward pass."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_name != "__torch_dispatch__":
        frame = frame.f_back
    # torch puts its own wrappers around a mode's function
    while frame.f_back is not None and frame.f_code.co_name in {
        "__torch_dispatch__",
        "_fn",
        "inner",
    }:
        frame = frame.f_back
    return frame.f_code.co_name == "_engine_run_backward"


def _is_alone(tensor: torch.Tensor) -> bool:
    """Whether autograd alone has a tensor and its storage; what is subtracted are the references that looking at them makes."""
    storage = tensor.untyped_storage()
    if tensor.numel() * tensor.element_size() != storage.nbytes():
        return False
    by_tensors = torch._C._storage_Use_Count(storage._cdata) - 1
    by_autograd = tensor._use_count() - 3
    by_python = sys.getrefcount(tensor) - 3
    return max(by_tensors, by_autograd, by_python) <= 1


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all living storages while operations run."""

    def __init__(self, *, block: int = 1, scratch: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._block, self._scratch = block, scratch
        self._living: dict[int, tuple[int, str]] = {}
        self._counts = True
        self.bytes = 0
        self.peak = 0
        self.peak_at = ""
        self.made_by: Counter[str] = Counter()
        """Living bytes by the operation and shape that made them."""

        self.at_peak: Counter[str] = Counter()

    @contextmanager
    def host(self) -> Iterator[None]:
        """What is made meanwhile is not on the device."""
        self._counts = False
        try:
            yield
        finally:
            self._counts = True

    def enter(self, tensor: torch.Tensor, name: str) -> None:
        """Follow a tensor's storage, if it is new."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._living:
            return
        size = -(-storage.nbytes() // self._block) * self._block if self._counts else 0
        self._living[key] = (size, name)
        self.bytes += size
        self.made_by[name] += size
        weakref.finalize(storage, self._leave, key).atexit = False

    def _pass_on(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """What one storage was counted as is the other's."""
        size, name = self._living[before.untyped_storage()._cdata]
        self._living[before.untyped_storage()._cdata] = (0, name)
        key = after.untyped_storage()._cdata
        self._living[key] = (size, name)
        weakref.finalize(after.untyped_storage(), self._leave, key).atexit = False

    def _leave(self, key: int) -> None:
        size, name = self._living.pop(key)
        self.bytes -= size
        self.made_by[name] -= size

    def reset(self) -> None:
        """Forget the peak so far."""
        self.peak = self.bytes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and see what it leaves."""
        written = _summed_up(func, args)
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        if written is not None:
            self._pass_on(written, result)

        def see(tensor: torch.Tensor) -> torch.Tensor:
            shape = "x".join(map(str, tensor.shape))
            self.enter(tensor, f"{name} {str(tensor.dtype).removeprefix('torch.')} {shape}")
            return tensor

        tree_map_only(torch.Tensor, see, result)
        extra = SCRATCH[name](args) if self._scratch and name in SCRATCH else 0
        if self.bytes + extra > self.peak:
            self.peak, self.peak_at = self.bytes + extra, name
            self.at_peak = +self.made_by
            if extra:
                self.at_peak[f"inside {name}"] = extra
        return result
