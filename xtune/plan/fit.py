"""The search for the split, the memory techniques and the loss chunk that fit a device, by computed bytes.

Techniques are tried in the order of what they cost: nothing, layers computed again (a third more arithmetic), their
inputs in host memory (copies, mostly hidden), frugal layers (attention and its projections computed once more).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal, TypeAlias

from xtune.errors import HardwareError
from xtune.hardware import Hardware
from xtune.memory import (
    CONTEXT_BYTES,
    GIB,
    ModelShape,
    Prediction,
    Workload,
    host_checkpoint_bytes,
    predict,
)

LOGIT_BYTES = 2**28
"""float32 logits that exist at one time: 256 MiB, thousands of rows, enough to fill a matrix unit."""

SMALL_LOGIT_BYTES = 2**26
"""The same where memory is short: 64 MiB."""

CPU_TOKENS = 4096
"""Most tokens of a forward pass on a CPU: more rows share the reading of the weights, until caches overflow."""

BUSY_GPU_TOKENS = 4096
"""Tokens that keep a GPU busy. With so many at once, recomputing layers (a third more arithmetic) to fit still
more does not pay."""

SHORTEST_ADVISED_TOKENS = 256
"""Advice goes no lower with `data.max_tokens`."""


Place: TypeAlias = Literal["device", "host", "disk"]

TILE_TOKENS: Mapping[str, int] = {"cpu": 1024}
"""Tokens of a tile by device, 4096 elsewhere: enough that reading, or expanding, the weights does not tell."""

HOST_FRACTION = 0.6
"""Of the host's memory that checkpoints may fill; ours."""


@dataclass(frozen=True)
class Style:
    """How layers are run and where their inputs wait."""

    gradient_checkpointing: bool
    frugal: bool = False
    place: Place = "device"


QUICK = (Style(False), Style(True))
FRUGAL = Style(True, frugal=True)
SLOWER: tuple[Style, ...] = (
    Style(True, place="host"),
    FRUGAL,
    Style(True, frugal=True, place="host"),
    Style(True, place="disk"),
    Style(True, frugal=True, place="disk"),
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the device holds and what the person fixed; None: not fixed."""

    hardware: Hardware
    budget_bytes: int
    share: int
    """Sequences of an optimizer step on one device."""

    rows: int | None = None
    gradient_checkpointing: bool | None = None
    frugal: bool | None = None
    checkpoint_place: Place | None = None
    tile_tokens: int | None = None
    loss_chunk_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A workload with its computed bytes."""

    work: Workload
    predicted: Prediction
    fits: bool = True

    def require(self, shape: ModelShape, limits: Limits) -> None:
        """Nothing, if it fits.

        Raises:
            HardwareError: It does not; the message gives the computed bytes and the cheapest way out.
        """
        if not self.fits:
            raise HardwareError(
                _too_large(self, limits), advice=cheapest_change(shape, self, limits)
            )


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


def fit(shape: ModelShape, works: Iterable[Workload], limits: Limits) -> Fit:
    """The first of `works`, best first, that fits with some split, memory techniques and loss chunk.

    If none fits, the smallest of all that were tried, with `fits` false.
    """
    tried: list[Fit] = []
    candidates = [
        replace(
            work, loss_chunk_tokens=chunk, tile_tokens=limits.tile_tokens or tile_tokens(limits)
        )
        for work in works
        for chunk in _chunks(shape, limits)
    ]
    for styles in _ladder(shape, limits):
        for work in candidates:
            found = _search(shape, work, styles, limits)
            if found.predicted.peak_bytes <= limits.budget_bytes and _has_host_room(
                shape, found, limits
            ):
                return found
            tried.append(found)
    return replace(min(tried, key=_peak), fits=False)


def tile_tokens(limits: Limits) -> int:
    """Tokens of a frugal layer's tile where nobody asked for a number."""
    return TILE_TOKENS.get(limits.hardware.device, 4096)


def _ladder(shape: ModelShape, limits: Limits) -> Iterator[tuple[Style, ...]]:
    """The styles that may be chosen, quick ones together, then one by one what costs more.

    Nothing beyond checkpoints is chosen unasked for a model type whose layers were never tried, or on a CPU whose
    host memory is its own.
    """
    quick = tuple(style for style in QUICK if _allows(limits, style))
    if quick:
        yield quick
    unasked = limits.frugal is None and limits.checkpoint_place is None
    for style in SLOWER:
        away = style.place != "device" and limits.hardware.device == "cpu"
        if _allows(limits, style) and not (unasked and (away or not shape.known)):
            yield (style,)


def _allows(limits: Limits, style: Style) -> bool:
    asked = (limits.gradient_checkpointing, limits.frugal, limits.checkpoint_place)
    offered = (style.gradient_checkpointing, style.frugal, style.place)
    return all(one is None or one == other for one, other in zip(asked, offered, strict=True))


def _has_host_room(shape: ModelShape, found: Fit, limits: Limits) -> bool:
    if found.work.checkpoint_place != "host" or limits.checkpoint_place == "host":
        return True
    room = HOST_FRACTION * limits.hardware.ram_bytes / found.work.world_size
    return bool(host_checkpoint_bytes(shape, found.work) <= room)


def _search(shape: ModelShape, work: Workload, styles: Sequence[Style], limits: Limits) -> Fit:
    """The fastest setting of one workload that fits, or its smallest."""
    fitting: list[Fit] = []
    others: list[Fit] = []
    for style in styles:
        for rows in _row_counts(limits, work.tokens):
            found = _predict(shape, _split(work, rows, limits.share), style)
            if found.predicted.peak_bytes <= limits.budget_bytes:
                fitting.append(found)
                break
            others.append(found)
        if fitting and _is_enough(fitting[0].work, limits):
            break
    if fitting:
        return max(fitting, key=lambda each: each.work.rows)
    return min(others, key=_peak)


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


def _split(work: Workload, most: int, share: int) -> Workload:
    """Cut a share into forward passes of at most `most` rows, as even as they go: 12 at most 8 is 6 + 6."""
    passes = ceil(share / most)
    return replace(work, rows=ceil(share / passes), accumulation_steps=passes)


def _predict(shape: ModelShape, work: Workload, style: Style) -> Fit:
    work = replace(
        work,
        gradient_checkpointing=style.gradient_checkpointing,
        frugal=style.frugal,
        checkpoint_place=style.place,
    )
    return Fit(work=work, predicted=predict(shape, work))


def loss_chunk(shape: ModelShape, logit_bytes: int) -> int:
    """Tokens whose float32 logits take at most so many bytes: a power of two, at least 16."""
    tokens = max(16, logit_bytes // (4 * shape.vocab))
    return 1 << (tokens.bit_length() - 1)


def _too_large(smallest: Fit, limits: Limits) -> str:
    predicted = smallest.predicted
    largest = sorted(predicted.items.items(), key=lambda item: -item[1])[:3]
    parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in largest)
    place = "memory" if limits.hardware.device == "cpu" else f"{limits.hardware.device} memory"
    return (
        f"The plan does not fit: computed peak {predicted.peak_bytes / GIB:.2f} GiB "
        f"({predicted.peak_bytes} bytes; {parts} ...), and {limits.hardware.name} has "
        f"{limits.budget_bytes / GIB:.2f} GiB of {place} for it. Nothing was loaded."
    )


def cheapest_change(shape: ModelShape, smallest: Fit, limits: Limits) -> str:
    """The first change, cheapest first, with which the computed peak fits."""
    for text, work in _changes(smallest.work, limits):
        if predict(shape, work).peak_bytes <= limits.budget_bytes:
            return f"Cheapest way out: {text}."
    return "No single change of the recipe makes it fit; take a smaller model or a larger device."


def _changes(work: Workload, limits: Limits) -> Iterator[tuple[str, Workload]]:
    if work.rows > 1:
        work = _split(work, 1, limits.share)
        yield "`train.micro_batch_size=1`", work
    if not work.gradient_checkpointing:
        work = replace(work, gradient_checkpointing=True)
        yield "`memory.gradient_checkpointing=true`", work
    if not work.frugal:
        work = replace(work, frugal=True)
        yield "`memory.frugal_layers=true`", work
    if work.checkpoint_place == "device" and limits.hardware.device != "cpu":
        work = replace(work, checkpoint_place="host")
        yield "`memory.checkpoints=host`", work
    if work.loss_chunk_tokens > 64:
        yield "`memory.loss_chunk_tokens=64`", replace(work, loss_chunk_tokens=64)
    tokens = work.tokens // 2
    while tokens >= SHORTEST_ADVISED_TOKENS:
        yield f"`data.max_tokens={tokens}`", replace(work, tokens=tokens)
        tokens //= 2
    if work.method == "full":
        yield (
            "`method=lora`",
            replace(work, method="lora", rank=16, optimizer="adamw", weight_dtype="bfloat16"),
        )
    if work.method != "qlora":
        yield (
            "`method=qlora`",
            replace(
                work,
                method="qlora",
                quantization="nf4",
                rank=work.rank or 16,
                optimizer="adamw",
                weight_dtype="bfloat16",
            ),
        )
