"""What of a training step waits in host memory or on disk, by item, and what of it crosses to the device; computed."""

from dataclasses import replace

from xtune.memory.predict import Workload, layer_weight_bytes, optimizer_bytes, weight_bytes
from xtune.memory.shape import ModelShape


def host_items(shape: ModelShape, work: Workload) -> dict[str, int]:
    """Bytes in host memory by item: what the techniques put there, not the process itself.

    The base as it is held (quantised or not), embedding table and head in the type of the weights, the inputs of all
    layers, and the states of an optimizer that is paged or on the host. A full fine-tune with its layers on the host
    has their gradients there too, of two layers at a time.
    """
    table = shape.embedding_parameters * work.weight_bytes
    shared = shape.tied and work.embeddings_place == "host"
    items = {
        "base": weight_bytes(shape, work) if work.base_place == "host" else 0,
        "embeddings": table if work.embeddings_place == "host" else 0,
        "head": table if work.head_form == "host" and not shared else 0,
        "checkpoints": checkpoint_bytes(shape, work) if work.checkpoint_place == "host" else 0,
        "optimizer": _host_states(shape, work),
        "gradients": _host_gradients(shape, work),
    }
    return {name: size for name, size in items.items() if size}


def disk_items(shape: ModelShape, work: Workload) -> dict[str, int]:
    """Bytes on disk by item: the base in the form in which it is mapped, and the inputs of all layers."""
    items = {
        "base": weight_bytes(shape, work) if work.base_place == "disk" else 0,
        "checkpoints": checkpoint_bytes(shape, work) if work.checkpoint_place == "disk" else 0,
    }
    return {name: size for name, size in items.items() if size}


def checkpoint_bytes(shape: ModelShape, work: Workload) -> int:
    """The inputs of all layers, n h w each, where layers are computed again."""
    if not work.gradient_checkpointing:
        return 0
    return shape.layers * work.positions * shape.hidden * work.weight_bytes


def _host_states(shape: ModelShape, work: Workload) -> int:
    paged = work.optimizer.startswith("paged") and work.device != "cpu"
    if not paged and work.states_place == "device":
        return 0
    name = work.optimizer.removeprefix("paged_")
    return optimizer_bytes(shape, replace(work, optimizer=name, states_place="device"))


def _host_gradients(shape: ModelShape, work: Workload) -> int:
    if work.method != "full" or work.base_place == "device":
        return 0
    return 2 * layer_weight_bytes(shape, work)
