"""What a run puts on disk, by item, and whether there is room for it; computed."""

from collections.abc import Mapping

from xtune.hardware import Disks
from xtune.memory import ModelShape, Workload, disk_items
from xtune.memory.resident import trained_parameters
from xtune.memory.states import stored_state_bytes
from xtune.recipe.training import Train
from xtune.shown import size_text

STORED_BYTES = 2
"""Bytes of a weight in a model's own files: published ones are in 16 bits."""

BESIDES = 2
"""Checkpoints beside the newest that are kept: the best one, and the one that is being written (`xtune.run.checkpoint`)."""


USUAL_SAVES = 11
"""Checkpoints of a run that is saved after every tenth of it, and at its end."""


def kept_checkpoints(train: Train) -> int:
    """How many of the newest checkpoints there can be: as many as are to stay, if so many are ever written."""
    written = [train.keep_checkpoints]
    if train.max_steps is not None:
        written.append(train.max_steps)
    if train.save_every is None and train.evaluate_every is None:
        written.append(USUAL_SAVES)
    return min(written)


def on_disk(shape: ModelShape, work: Workload, keep_checkpoints: int) -> dict[str, int]:
    """Bytes on disk at most: the model's own files, layers and their inputs that wait there, checkpoints, the result.

    A checkpoint has the trained weights and the optimizer's states, wherever these are; states on the host are those of
    float32 numbers, and of 16-bit weights the lower halves are there as well.
    """
    own = work.trained_bytes
    trained = trained_parameters(shape, work)
    checkpoint = own * trained + stored_state_bytes(shape, work)
    return {
        "model": STORED_BYTES * shape.parameters,
        **disk_items(shape, work),
        "run": (keep_checkpoints + BESIDES) * checkpoint + own * trained,
    }


def lacks_room(items: Mapping[str, int], disks: Disks) -> bool:
    """Whether some disk cannot hold what it should.

    Args:
        items: As `on_disk` names them; "base" goes to the cache folder, "checkpoints" (layers' inputs) to the run's.
        disks: What there is.
    """
    layers, run, model = asked_of(items, disks)
    if run > disks.run_bytes:
        return True
    return model + layers + (run if disks.together else 0) > disks.cache_bytes


def asked_of(items: Mapping[str, int], disks: Disks) -> tuple[int, int, int]:
    """Bytes for the cache folder, for the run's folder, and for the model's own files, where these must find room."""
    run = items.get("checkpoints", 0) + items["run"]
    return items.get("base", 0), run, items["model"] if disks.holds_model else 0


def too_much(items: Mapping[str, int], disks: Disks) -> str:
    """What has no room on disk, as a clause."""
    layers, run, model = asked_of(items, disks)
    parts = {
        "the model's own files": model,
        "layers of the base": layers,
        "layers' inputs": items.get("checkpoints", 0),
        "checkpoints and the result": items["run"],
    }
    said = ", ".join(f"{name} {size_text(size)}" for name, size in parts.items() if size)
    if disks.together or run > disks.run_bytes:
        needed = run + (model + layers if disks.together else 0)
        room = min(disks.cache_bytes, disks.run_bytes) if disks.together else disks.run_bytes
        place = "there" if disks.together else "there, where the run's folder is"
    else:
        needed, room, place = model + layers, disks.cache_bytes, "in the cache folder"
    return f"it needs {size_text(needed)} of disk (computed; {said}), and {size_text(room)} are free {place}"
