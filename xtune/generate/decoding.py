"""How answers are chosen, as a person asks for it; which token that makes is in `choose`."""

import math
from dataclasses import dataclass

from xtune.errors import XtuneError

LEAST_TEMPERATURE = 1e-5
"""Below, sampling is greedy: logits divided by less overflow in float32, and the likeliest token is drawn anyway."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen; the model's own generation_config.json plays no part.

    Raises:
        XtuneError: A value is out of its range.
    """

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

    stop_tokens: tuple[int, ...] = ()
    """Tokens that end an answer besides the model's own."""

    def __post_init__(self) -> None:
        for name, allowed, fits in (
            ("temperature", "0 or more", 0 <= self.temperature < math.inf),
            ("top_p", "from 0 to 1", 0 <= self.top_p <= 1),
            ("top_k", "0 or more", self.top_k >= 0),
            ("max_new_tokens", "1 or more", self.max_new_tokens >= 1),
        ):
            if not fits:
                raise XtuneError(f"`{name}` is {getattr(self, name)}; it must be {allowed}.")

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature < LEAST_TEMPERATURE
