"""Seconds of a training step estimated from a card's published figures; nothing is measured here."""

from xtune.memory import ModelShape, Workload
from xtune.plan.cards import Card

EFFICIENCY = 0.45
"""Of the published products a second that training reaches; ours, from published runs (35 to 55 %)."""

ATTENTION_BACKWARD = 2.5
"""Products of attention's backward pass by those of its forward pass: five matrix products for two."""


def tokens_per_second(shape: ModelShape, work: Workload, card: Card) -> float:
    """Estimated tokens a second of one card, padding counted.

    A token costs two operations a weight in every pass through it: forward, the gradient of the input, the gradient of
    the weight where it is trained, and forward again where layers are computed again. Causal attention over n tokens
    costs each 2 n times the width of the queries, and 2.5 times that backward; a frugal layer computes it once more.
    4-bit weights are expanded in every pass of every micro-batch: read, written and read again. Checkpoints in host
    memory cross the link twice.
    """
    n, again = work.positions, int(work.gradient_checkpointing)
    passes = 2 + again + (work.method == "full")
    experts = shape.experts_per_token / shape.experts if shape.experts else 0.0
    weights = shape.linear_weights + shape.expert_parameters * experts
    products = 2 * weights * passes + 2 * shape.embedding_parameters * 2
    attention = 2 * work.tokens * shape.query_width * shape.layers
    products += attention * (1 + ATTENTION_BACKWARD + again + work.frugal)
    seconds = n * products / (EFFICIENCY * card.flops)
    if work.quantization is not None:
        seconds += passes * shape.linear_weights * (0.5 + 2 * work.compute_bytes) / card.bandwidth
    if work.checkpoint_place == "host":
        moved = 2 * shape.layers * n * shape.hidden * work.weight_bytes
        seconds = max(seconds, moved / card.link)
    return n / seconds
