"""Seconds of a training step estimated from a card's published figures; nothing is measured here."""

from math import ceil

from xtune.memory import ModelShape, Workload, checkpoint_bytes
from xtune.memory.predict import HEAD_SUM_BYTES, trained_parameters, weight_bytes
from xtune.plan.cards import Card

EFFICIENCY = 0.45
"""Of the published products a second that training reaches; ours, from published runs (35 to 55 %)."""

ATTENTION_BACKWARD = 2.5
"""Products of attention's backward pass by those of its forward pass: five matrix products for two."""


HIDDEN_COST = 0.1
"""What a second of copying costs while the device computes: copies take memory bandwidth, and wait for one another; ours."""

DISK_BANDWIDTH = 2.5e9
"""Bytes a second that a solid-state disk gives, read once after another; ours."""

HOST_CORES = 8
"""Cores taken for an optimizer's step on the processor."""

HOST_STEP_SECONDS = 1e-9
"""Of one core for a weight with states of 16 or 32 bits (measured under load on one AMD EPYC core, 2026-11-29)."""

WAIT_SECONDS = 1e-4
"""What a forward pass through an 8-bit layer costs beside its arithmetic: bitsandbytes 0.50 asks the device whether an input is an
outlier, and nothing is queued behind that until it answers; ours, a dozen launches of kernels."""

MATRICES = 7
"""Linear layers of a decoder layer: four around attention, three in the MLP."""

CROSSING_BYTES = 12
"""Bytes of a weight with states of 8 bits in host memory that cross the link in a step: states and float32 number, both ways."""


def tokens_per_second(shape: ModelShape, work: Workload, card: Card) -> float:
    """Estimated tokens a second of one card, padding counted."""
    return work.positions / seconds(shape, work, card)


def seconds(shape: ModelShape, work: Workload, card: Card) -> float:
    """Estimated seconds of one forward and backward pass, with its part of the optimizer's step.

    A token costs two operations a weight in every pass through it: forward, the gradient of the input, the gradient of
    the weight where it is trained, and forward again where layers are computed again. Causal attention over n tokens
    costs each 2 n times the width of the queries, and 2.5 times that backward; a frugal layer computes it once more.
    4-bit weights are expanded in every pass of every micro-batch: read, written and read again; 8-bit layers wait for the
    host besides. What waits elsewhere crosses the link, or comes from the disk, mostly while the device computes.
    """
    n, again = work.positions, int(work.gradient_checkpointing)
    passes = 2 + again + work.is_full
    experts = shape.experts_per_token / shape.experts if shape.experts else 0.0
    weights = shape.linear_weights + shape.expert_parameters * experts
    products = 2 * weights * passes + 2 * shape.embedding_parameters * 2
    attention = 2 * work.tokens * shape.query_width * shape.layers
    products += attention * (1 + ATTENTION_BACKWARD + again + work.frugal)
    computing = n * products / (EFFICIENCY * card.flops)
    if work.quantization is not None:
        expanded = 0.5 + 2 * work.compute_bytes
        computing += passes * shape.linear_weights * expanded / card.bandwidth
    computing += _waiting(shape, work)
    crossing, from_disk = _moved_bytes(shape, work)
    if work.fused_step and work.clipped:  # all gradients once for their norm, and once more
        computing, crossing, from_disk = 2 * computing, 2 * crossing, 2 * from_disk
    stepping = _host_step(shape, work, card) / work.accumulation_steps
    copying = max(crossing / card.link, from_disk / DISK_BANDWIDTH)
    return max(computing, copying) + HIDDEN_COST * min(computing, copying) + stepping


def _waiting(shape: ModelShape, work: Workload) -> float:
    """Seconds in which the device of an 8-bit base waits for the host: once for every forward pass of a matrix, or of its tile."""
    if work.quantization != "int8":
        return 0.0
    tiles = ceil(work.tokens / work.tile_tokens) if work.frugal else 1
    passes = 1 + int(work.gradient_checkpointing)
    return passes * tiles * MATRICES * shape.layers * WAIT_SECONDS


def _moved_bytes(shape: ModelShape, work: Workload) -> tuple[float, float]:
    """Bytes of a pass that cross the link, and that the disk reads or writes.

    Layers come in forward and once more backward, and a full fine-tune's gradients go out; layers' inputs go out and
    come back; the head comes once for every group of tokens whose sums exist together (`HEAD_SUM_BYTES`), and of the
    embedding table the rows of the tokens.
    """
    table = shape.embedding_parameters * work.weight_bytes
    base = (3 if work.is_full else 2) * weight_bytes(shape, work)
    kept = 2 * checkpoint_bytes(shape, work)
    crossing, from_disk = 0, 0
    if work.base_place != "device":
        crossing += base
    if work.checkpoint_place != "device":
        crossing += kept
    if work.head_form == "host":
        group = max(1, HEAD_SUM_BYTES // (4 * shape.hidden))
        crossing += table * ceil(work.positions / group)
    if work.embeddings_place == "host":
        crossing += work.positions * shape.hidden * work.weight_bytes
    from_disk += base if work.base_place == "disk" else 0
    from_disk += kept if work.checkpoint_place == "disk" else 0
    return crossing, from_disk


def _host_step(shape: ModelShape, work: Workload, card: Card) -> float:
    """Seconds of a step with states in host memory: the processor's, or for states of 8 bits those of the way there and back."""
    if work.states_place == "device":
        return 0.0
    trained = trained_parameters(shape, work)
    if work.optimizer.endswith("8bit"):
        return CROSSING_BYTES * trained / card.link
    return HOST_STEP_SECONDS * trained / HOST_CORES
