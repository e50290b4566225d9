"""Random numbers as a function of the seed and the place in the run, so that nothing random needs saving."""

import random

import numpy as np
import torch


def seed_everything(seed: int, *place: int) -> None:
    """Seed Python's, NumPy's and torch's global generators.

    Args:
        seed: The run's seed.
        place: Where in the run: step and rank, say. Other places give independent streams.
    """
    # SeedSequence mixes its words well, where seed + step would make runs with nearby seeds overlap
    word = int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0])
    random.seed(word)
    np.random.seed(word % 2**32)
    torch.manual_seed(word % 2**63)
