"""A CUDA device without a GPU, so that code for one runs on a processor: what is on which device is checked, and so are streams.

`pretend_cuda.cpp` makes tensors that say they are on `cuda:1`, whose memory is the processor's; an operation that mixes devices
raises, as torch's own would. Everything is computed at once, by the processor's kernels. Whether it *had* to be computed by then
is told from clocks: every stream has one, an event carries them from stream to stream, and two uses of the same bytes of which
neither is known to come first, one of them writing, are a race, as is room that is given back while another stream may use it.

Not shown: kernels that only CUDA has, their numbers, their scratch memory, speed.
"""

import contextlib
import ctypes
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from stream_clocks import HOST, Watch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_leaves

SOURCE = Path(__file__).with_suffix(".cpp")
DEVICE = 1
"""Not the first: a device that is named without its number is another one."""

WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "_unique2",
    "unique_dim",
    "equal",
    "masked_select",
    "is_nonzero",
)
"""Operations whose result the host has when they return."""


def compiler() -> str | None:
    """A C++ compiler, which this needs once; None: there is none, or nothing can be pretended beside torch's own CUDA."""
    usable = sys.platform == "linux" and torch.version.cuda is None
    return shutil.which("g++") if usable else None


def environment(races: Path, *, limit_bytes: int = 0) -> dict[str, str]:
    """Variables with which other Python processes, and theirs, have a pretended device.

    Args:
        races: Where the races found in them are written, a line each; it is not made without one.
        limit_bytes: What their allocators get as soon as they are limited at all; 0: what they ask for.
    """
    here = str(Path(__file__).with_name("pretended_site"))
    paths = [here, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(each for each in paths if each),
        "XTUNE_PRETENDED_RACES": str(races),
        "XTUNE_PRETENDED_LIMIT": str(limit_bytes),
    }


def _library() -> Any:
    place = Path(torch.__file__).parent
    text = SOURCE.read_bytes() + torch.__version__.encode()
    built = (
        Path(tempfile.gettempdir())
        / f"xtune-pretend-{os.getuid()}-{hashlib.sha256(text).hexdigest()[:16]}.so"
    )
    if not built.exists() or built.stat().st_uid != os.getuid():
        aside = built.with_suffix(f".{os.getpid()}")
        includes = [
            f"-I{place / 'include'}",
            f"-I{place / 'include' / 'torch' / 'csrc' / 'api' / 'include'}",
        ]
        links = [f"-L{place / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{place / 'lib'}"]
        abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"
        command = [
            "g++",
            "-O0",
            "-w",
            "-std=c++20",
            "-shared",
            "-fPIC",
            abi,
            *includes,
            str(SOURCE),
            *links,
        ]
        subprocess.run([*command, "-o", str(aside)], check=True)
        aside.replace(built)
    library = ctypes.CDLL(str(built))
    for name in ("pretend_allocated", "pretend_peak"):
        getattr(library, name).restype = ctypes.c_int64
    library.pretend_limit.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.pretend_pin.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    library.pretend_unpin.argtypes = [ctypes.c_size_t]
    return library


# streams

watch = Watch()
_local = threading.local()
_numbers = itertools.count(1)
_library_here: Any = None


def _device_number() -> int:
    return int(_library_here.pretend_device())


def _index_of(device: Any) -> int:
    if device is None:
        return _device_number()
    if isinstance(device, int):
        return device
    found = torch.device(device)
    return _device_number() if found.index is None else found.index


class Stream:
    """Stands for `torch.cuda.Stream`."""

    def __init__(self, device: Any = None, priority: int = 0, *, number: int | None = None) -> None:
        del priority
        self.device_index = _index_of(device)
        self.device = torch.device("cuda", self.device_index)
        if number is None:
            number = next(_numbers)
        self.name = f"stream {number} of cuda:{self.device_index}"

    def wait_stream(self, other: "Stream") -> None:
        with watch.lock:
            watch.clocks.join(self.name, watch.clocks.known[other.name])

    def wait_event(self, event: "Event") -> None:
        with watch.lock:
            watch.clocks.join(self.name, event.clock)

    def record_event(self, event: "Event | None" = None) -> "Event":
        made = Event() if event is None else event
        made.record(self)
        return made

    def synchronize(self) -> None:
        with watch.lock:
            watch.clocks.join(HOST, watch.clocks.known[self.name])

    def query(self) -> bool:
        return True


class Event:
    """Stands for `torch.cuda.Event`."""

    def __init__(self, **_: Any) -> None:
        self.clock: dict[Any, int] = {}

    def record(self, stream: Stream | None = None) -> None:
        with watch.lock:
            name = (stream or current_stream()).name
            watch.clocks.join(name, watch.clocks.known[HOST])
            self.clock = dict(watch.clocks.known[name])

    def wait(self, stream: Stream | None = None) -> None:
        (stream or current_stream()).wait_event(self)

    def synchronize(self) -> None:
        with watch.lock:
            watch.clocks.join(HOST, self.clock)

    def query(self) -> bool:
        return True


def current_stream(device: Any = None) -> Stream:
    """Stands for `torch.cuda.current_stream`; each thread and device has its own, at first the default one."""
    index = _index_of(device)
    found: Stream = getattr(_local, "streams", {}).get(index) or Stream(index, number=0)
    return found


@contextlib.contextmanager
def on_stream(stream: Stream | None) -> Iterator[None]:
    """Stands for `torch.cuda.stream`; the stream's device is the current one meanwhile."""
    if stream is None:
        yield
        return
    streams = _local.__dict__.setdefault("streams", {})
    before, device = streams.get(stream.device_index), _device_number()
    streams[stream.device_index] = stream
    _library_here.pretend_set_device(stream.device_index)
    try:
        yield
    finally:
        streams[stream.device_index] = before
        _library_here.pretend_set_device(device)


def _synchronize(device: Any = None) -> None:
    del device
    with watch.lock:
        for name in list(watch.clocks.known):
            watch.clocks.join(HOST, watch.clocks.known[name])


def _record_stream(tensor: torch.Tensor, stream: Stream) -> None:
    with watch.lock:
        memory = watch._memory_of(tensor, current_stream(tensor.device).name)
        assert memory is not None, "record_stream of a tensor that is not on the device"
        memory.recorded.add(stream.name)


class Noted(TorchDispatchMode):
    """Tells the clocks of every operation of this thread."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        pins = kwargs.pop("pin_memory", False)
        if func is torch.ops.aten._pin_memory.default:
            func, args, pins = torch.ops.aten.clone.default, args[:1], True
        result = func(*args, **kwargs)
        if pins and result.numel():
            _pin(result)
        there = next(
            (
                each.device
                for each in _tensors((args, kwargs, result))
                if each.device.type == "cuda"
            ),
            None,
        )
        if there is not None or watch.pinned:
            self._note(
                func, args, kwargs, result, HOST if there is None else current_stream(there).name
            )
        return result

    def _note(self, func: Any, args: Any, kwargs: Any, result: Any, who: Any) -> None:
        name = func._schema.name.removeprefix("aten::")
        if name in {"record_stream", "detach", "alias", "set_"} or func.is_view:
            return
        with watch.lock:
            clocks = watch.clocks
            clocks.tick(HOST)
            if who != HOST:
                clocks.join(who, clocks.known[HOST])  # it is asked for now, and begins later
                clocks.tick(who)
            written = {id(each) for each in _written(func, args, kwargs)}
            used, made = list(_tensors((args, kwargs))), list(_tensors(result))
            waits = who != HOST and self._host_waits(name, used, made, kwargs, args)
            for each in (
                () if name.startswith("new_") or name.endswith("_like") else used
            ):  # of which they want the shape alone
                watch.use(who, each, name, writes=id(each) in written)
            for each in made:
                if "empty" not in name and id(each) not in written:
                    watch.use(who, each, name, writes=True)
                elif each.device.type == "cuda":
                    watch._memory_of(each, who)
            if waits:
                clocks.join(HOST, clocks.known[who])

    def _host_waits(self, name: str, used: Any, made: Any, kwargs: Any, args: Any) -> bool:
        if name in WAITING:
            return True
        if name == "index" and any(t.dtype in {torch.bool, torch.uint8} for t in used[1:]):
            return True
        if name not in {"copy_", "_to_copy"}:
            return False
        both = [*used[:2], *made[:1]]
        kinds = {each.device.type for each in both}
        if len(kinds) == 1:
            return False
        asked = kwargs.get("non_blocking", args[2] if name == "copy_" and len(args) > 2 else False)
        at_home = [each for each in both if each.device.type == "cpu"]
        # a copy from or to memory that may be paged out has left it, or arrived, when it returns
        return not asked or not all(watch.is_pinned(each) for each in at_home)


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (each for each in tree_iter(values) if isinstance(each, torch.Tensor))


def _written(func: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = kwargs.get(argument.name, args[number] if number < len(args) else None)
            yield from tree_leaves(value)


# what torch.cuda is asked

TOTAL = 8 * 2**30


class _Runtime:
    """Stands for `torch.cuda.cudart()`."""

    cudaError = SimpleNamespace(success=0)  # noqa: N815 - CUDA's name

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802 - CUDA's name
        del flags
        with watch.lock:
            watch.pinned[address] = size
        _library_here.pretend_pin(address, size)
        return 0

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802 - CUDA's name
        _library_here.pretend_unpin(address)
        watch.unpin(address)
        return 0


def _pin(tensor: torch.Tensor) -> None:
    storage, address = tensor.untyped_storage(), tensor.data_ptr()
    _Runtime().cudaHostRegister(address, storage.nbytes(), 0)
    weakref.finalize(storage, _forget_pinned, address).atexit = False


def _forget_pinned(address: int) -> None:
    """Memory that torch pinned itself is not used again before the streams that copied are done with it."""
    with watch.lock:
        watch.memory.pop(address, None)
        watch.pinned.pop(address, None)
    _library_here.pretend_unpin(address)


def _cloned(clone: Any) -> Any:
    def cloned(storage: Any) -> Any:
        if storage.device.type != "cuda":
            return clone(storage)
        whole = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        return whole.clone().untyped_storage()

    return cloned


class _Sub(contextlib.AbstractContextManager[None]):
    """Stands for `torch.cuda.device`."""

    def __init__(self, device: Any) -> None:
        self._index = _index_of(device)

    def __enter__(self) -> None:
        self._before = _device_number()
        _library_here.pretend_set_device(self._index)

    def __exit__(self, *_: object) -> None:
        _library_here.pretend_set_device(self._before)


def _always(answer: Any) -> Any:
    def answering(*_: Any, **__: Any) -> Any:
        return answer

    return answering


def _patches(capability: tuple[int, int]) -> dict[str, Any]:
    library = _library_here
    properties = SimpleNamespace(
        name="pretended", total_memory=TOTAL, major=capability[0], minor=capability[1], multi_processor_count=1,
        gcnArchName="", warp_size=32,
    )  # fmt: skip

    def limit(fraction: float, device: Any = None) -> None:
        library.pretend_limit(_index_of(device), int(fraction * TOTAL) if fraction < 1 else 0)

    def allocated(device: Any = None) -> int:
        return int(library.pretend_allocated(_index_of(device)))

    def peak(device: Any = None) -> int:
        return int(library.pretend_peak(_index_of(device)))

    def reset(device: Any = None) -> None:
        library.pretend_reset_peak(_index_of(device))

    return {
        "is_available": _always(True),
        "is_initialized": _always(True),
        "_lazy_init": _always(None),
        "init": _always(None),
        "device_count": _always(2),
        "current_device": _device_number,
        "set_device": lambda device: library.pretend_set_device(_index_of(device)),
        "device": _Sub,
        "get_device_properties": _always(properties),
        "get_device_capability": _always(capability),
        "get_device_name": _always(properties.name),
        "mem_get_info": lambda device=None: (TOTAL - allocated(device), TOTAL),
        "is_bf16_supported": _always(True),
        "memory_allocated": allocated,
        "max_memory_allocated": peak,
        "memory_reserved": allocated,
        "max_memory_reserved": peak,
        "reset_peak_memory_stats": reset,
        "empty_cache": _always(None),
        "set_per_process_memory_fraction": limit,
        "synchronize": _synchronize,
        "Stream": Stream,
        "Event": Event,
        "stream": on_stream,
        "current_stream": current_stream,
        "default_stream": lambda device=None: Stream(device, number=0),
        "cudart": _Runtime,
        "get_rng_state": _always(torch.zeros(16, dtype=torch.uint8)),
        "set_rng_state": _always(None),
        "manual_seed_all": _always(None),
        "manual_seed": _always(None),
    }


@contextlib.contextmanager
def pretended_cuda(capability: tuple[int, int] = (8, 6)) -> Iterator[torch.device]:
    """While it lasts there is a CUDA device; every race found in it is in `watch.races`.

    Raises:
        RuntimeError: This torch was built with CUDA, beside which no device can be pretended.
    """
    global _library_here, watch
    if torch.version.cuda is not None:
        raise RuntimeError(
            f"a device can be pretended only to a torch that was built without CUDA, and this is {torch.__version__}"
        )
    import bitsandbytes  # noqa: F401 - before it would look for its library for CUDA

    if _library_here is None:
        _library_here = _library()
        _library_here.pretend_start()
    watch = Watch()
    before_run, before_record = threading.Thread.run, torch.Tensor.record_stream
    before_clone = torch.UntypedStorage.clone

    def run(thread: threading.Thread) -> None:
        with Noted():
            before_run(thread)

    names = _patches(capability)
    before = {name: getattr(torch.cuda, name) for name in names}
    try:
        for name, value in names.items():
            setattr(torch.cuda, name, value)
        threading.Thread.run = run  # type: ignore[method-assign]
        torch.Tensor.record_stream = _record_stream  # type: ignore[method-assign,assignment]
        torch.UntypedStorage.clone = _cloned(before_clone)
        _library_here.pretend_set_device(DEVICE)
        with Noted():
            yield torch.device("cuda", DEVICE)
    finally:
        _library_here.pretend_limit(DEVICE, 0)
        _library_here.pretend_set_device(0)
        for name, value in before.items():
            setattr(torch.cuda, name, value)
        threading.Thread.run = before_run  # type: ignore[method-assign]
        torch.Tensor.record_stream = before_record  # type: ignore[method-assign]
        torch.UntypedStorage.clone = before_clone
