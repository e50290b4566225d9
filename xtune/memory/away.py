"""What of a training step waits in host memory or on disk, by item, and what of it crosses to the device; computed."""

from dataclasses import replace

from xtune.memory.loading import host_loading_bytes
from xtune.memory.resident import (
    adapter_bytes,
    crossing_bytes,
    largest_matrix,
    layer_weight_bytes,
    trained_parameters,
    weight_bytes,
)
from xtune.memory.shape import ModelShape
from xtune.memory.start import changes_base
from xtune.memory.states import paged_bytes, state_bytes
from xtune.memory.workload import Workload


def host_items(shape: ModelShape, work: Workload) -> dict[str, int]:
    """Bytes in host memory by item: what the techniques put there, not the process itself.

    The base as it is held (quantised or not), embedding table and head in the type of the weights, the inputs of all
    layers, and the states of an optimizer that is paged or on the host. A base on disk passes through pinned memory for
    two layers. Of factors that begin with the base's own directions a copy is kept, to be taken off again at the end. `loading` is what
    loading takes beyond all that, before the first step.
    """
    table = shape.embedding_parameters * work.weight_bytes
    shared = shape.tied and work.embeddings_place == "host"
    items = {
        "base": _host_base(shape, work),
        "embeddings": table if work.embeddings_place == "host" else 0,
        "head": table if work.head_form == "host" and not shared else 0,
        "checkpoints": checkpoint_bytes(shape, work) if work.checkpoint_place == "host" else 0,
        "optimizer": _host_states(shape, work),
        "start": adapter_bytes(shape, work) if changes_base(work) else 0,
    }
    items["loading"] = max(0, host_loading_bytes(shape, work) - sum(items.values()))
    return {name: size for name, size in items.items() if size}


def _host_base(shape: ModelShape, work: Workload) -> int:
    if work.base_place == "disk":
        return min(shape.layers, 2) * layer_weight_bytes(shape, work)
    return weight_bytes(shape, work) if work.base_place == "host" else 0


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
    """Paged states; or on the host, those of float32 numbers, these numbers, and pinned buffers.

    The buffers hold two gradients on their way out and two parameters on their way in (`xtune.train.piecewise`); states of 8 bits
    cross to the device instead, all but those of a few thousand numbers. A
    float32 parameter in a CPU's memory, or of a layer that rests on the host, is stepped where it is; a 16-bit parameter of
    such a layer lacks two bytes of its number, which are beside it (`xtune.train.numbers`).
    """
    if work.states_place == "device":
        return paged_bytes(shape, work)
    own = work.trained_bytes
    states = state_bytes(shape, replace(work, weight_dtype="float32"))
    largest = max(largest_matrix(shape), shape.vocab * shape.hidden)
    buffers = 4 * own * largest if work.is_full and not crossing_bytes(work) else 0
    layers = 0
    if work.is_full and work.base_place == "host":
        layers = (
            trained_parameters(shape, work) - shape.embedding_parameters - shape.head_parameters
        )
    others = trained_parameters(shape, work) - layers
    if work.device == "cpu" and own == 4:
        others, buffers = 0, buffers if layers else 0
    return states + (2 * layers if own == 2 else 0) + 4 * others + buffers
