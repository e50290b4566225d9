"""Streams of a pretended device that do their work late, early or in any order that the recorded waits allow.

On a pretended device (`pretend_cuda`) whatever is asked for is computed at once. Here it is put in line on its stream, and a
schedule says when it is done: a wait that is missing, room that is written while a copy still reads it, host memory that is read
before the copy into it is through, and room that is given back without `record_stream` while another stream uses it all give
other numbers, or are told by name. Nothing here knows the clocks of `stream_clocks`, so that each tells on the other.

What a task works on is settled when it is asked for, as it is on a GPU: addresses, shapes, numbers that are not tensors, and the
bytes of pageable host memory. Pinned memory is read and written when the task is done, whatever it holds then. Room of the device
that is given back has another owner at once: it is filled with what makes no number, behind all that its own stream was asked for
before and what `record_stream` named, and must hold just that at the end. Room that is taken without numbers had another owner: it
is filled likewise, in the line of the stream that took it. Host memory that was locked in place is gone when it is given back.
"""

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import pretend_cuda
import torch
from played_stage import Positions, Stage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_stage = Stage()


class Stream(pretend_cuda.Stream):
    """Stands for `torch.cuda.Stream`."""

    def wait_stream(self, other: Any) -> None:
        if _stage.heard():
            _stage.ask(self.name, None, {other.name: _stage.asked(other.name)})

    def wait_event(self, event: Any) -> None:
        if _stage.heard():
            _stage.ask(self.name, None, event.after)

    def record_event(self, event: Any = None) -> Any:
        made = Event() if event is None else event
        made.record(self)
        return made

    def synchronize(self) -> None:
        if _stage.heard():
            _stage.force(self.name, _stage.asked(self.name))


class Event:
    """Stands for `torch.cuda.Event`."""

    def __init__(self, **_: Any) -> None:
        self.after: Positions = {}

    def record(self, stream: Any = None) -> None:
        name = (stream or pretend_cuda.current_stream()).name
        if _stage.heard():
            with _stage.lock:
                self.after = {name: _stage.asked(name)}

    def synchronize(self) -> None:
        if _stage.heard():
            for stream, position in self.after.items():
                _stage.force(stream, position)


class _Runtime(pretend_cuda._Runtime):
    """Stands for `torch.cuda.cudart()`."""

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802 - CUDA's name
        _stage.hold(address, size)
        return super().cudaHostRegister(address, size, flags)

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802 - CUDA's name
        _stage.let_go(address)
        return super().cudaHostUnregister(address)


def _synchronize(device: Any = None) -> None:
    del device
    if _stage.heard():
        _stage.force_all()


def _record_stream(tensor: torch.Tensor, stream: Stream) -> None:
    if _stage.heard():
        _stage.record(tensor, stream.name)


class Played(TorchDispatchMode):
    """Puts every operation with a tensor of the device in line."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        device = _device_of(given, kwargs)
        at_once = (
            func.is_view
            or name in {"detach", "alias", "set_", "record_stream", "lift_fresh"}
            or "empty" in name
        )
        if device is None:
            return _now(func, args, kwargs)
        stream = pretend_cuda.current_stream(device).name
        if at_once:
            result = _now(func, args, kwargs)
            if "empty" in name:
                for each in _on_device(tree_leaves(result)):
                    _stage.note(each, stream, is_empty=True)
            return result
        with _stage.lock:
            if _host_waits(name, args, kwargs, given):
                _stage.force(stream, _stage.asked(stream))
                result = _now(func, args, kwargs)
                for each in _on_device((*given, *tree_leaves(result))):
                    _stage.note(each, stream)
                return result
            return _later(func, args, kwargs, given, device, stream)


def _now(func: Any, args: Any, kwargs: Any) -> Any:
    pins = kwargs.pop("pin_memory", False)
    if func is torch.ops.aten._pin_memory.default:
        func, args, pins = torch.ops.aten.clone.default, args[:1], True
    with torch._C._DisableTorchDispatch():
        result = func(*args, **kwargs)
        if pins and result.numel():
            pretend_cuda._pin(result)
    return result


def _on_device(values: Any) -> Iterator[torch.Tensor]:
    return (
        each
        for each in values
        if isinstance(each, torch.Tensor) and each.device.type == "cuda" and each.numel()
    )


def _device_of(given: list[torch.Tensor], kwargs: Any) -> torch.device | None:
    found = [each.device for each in given if each.device.type == "cuda"]
    asked = kwargs.get("device")
    if asked is not None and torch.device(asked).type == "cuda":
        found.append(torch.device(asked))
    return found[0] if found else None


def _host_waits(name: str, args: Any, kwargs: Any, given: list[torch.Tensor]) -> bool:
    """Whether an operation's result is there when it returns."""
    if name == "index":
        return any(each.dtype in {torch.bool, torch.uint8} for each in given[1:])
    if name not in {"copy_", "_to_copy"}:
        return name in pretend_cuda.WAITING
    goes = (
        given[0].device
        if name == "copy_"
        else torch.device(kwargs.get("device") or given[0].device)
    )
    comes = given[-1].device
    if goes.type == comes.type:
        return False
    asked = kwargs.get("non_blocking", args[2] if name == "copy_" and len(args) > 2 else False)
    # into memory that may be paged out a copy has arrived when it returns; out of it, its bytes have been taken
    return not asked or (goes.type == "cpu" and not (name == "copy_" and _is_pinned(given[0])))


def _is_pinned(tensor: torch.Tensor) -> bool:
    return pretend_cuda.watch.is_pinned(tensor)


def _later(
    func: Any, args: Any, kwargs: Any, given: list[torch.Tensor], device: torch.device, stream: str
) -> Any:
    """Make room for an operation's results, and put it in line."""
    written = {id(each) for each in pretend_cuda._written(func, args, kwargs)}
    with torch._C._DisableTorchDispatch():
        made = [] if _only_writes(func) else _shapes(func, args, kwargs, device)
        kept = {id(each): _kept(each, id(each) in written) for each in given}
        rooms = [torch.ops.pretend.memory_of(each) if each.numel() else None for each in made]
    for each in _on_device((*given, *made)):
        _stage.note(each, stream)

    def at_home(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return kept[id(value)]
        return torch.device("cpu") if isinstance(value, torch.device) else value

    own_args, own_kwargs = tree_map(at_home, args), tree_map(at_home, kwargs)

    def run() -> None:
        results = [
            each
            for each in tree_leaves(func(*own_args, **own_kwargs))
            if isinstance(each, torch.Tensor)
        ]
        for room, result in zip(rooms, results, strict=False):
            if room is not None:
                room.copy_(result)

    _stage.ask(stream, run)
    if _only_writes(func):
        return _given_again(func, args, kwargs)
    return (
        made[0]
        if len(func._schema.returns) == 1 and not _is_list(func)
        else _as_returned(func, made)
    )


def _only_writes(func: Any) -> bool:
    returns = func._schema.returns
    return all(each.alias_info is not None and each.alias_info.is_write for each in returns)


def _given_again(func: Any, args: Any, kwargs: Any) -> Any:
    back = list(pretend_cuda._written(func, args, kwargs))
    count = len(func._schema.returns)
    return None if count == 0 else back[0] if count == 1 else tuple(back[:count])


def _is_list(func: Any) -> bool:
    return "[]" in str(func._schema.returns[0].type) or "List" in str(func._schema.returns[0].type)


def _as_returned(func: Any, made: list[torch.Tensor]) -> Any:
    return list(made) if len(func._schema.returns) == 1 else tuple(made)


def _shapes(func: Any, args: Any, kwargs: Any, device: torch.device) -> list[torch.Tensor]:
    """Empty tensors of the device like those that an operation gives."""

    def like(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device="meta"
            )
        return torch.device("meta") if isinstance(value, torch.device) else value

    found = func(*tree_map(like, args), **tree_map(like, kwargs))
    return [
        torch.empty_strided(each.shape, each.stride(), dtype=each.dtype, device=device)
        for each in tree_leaves(found)
        if isinstance(each, torch.Tensor)
    ]


def _kept(tensor: torch.Tensor, written: bool) -> torch.Tensor:
    """What a task has of a tensor: its memory, or where that is pageable what it holds now."""
    if tensor.device.type == "cuda":
        if tensor.numel() == 0:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        own: torch.Tensor = torch.ops.pretend.memory_of(tensor)
        return own
    if not written and not _is_pinned(tensor):
        return tensor.detach().clone()
    borrowed = _stage.borrow(tensor)
    return tensor.detach() if borrowed is None else borrowed


@contextlib.contextmanager
def played(ignored: str | None = None) -> Iterator[Stage]:
    """While it lasts, on a device that is pretended already, streams do their work as `Stage.play` says.

    Random numbers of the device are drawn when a task is done: make what needs them before.

    Args:
        ignored: A place in the code, one of `Stage.sites`, whose waits do not count.
    """
    global _stage
    gc.collect()
    _stage = Stage(ignored)
    names = {"Stream": Stream, "Event": Event, "synchronize": _synchronize, "cudart": _Runtime}
    names["default_stream"] = lambda device=None: Stream(device, number=0)
    before = {name: getattr(torch.cuda, name) for name in names}
    own_stream, own_mode = pretend_cuda.Stream, pretend_cuda.Noted
    before_record, collects = torch.Tensor.record_stream, gc.isenabled()
    gc.disable()  # locked memory that is collected waits for everything, at no time that the code chose
    try:
        for name, value in names.items():
            setattr(torch.cuda, name, value)
        pretend_cuda.Stream = Stream  # type: ignore[misc]
        pretend_cuda.Noted = Played  # type: ignore[misc,assignment] # of threads that begin meanwhile
        torch.Tensor.record_stream = _record_stream  # type: ignore[method-assign,assignment]
        with Played():
            yield _stage
            _stage.end()
    finally:
        if collects:
            gc.enable()
        pretend_cuda.Stream, pretend_cuda.Noted = own_stream, own_mode  # type: ignore[misc]
        for name, value in before.items():
            setattr(torch.cuda, name, value)
        torch.Tensor.record_stream = before_record  # type: ignore[method-assign]
