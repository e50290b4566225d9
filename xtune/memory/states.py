"""The states of an optimizer: on the device, in paged memory, in a checkpoint. Closed formulas."""

from collections.abc import Iterator
from dataclasses import replace

from xtune.memory.resident import trained_parameters
from xtune.memory.saved import saved_modules
from xtune.memory.shape import ModelShape
from xtune.memory.workload import OPTIMIZER_BLOCK, SUBSPACE_RANKS, Workload

LEAST_PAGED = 100_000
"""Entries of a parameter from which on its states are paged (bitsandbytes 0.50, `Optimizer8bit.get_state_buffer`)."""


def optimizer_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of the optimizer's states on the device."""
    if work.states_place == "host":
        return 0
    return state_bytes(shape, work) - paged_bytes(shape, work)


def paged_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of states in paged memory, which may leave the device and are counted as host memory.

    Those of large parameters, in 8 bits without their scales: bitsandbytes makes these on the device, as it does the states of
    small parameters, of which an adapter has many.
    """
    pages = work.optimizer.startswith("paged") and work.device == "cuda"
    if not pages or work.states_place == "host":
        return 0
    each = _moments(work) * (1 if work.optimizer.endswith("8bit") else 4)
    sizes = _full_sizes(shape) if work.is_full else _adapter_sizes(shape, work)
    return each * sum(count * size for count, size in sizes if size >= LEAST_PAGED)


def _full_sizes(shape: ModelShape) -> Iterator[tuple[int, int]]:
    """How often there are parameters of how many entries; norms and biases are small."""
    yield (1 if shape.tied else 2), shape.embedding_parameters
    yield from ((count, each.weights) for count, each in shape.linears)
    if shape.expert_layers:
        inner = shape.experts * shape.expert_intermediate
        sizes = [2 * inner * shape.hidden, inner * shape.hidden, shape.experts * shape.hidden]
        if shape.has_sinks:  # biases of gate and up, and of down
            sizes += [2 * inner, shape.experts * shape.hidden]
        yield from ((shape.expert_layers, size) for size in sizes)


def _adapter_sizes(shape: ModelShape, work: Workload) -> Iterator[tuple[int, int]]:
    """The same of both factors of adapters, of modules that are trained in full beside them, and of new tokens."""
    rank, found, saved = (
        work.rank,
        shape.expert_targets(work.targets),
        saved_modules(shape, work.saved),
    )
    for count, each in shape.target_linears(work.targets):
        yield from ((count, rank * each.inputs), (count, rank * each.outputs))
    # all experts of a layer share a parameter; gate and up have one of twice the rank
    every, width = rank * shape.experts, shape.expert_intermediate
    sides = [2 * shape.hidden, 4 * width] if found.gate_and_up else []
    sides += [width, shape.hidden] if found.down else []
    yield from ((shape.expert_layers, every * side) for side in sides)
    tables = int(saved.embedding) + int(saved.head and not shape.tied)
    yield tables, shape.embedding_parameters
    if saved.in_layer:
        layers = (saved.entries - tables * shape.embedding_parameters) // saved.in_layer
        yield from ((layers, each.weights) for each in saved.matrices)
    yield 1, work.new_tokens * shape.hidden


def _moments(work: Workload) -> int:
    return 1 if "lion" in work.optimizer else 2


def state_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of all states.

    Adam keeps two numbers for each trained parameter: in the parameter's own dtype (torch), or in float32 or as one byte
    with a float32 for every 256 (bitsandbytes). Lion keeps one. Adafactor keeps a row and a column of float32
    for each matrix. Muon keeps one number for each matrix entry and is Adam for the rest. GaLore and APOLLO keep of a
    matrix with sides a and b, a the longer, 2 r a numbers and a projection of r b, and are Adam for the rest.
    """
    trained = trained_parameters(shape, work)
    own = work.trained_bytes
    name = work.optimizer
    if name.endswith("8bit"):
        return _moments(work) * (trained + 4 * (trained // OPTIMIZER_BLOCK))
    if name == "paged_adamw":
        return 2 * 4 * trained
    if name == "adafactor":
        return 4 * _rows_and_columns(shape, work)
    if name == "muon":
        # experts are parameters of three dimensions; of a router and of an adapter's factors there are two
        matrices = shape.linear_weights + shape.expert_layers * shape.experts * shape.hidden
        if not work.is_full:
            # an adapter of the head counts as the head, whose states are Adam's
            matrices = shape.lora_parameters(work.rank, work.layer_targets)
        return own * (matrices + 2 * (trained - matrices))
    if name in SUBSPACE_RANKS:
        return own * (_subspace(shape, work, name) + 2 * (trained - shape.linear_weights))
    return 2 * own * trained


def stored_state_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of the states in a checkpoint, wherever they are: on the host of float32 numbers, and beside them the lower halves of 16-bit ones."""
    on_host = work.states_place == "host"
    held = replace(work, weight_dtype="float32") if on_host else work
    halves = 2 * trained_parameters(shape, work) if on_host and work.trained_bytes == 2 else 0
    return state_bytes(shape, held) + halves


def _subspace(shape: ModelShape, work: Workload, name: str) -> int:
    rank = work.subspace_rank or SUBSPACE_RANKS[name]
    sides = [
        (n, min(one.inputs, one.outputs), max(one.inputs, one.outputs)) for n, one in shape.linears
    ]
    return sum(count * min(rank, short) * (2 * long + short) for count, short, long in sides)


def _rows_and_columns(shape: ModelShape, work: Workload) -> int:
    if work.method != "full":  # each factor (r, a) has r rows and a columns
        return sum(
            count * (2 * work.rank + linear.inputs + linear.outputs)
            for count, linear in shape.target_linears(work.targets)
        )
    matrices = sum(count * (linear.inputs + linear.outputs) for count, linear in shape.linears)
    tables = (1 if shape.tied else 2) * (shape.vocab + shape.hidden)
    return matrices + tables + shape.small_parameters
