"""What to say of a plan that does not fit: how large it is, and the cheapest change with which it would fit."""

from collections.abc import Iterator
from dataclasses import replace

from xtune.errors import HardwareError
from xtune.memory import GIB, ModelShape, Workload
from xtune.plan.fit import Fit, Limits, computed, host_budget_bytes, split

SHORTEST_ADVISED_TOKENS = 256
"""Advice goes no lower with `data.max_tokens`."""


def require_fit(shape: ModelShape, found: Fit, limits: Limits) -> None:
    """Nothing, if it fits.

    Raises:
        HardwareError: It does not; the message gives the computed bytes and the cheapest way out.
    """
    if not found.fits:
        advice = cheapest_change(shape, found, limits)
        raise HardwareError(_too_large(found, limits), advice=advice)


def _too_large(smallest: Fit, limits: Limits) -> str:
    predicted = smallest.predicted
    if smallest.missing(limits) == "host":
        room = host_budget_bytes(smallest.work, limits)
        return (
            f"The plan does not fit: it needs {smallest.host_bytes / GIB:.2f} GiB of host memory (computed), and "
            f"{room / GIB:.2f} GiB are there for it. Nothing was loaded."
        )
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
        if computed(shape, work).is_within(limits):
            return f"Cheapest way out: {text}."
    return "No single change of the recipe makes it fit; take a smaller model or a larger device."


def _changes(work: Workload, limits: Limits) -> Iterator[tuple[str, Workload]]:
    if work.rows > 1:
        work = split(work, 1, limits.share)
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
