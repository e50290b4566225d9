"""A computed peak taken apart: what of each item is there at that moment. Computes no bytes of its own."""

from collections.abc import Mapping

from xtune.memory import GIB, Prediction

STAYING = ("weights", "embeddings", "head", "adapter", "optimizer")


def peak_parts(predicted: Prediction) -> Mapping[str, int]:
    """Bytes by item, the items' sum the peak: what stays, and of what comes and goes as much as is there together.

    A layer and the loss are never at work at one time: the larger is. Beside a layer gradients come as checkpoints go, so that
    the smaller of them is counted only as far as the peak has room for it; autocast's copies are there before the loss, and what
    is to come of gradients is not. `other` is what every layer reads: rotary tables, masks, the
    tokens themselves. `start` and `load` are there by themselves, where attaching the adapter, or loading the base, takes more than any step.
    """
    items = predicted.items
    parts = {name: items[name] for name in STAYING}
    left = predicted.moving_bytes
    at_work = max(("layer", "loss"), key=lambda name: items[name])
    waiting: tuple[str, ...] = ("checkpoints", "casts", "gradients")
    if at_work == "layer":
        both = sorted(("gradients", "checkpoints"), key=lambda name: -items[name])
        waiting = (*both, "casts")
    order = (at_work, *waiting)
    if items["start"] == left:  # an adapter's first factors: there is no step yet
        order = ("start",)
    elif predicted.step_bytes < left:
        order = ("load",)
    moving = {}
    for name in order:
        moving[name] = min(items[name], left)
        left -= moving[name]
    for name in ("gradients", "checkpoints", "layer", "loss", "casts", "start", "load"):
        parts[name] = moving.get(name, 0)
    return {**parts, "other": left, "context": items["context"], "reserve": items["reserve"]}


MEANINGS: Mapping[str, str] = {
    "weights": "decoder layers",
    "embeddings": "the embedding table",
    "head": "the output matrix",
    "adapter": "what is trained beside the base",
    "gradients": "of what is trained",
    "checkpoints": "kept for the backward pass",
    "layer": "one layer at work",
    "loss": "logits of a chunk, and gradients",
    "casts": "16-bit copies of trained matrices",
    "start": "a matrix taken apart for the start",
    "load": "a matrix as it is read, quantised",
    "optimizer": "its states",
    "other": "rotary tables, masks, token ids",
    "context": "CUDA's own; on a CPU the program's",
    "reserve": "spare: 10 % of what moves, or more",
}
"""What each part is, in at most 34 characters: a line is 80 wide."""

BAR_WIDTH = 22


def part_lines(predicted: Prediction) -> list[str]:
    """The parts in GiB, each with a bar where those before it end, then the peak, for people."""
    rows, below, peak = [], 0, max(1, predicted.peak_bytes)
    for name, size in peak_parts(predicted).items():
        start, end = (round(BAR_WIDTH * each / peak) for each in (below, below + size))
        bar = " " * min(start, BAR_WIDTH - 1) + ("█" * (end - start) or "▏")
        below += size
        if size >= 2**19:
            rows.append(f"{name:<12}{size / GIB:8.3f}  {bar:<{BAR_WIDTH}}  {MEANINGS[name]}")
    return [*rows, f"{'peak':<12}{predicted.peak_bytes / GIB:8.3f}  GiB (computed)"]
