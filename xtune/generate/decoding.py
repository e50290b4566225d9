"""How answers are chosen, as a person asks for it; which token that makes is in `choose`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen; the model's own generation_config.json plays no part."""

    temperature: float = 0.0
    """0 takes the likeliest token (greedy); above, tokens are sampled from softmax(logits / temperature)."""

    top_p: float = 1.0
    """Sample only from the likeliest tokens that together reach this probability."""

    top_k: int = 0
    """Sample only from this many likeliest tokens; 0: from all."""

    seed: int = 0
    """Seed of the sampling."""

    max_new_tokens: int = 256
    """Longest answer, in tokens."""
