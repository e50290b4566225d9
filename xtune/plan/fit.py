"""The search for the split, the memory techniques and the loss chunk that fit a machine, by computed bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, TypeAlias

from xtune.hardware import Hardware
from xtune.memory import (
    CONTEXT_BYTES,
    GIB,
    ModelShape,
    Prediction,
    Workload,
    host_items,
    predict,
)
from xtune.plan.room import lacks_room, on_disk
from xtune.plan.techniques import Techniques, ladder, step_seconds

LOGIT_BYTES = 2**28
"""float32 logits that exist at one time: 256 MiB, thousands of rows, enough to fill a matrix unit."""

SMALL_LOGIT_BYTES = 2**26
"""The same where memory is short: 64 MiB."""

CPU_TOKENS = 4096
"""Most tokens of a forward pass on a CPU: more rows share the reading of the weights, until caches overflow."""

BUSY_GPU_TOKENS = 4096
"""Tokens that keep a GPU busy. With so many at once, recomputing layers (a third more arithmetic) to fit still
more does not pay."""

TILE_TOKENS: Mapping[str, int] = {"cpu": 1024}
"""Tokens of a tile by device, 4096 elsewhere: enough that reading, or expanding, the weights does not tell."""

SMALL_TILE_TOKENS = 1024
"""The same where nothing fits with so many: of wide feed-forward blocks a tile is what takes most."""

PROCESS_BYTES = 2 * GIB
"""Host memory of a Python process with torch and its CUDA libraries; ours, rounded up."""

HOST_FRACTION = 0.9
"""Of the host's memory that processes and what waits there may fill; ours."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the device holds and what the person fixed; None: not fixed."""

    hardware: Hardware
    budget_bytes: int
    share: int
    """Sequences of an optimizer step on one device."""

    rows: int | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Techniques that are fixed, by the names of `Techniques`."""

    tile_tokens: int | None = None
    loss_chunk_tokens: int | None = None
    keep_checkpoints: int = 1
    """Newest checkpoints that stay on disk."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A workload with its computed bytes."""

    shape: ModelShape
    work: Workload
    predicted: Prediction
    host_bytes: int
    """Of one process: itself and what waits in host memory; on a CPU the peak and what waits."""

    host_items: Mapping[str, int] = field(default_factory=dict)
    """What of it waits there, and what loading takes beyond that."""

    fits: bool = True

    def is_within(self, limits: Limits) -> bool:
        """Whether device, host and disk have room for it."""
        return self.missing(limits) is None

    def missing(self, limits: Limits) -> str | None:
        """Which of the three has no room: "device", "host", "disk" or None."""
        if self.predicted.peak_bytes > limits.budget_bytes:
            return "device"
        if self.host_bytes > host_budget_bytes(self.work, limits):
            return "host"
        disks = limits.hardware.disks
        return "disk" if disks is not None and lacks_room(self.on_disk(limits), disks) else None

    def on_disk(self, limits: Limits) -> dict[str, int]:
        """Bytes that the run puts on disk, by item."""
        return on_disk(self.shape, self.work, limits.keep_checkpoints)


def host_budget_bytes(work: Workload, limits: Limits) -> float:
    """Host memory that one process may fill."""
    if limits.hardware.device == "cpu":
        return limits.budget_bytes
    return HOST_FRACTION * limits.hardware.ram_bytes / work.world_size


def has_room_for_process(hardware: Hardware, world_size: int) -> bool:
    """Whether host memory holds what no technique makes smaller: each process itself."""
    if hardware.device == "cpu":
        return True
    return world_size * PROCESS_BYTES <= HOST_FRACTION * hardware.ram_bytes


def budget_bytes(hardware: Hardware, world_size: int) -> int:
    """Memory of one device that a run may fill.

    What other programs hold is taken off for a single process only: of several, each must decide the same.
    """
    if hardware.device == "cpu":
        return hardware.ram_bytes // world_size
    if hardware.vram_free_bytes is None or world_size > 1:
        return hardware.vram_bytes
    # This process's context is already gone from the free bytes, and the prediction counts it.
    return min(hardware.vram_bytes, hardware.vram_free_bytes + CONTEXT_BYTES[hardware.device])


_Excess: TypeAlias = tuple[int, float, int]

_Failed: TypeAlias = tuple[_Excess, Workload, Techniques]
"""What does not fit: the least it takes (`_excess`), and what it is."""


def fit(shape: ModelShape, works: Iterable[Workload], limits: Limits) -> Fit:
    """The first of `works`, best first, that fits with some split, memory techniques and loss chunk.

    If none fits, the smallest of all that were tried, with `fits` false.
    """
    failed: list[_Failed] = []
    candidates = _candidates(shape, works, limits)
    for tile in _tiles(limits):
        cut = [replace(work, tile_tokens=tile) for work in candidates]
        rungs = _ladder(shape, cut, limits)
        for sets in rungs:
            for work in cut:
                found = _search(shape, work, sets, limits, failed)
                if found is not None:
                    left = (each for later in rungs for each in later)
                    return _without_recomputing(shape, found, cut, left, limits) or found
    return replace(_smallest(shape, failed, limits), fits=False)


def _ladder(
    shape: ModelShape, candidates: Sequence[Workload], limits: Limits
) -> Iterator[tuple[Techniques, ...]]:
    """The sets of techniques in their order; with small tiles those alone that have tiles."""
    small = candidates[0].tile_tokens != _tiles(limits)[0]
    for sets in ladder(shape, candidates[0], limits.hardware, _asked(limits)):
        kept = tuple(each for each in sets if each.frugal or not small)
        if kept:
            yield kept


def _without_recomputing(
    shape: ModelShape,
    found: Fit,
    candidates: Sequence[Workload],
    left: Iterable[Techniques],
    limits: Limits,
) -> Fit | None:
    """What is faster than computing layers again, where that was the first that fits: to put something else aside.

    With as many tokens a pass, or enough to keep a GPU busy.
    """
    if not found.work.gradient_checkpointing or limits.hardware.device == "cpu":
        return None
    took = step_seconds(shape, found.work, limits.hardware)
    busy = min(found.work.positions, BUSY_GPU_TOKENS)
    for techniques in left:
        if techniques.gradient_checkpointing or techniques.changes_numbers:
            continue
        for work in candidates:
            other = _most_rows(shape, work, techniques, limits)
            if other is None or other.work.positions < busy:
                continue
            if step_seconds(shape, other.work, limits.hardware) < took:
                return other
    return None


def longest(
    shape: ModelShape, works: Iterable[Workload], limits: Limits, *, step: int, most: int
) -> int:
    """The most tokens of a sequence, a multiple of `step` up to `most`, at which some of `works` fits; 0: none.

    Each workload and set of techniques is asked whether it holds one step more than the best so far, and only if so how much
    more: what fits at a length fits at every shorter one.
    """
    candidates = _candidates(shape, works, limits)
    if not has_room_for_process(limits.hardware, candidates[0].world_size):
        return 0
    ladders = ladder(shape, candidates[0], limits.hardware, _asked(limits))
    best = 0
    tiles = _tiles(limits)
    cut = [replace(work, tile_tokens=tile) for tile in reversed(tiles) for work in candidates]
    # the slowest first: they hold the most
    for techniques in reversed([each for sets in ladders for each in sets]):
        for work in cut if techniques.frugal else candidates:

            def holds(steps: int, work: Workload = work, each: Techniques = techniques) -> bool:
                longer = replace(work, tokens=steps * step)
                least = _least(shape, longer, each, limits)
                return least.is_within(limits) and bool(_most_rows(shape, longer, each, limits))

            best = _largest(holds, best, most // step)
    return step * best


def _largest(holds: Callable[[int], bool], known: int, most: int) -> int:
    """The largest number from `known` to `most` for which it holds, `known` if for none; if it holds it does for all below."""
    low, stride = known, 1
    while low + stride <= most and holds(low + stride):
        low, stride = low + stride, 2 * stride
    high = min(low + stride, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _candidates(shape: ModelShape, works: Iterable[Workload], limits: Limits) -> list[Workload]:
    return [
        replace(work, loss_chunk_tokens=chunk, tile_tokens=_tiles(limits)[0])
        for work in works
        for chunk in _chunks(shape, limits)
    ]


def _asked(limits: Limits) -> dict[str, Any]:
    asked = dict(limits.asked)
    if limits.rows is not None and limits.rows < limits.share:
        asked.setdefault("fused_step", False)  # it would be one pass
    return asked


def _excess(found: Fit, limits: Limits) -> _Excess:
    """What is smallest on the device, of those that fit there on the host, and of those on disk."""
    host = max(found.host_bytes, host_budget_bytes(found.work, limits))
    disk = 0 if limits.hardware.disks is None else sum(found.on_disk(limits).values())
    return max(found.predicted.peak_bytes, limits.budget_bytes), host, disk


def _tiles(limits: Limits) -> tuple[int, ...]:
    """Tokens of a frugal layer's tile to try: as asked, or as many as keep the device busy and then fewer."""
    if limits.tile_tokens is not None:
        return (limits.tile_tokens,)
    usual = TILE_TOKENS.get(limits.hardware.device, 4096)
    return (usual, SMALL_TILE_TOKENS) if usual > SMALL_TILE_TOKENS else (usual,)


def _search(
    shape: ModelShape,
    work: Workload,
    sets: Sequence[Techniques],
    limits: Limits,
    failed: list[_Failed],
) -> Fit | None:
    """The fastest setting of one workload that fits; what does not is noted in `failed`."""
    fitting: list[Fit] = []
    for techniques in sets:
        least = _least(shape, work, techniques, limits)
        found = _most_rows(shape, work, techniques, limits) if least.is_within(limits) else None
        if found is None:
            failed.append((_excess(least, limits), work, techniques))
            continue
        fitting.append(found)
        if _is_enough(fitting[0].work, limits):
            break
    return max(fitting, key=lambda each: each.work.rows) if fitting else None


def _most_rows(
    shape: ModelShape, work: Workload, techniques: Techniques, limits: Limits
) -> Fit | None:
    """The workload with as many rows a pass as fit, if any do."""
    for each in _splits(work, techniques, limits):
        found = computed(shape, each)
        if found.is_within(limits):
            return found
    return None


def _splits(work: Workload, techniques: Techniques, limits: Limits) -> Iterator[Workload]:
    """The workload in passes, fewest first; a step fused into the backward pass is one pass."""
    fused = techniques.fused_step
    for rows in (limits.share,) if fused else _row_counts(limits, work.tokens):
        yield techniques.applied(split(work, rows, limits.share))


def _least(shape: ModelShape, work: Workload, techniques: Techniques, limits: Limits) -> Fit:
    """What no split takes less than: one row a pass, and no gradients of an earlier one."""
    rows = limits.share if techniques.fused_step else 1
    return computed(shape, techniques.applied(replace(work, rows=rows, accumulation_steps=1)))


def _smallest(shape: ModelShape, failed: Sequence[_Failed], limits: Limits) -> Fit:
    """Of what does not fit the smallest, in the split in which it takes least: fewer rows a pass may need more gradients at once.

    Raises:
        ValueError: Nothing was tried.
    """
    best: Fit | None = None
    for least, work, techniques in sorted(failed, key=lambda each: each[0]):
        if best is not None and least >= _excess(best, limits):
            break
        splits = _splits(work, techniques, limits)
        found = min((computed(shape, each) for each in splits), key=_peak)
        if best is None or _excess(found, limits) < _excess(best, limits):
            best = found
    if best is None:
        raise ValueError("no set of techniques was tried")
    return best


def _peak(found: Fit) -> int:
    return found.predicted.peak_bytes


def _chunks(shape: ModelShape, limits: Limits) -> tuple[int, ...]:
    if limits.loss_chunk_tokens is not None:
        return (limits.loss_chunk_tokens,)
    return (loss_chunk(shape, LOGIT_BYTES), loss_chunk(shape, SMALL_LOGIT_BYTES))


def _is_enough(work: Workload, limits: Limits) -> bool:
    if limits.hardware.device == "cpu" or limits.rows is not None:
        return True
    return work.rows >= limits.share or work.positions >= BUSY_GPU_TOKENS


def _row_counts(limits: Limits, tokens: int) -> Iterator[int]:
    """Rows of a forward pass to try, most first: powers of two under the device's share."""
    if limits.rows is not None:
        yield limits.rows
        return
    most = limits.share
    if limits.hardware.device == "cpu":
        most = min(most, max(1, CPU_TOKENS // tokens))
    if most & (most - 1):
        yield most
    power = 1 << (most.bit_length() - 1)
    while power:
        yield power
        power //= 2


def split(work: Workload, most: int, share: int) -> Workload:
    """Cut a share into forward passes of at most `most` rows, as even as they go: 12 at most 8 is 6 + 6."""
    passes = ceil(share / most)
    return replace(work, rows=ceil(share / passes), accumulation_steps=passes)


def computed(shape: ModelShape, work: Workload) -> Fit:
    """A workload with its computed bytes, whether they fit or not."""
    predicted = predict(shape, work)
    own = predicted.peak_bytes if work.device == "cpu" else PROCESS_BYTES
    items = host_items(shape, work)
    host = own + sum(items.values())
    return Fit(shape=shape, work=work, predicted=predicted, host_bytes=host, host_items=items)


def loss_chunk(shape: ModelShape, logit_bytes: int) -> int:
    """Tokens whose float32 logits take at most so many bytes: a power of two, at least 16."""
    tokens = max(16, logit_bytes // (4 * shape.vocab))
    return 1 << (tokens.bit_length() - 1)
